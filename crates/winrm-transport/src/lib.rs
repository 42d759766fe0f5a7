//! Speaks WS-Management to one endpoint: authenticate, shell, command, receive, signal, delete.
//!
//! A [`Client`] owns one authenticated connection and one shell on a Windows host, opened when first needed and
//! reused after that: a command in the steady state is three HTTP requests, of which the caller waits for two.
//! Over plain HTTP every body is sealed by NTLM; over TLS the NTLM handshake is bound to the certificate.
//!
//! It does not retry on its own what may have had an effect, does not schedule, and knows nothing about what the
//! commands mean: see [`Error::effect`] for what a caller may repeat.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use winrm_transport::{Account, Client, Command, Endpoint, Settings};
//!
//! let account = Account::parse(r".\operator", "not a real password".to_owned().into())?;
//! let client = Client::new(Settings::new(Endpoint::http("192.0.2.7", 5985), account))?;
//! let output = client.run(&Command::new("hostname"), Duration::from_secs(30)).await?;
//! assert_eq!(output.exit_code, Some(0));
//! client.close(Duration::from_secs(2)).await;
//! # Ok(())
//! # }
//! ```

mod account;
mod settings;

mod cmdline;
mod command;
mod error;
mod output;

mod client;
mod run;
mod session;

mod exchange;
mod peer;
mod sealed;
mod soap;

mod connect;
mod handshake;
mod ntlm;
mod tls;

pub use account::Account;
pub use client::Client;
pub use cmdline::{CommandRefused, is_cmd_safe, quote};
pub use command::Command;
pub use error::{Effect, Error, LostBecause, Stage, TlsError};
pub use output::{Identity, Instance, Output, Stats};
pub use settings::{
    AllowedNetworks, AuthMethod, Endpoint, Limits, Scheme, Settings, SettingsError, Timeouts, Trust,
};
pub use tls::TrustStore;

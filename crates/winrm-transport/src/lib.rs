//! Speaks WS-Management to one endpoint: authenticate, shell, command, receive, signal, delete.
//!
//! A [`Client`] owns one authenticated connection and one shell on a Windows host, opened when first needed and
//! reused after that: a command in the steady state is three HTTP requests, of which the caller waits for two.
//! Over plain HTTP every body is sealed by NTLM; over TLS the NTLM handshake is bound to the certificate.
//!
//! With the feature `kerberos`, off by default, [`AuthMethod::Kerberos`] does the same with tickets of a domain.
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
//!
//! # What for which task
//!
//! | task | see |
//! |---|---|
//! | run a command, with a directory, variables or standard input | [`Client::run`], [`Command`] |
//! | show output as it comes, send input, interrupt, terminate | [`Client::start`], [`Running`], [`TextDecoder`] |
//! | run a script, read its errors | [`PowerShell`], [`Output::error_text`] |
//! | read a file or its end, look at its size and time | [`Client::read_file`], [`Client::tail`], [`Client::stat`] |
//! | ask when the host booted | [`Client::get`] |
//! | see who is there, without credentials | [`Client::identify`] |
//! | delete what an earlier life of the program left behind | [`Client::sweep`] |
//! | speak to many hosts | one [`Client`] for each, one [`TrustStore`] for all |
//!
//! Programs to start from are in `examples/`; what hosts do beside what is specified is in the documentation's module
//! `what_windows_really_does`; which complaints about other clients have a test here is in `docs/pains.md`.
//!
//! # Authentication
//!
//! [`AuthMethod`] has what there is. Over HTTPS a client certificate needs no password:
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use winrm_transport::{Client, ClientCertificate, Endpoint, Settings};
//!
//! let key = std::fs::read_to_string("gateway.key")?.into();
//! let certificate = ClientCertificate::from_pem(&std::fs::read_to_string("gateway.pem")?, &key)?;
//! let client = Client::new(Settings::with_certificate(Endpoint::https("lab-ws-01", 5986), certificate))?;
//! # Ok(())
//! # }
//! ```
//!
//! CredSSP is left out on purpose: it hands the password itself to the host. LM, NTLMv1, unsealed NTLM over plain HTTP and
//! redirects are left out too, and nothing switches them on.
//!
//! # Testing your own code
//!
//! The crate `host-sim` serves hosts in your test's own process, on loopback addresses, with faults on demand and a log of
//! everything that happened; it shares no code with this crate.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use host_sim::{At, Farm, FarmOptions, Fault, HostSpec, Program, Step};
//! use winrm_transport::{Account, Client, Command, Effect, Endpoint, Settings};
//!
//! let limit = Duration::from_secs(10);
//! let mut spec = HostSpec::new("lab-ws-01", host_sim::addresses::block(1)[0], [2, 0, 0, 0, 0, 1]).awake();
//! spec.station.programs = vec![Program::new("backup.exe", [Step::Out(b"saved".into()), Step::Exit(3)])];
//! let farm = Farm::start(vec![spec], FarmOptions::default()).await?;
//! let host = &farm.hosts()[0];
//!
//! let account = Account::parse(&host.spec().user, host.spec().password.clone().into())?;
//! let endpoint = Endpoint::http(host.address().to_string(), host.http_port());
//! let client = Client::new(Settings::new(endpoint, account))?;
//! let output = client.run(&Command::new("backup.exe"), limit).await?;
//! assert_eq!((output.stdout_text().as_ref(), output.exit_code), ("saved", Some(3)));
//!
//! // Does your code look at the host before it repeats a command of which nobody knows whether it ran?
//! host.set_fault_times(Fault::Reset(At::Command), 1);
//! let error = client.run(&Command::new("backup.exe"), limit).await.unwrap_err();
//! assert_eq!(error.effect(), Effect::Unknown);
//!
//! client.close(limit).await;
//! assert_eq!((host.counts().commands, host.counts().open_shells), (1, 0));
//! # farm.stop().await; Ok(()) }
//! ```

mod account;
mod settings;

mod clixml;
mod cmdline;
mod command;
mod error;
mod output;
mod powershell;
mod text;

mod client;
mod files;
mod run;
mod session;

mod exchange;
mod peer;
mod sealed;
mod soap;

mod challenge;
mod connect;
mod handshake;
mod kerberos;
mod ntlm;
mod tls;

#[cfg(doc)]
#[doc = include_str!("../docs/what-windows-really-does.md")]
pub mod what_windows_really_does {}

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use account::Account;
pub use client::Client;
pub use clixml::clixml_text;
pub use cmdline::{CommandRefused, is_cmd_safe, quote};
pub use command::Command;
pub use error::{Effect, Error, LostBecause, Stage, TlsError};
pub use files::{FileError, FileStat, Tail};
pub use kerberos::{KerberosRefusal, KerberosScheme, KerberosSettings};
pub use output::{Identity, Instance, Output, Stats};
pub use powershell::PowerShell;
pub use run::stream::{Chunk, Running, Stream};
pub use settings::{
    AllowedNetworks, AuthMethod, Endpoint, Limits, Scheme, Settings, SettingsError, Timeouts, Trust,
};
pub use text::TextDecoder;
pub use tls::{ClientCertificate, TrustStore};

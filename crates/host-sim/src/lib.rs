//! A Lab Station host that can be believed: WinRM over HTTP and HTTPS, a machine that boots on a magic packet,
//! the `LabStation.exe` commands with their files, faults on demand, and an exact log of every effect.
//!
//! A [`Farm`] serves many hosts in one process, each on its own loopback address; ten thousand and more behind one
//! [`Wildcard`] listener inside a network namespace. It exists for tests, demonstrations
//! and load runs, and it shares no code with the client it is used to test: the NTLM acceptor, SPNEGO, the framing of
//! sealed messages and the SOAP are its own. It is not a Windows machine: behind the shell there are a handful of
//! programs, a few files and nothing else, and Kerberos and CredSSP are not spoken: for Kerberos there is [`realm`], which
//! runs the programs of others.
//!
//! ```
//! use std::time::Duration;
//! use host_sim::{Farm, FarmOptions, HostSpec, PowerState};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address = host_sim::addresses::block(1)[0];
//! let mac = [0x02, 0, 0, 0, 0, 1];
//! let farm = Farm::start(vec![HostSpec::new("lab-ws-01", address, mac)], FarmOptions::default()).await?;
//! let host = farm.host("lab-ws-01").expect("just started");
//! assert_eq!(host.power(), PowerState::Off);
//!
//! let mut packet = vec![0xFF; 6];
//! packet.extend(mac.repeat(16));
//! let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
//! socket.send_to(&packet, (host.address(), host.wol_port())).await?;
//! assert!(host.wait_for(PowerState::Ready, Duration::from_secs(10)).await);
//! # farm.stop().await; Ok(()) }
//! ```

mod script;
mod spec;

mod farm;
mod host;
mod journal;
mod wildcard;

mod certificates;
mod clock;
mod effects;
mod faults;

mod auth;
mod http;
mod station;
mod wsman;

pub mod addresses;
pub mod realm;

pub use effects::{Cause, Counts, Effect, EffectKind};
pub use farm::{Farm, FarmOptions, StartError};
pub use faults::{At, Fault};
pub use host::{PowerState, SimHost};
pub use journal::Asked;
pub use script::{Program, Step};
pub use spec::{
    AuthPolicy, BootTimes, CbtLevel, CommandDurations, DoneStyle, HostSpec, Quotas, StationSpec, TlsIdentity,
};
pub use station::{argv, paths};
pub use wildcard::{Totals, Wildcard};

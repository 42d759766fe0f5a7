//! The clients, each in its best use: one authenticated session and one shell per host, kept.

mod winrm_rs_1;
#[cfg(feature = "winrm-rs-2")]
mod winrm_rs_2;

use std::net::Ipv4Addr;

use crate::Args;

pub use winrm_rs_1::WinrmRs1;
#[cfg(feature = "winrm-rs-2")]
pub use winrm_rs_2::WinrmRs2;

/// Port of all hosts.
pub const PORT: u16 = 5985;
/// Reads the heartbeat, through `cmd.exe`.
pub const TYPE: (&str, &str) = ("type", r"C:\LabStation\labstation\data\telemetry\heartbeat.json");

/// A client library, ready to open sessions.
pub trait Client: Sized + Send + Sync + 'static {
    type Session: Session;

    fn new(args: &Args) -> anyhow::Result<Self>;

    /// A session with the host of this number.
    fn open(&self, number: u32) -> impl Future<Output = anyhow::Result<Self::Session>> + Send;
}

/// A session with one host.
pub trait Session: Send + Sync + 'static {
    /// The heartbeat as it stands in its file.
    fn heartbeat(&self) -> impl Future<Output = anyhow::Result<Vec<u8>>> + Send;
}

fn address(args: &Args, number: u32) -> String {
    Ipv4Addr::from(u32::from(args.first) + number).to_string()
}

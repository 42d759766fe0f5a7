//! The Rust clients, each in its best use: one authenticated session and one shell per host, kept.

mod ours;
mod winrm_rs_1;
#[cfg(feature = "winrm-rs-2")]
mod winrm_rs_2;

use crate::wire::Setup;

pub use ours::Ours;
pub use winrm_rs_1::WinrmRs1;
#[cfg(feature = "winrm-rs-2")]
pub use winrm_rs_2::WinrmRs2;

/// A client library, ready to open sessions.
pub trait Client: Sized + Send + Sync + 'static {
    type Session: Session;

    fn new(setup: &Setup) -> anyhow::Result<Self>;

    /// A session with the host of this index; may be lazy.
    fn open(&self, index: usize) -> impl Future<Output = anyhow::Result<Self::Session>> + Send;
}

/// A session with one host.
pub trait Session: Send + Sync + 'static {
    /// Runs the command and checks what comes back.
    fn run(&self) -> impl Future<Output = anyhow::Result<()>> + Send;

    fn close(self) -> impl Future<Output = ()> + Send;
}

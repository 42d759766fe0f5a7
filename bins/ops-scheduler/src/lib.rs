//! The sidecar: polls heartbeats and runs reservations. Any number of copies may work on one schema; claims keep
//! them off each other's hosts.

mod poll;
mod poller;
mod reservations;

pub use poll::{Polled, poll_host};

use ops_runtime::SiteHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The running loops.
#[derive(Debug)]
pub struct Scheduler {
    handle: SiteHandle,
    stop: CancellationToken,
    loops: TaskTracker,
}

/// Starts the loops that the settings ask for; they begin as soon as the site's database was reached.
#[must_use]
pub fn start(handle: SiteHandle) -> Scheduler {
    let stop = CancellationToken::new();
    let loops = TaskTracker::new();
    let settings = handle.settings();
    if settings.poll.enabled {
        loops.spawn(poller::run(handle.clone(), stop.clone()));
    } else {
        tracing::info!("heartbeat polling is off (OPS_POLL_ENABLED=true turns it on)");
    }
    if settings.reservations.enabled {
        loops.spawn(reservations::run(handle.clone(), stop.clone()));
    } else {
        tracing::info!("the running of reservations is off (OPS_RESERVATION_AUTOMATION)");
    }
    loops.close();
    Scheduler { handle, stop, loops }
}

impl Scheduler {
    /// Starts nothing new, lets steps under way end within the grace period, and hands over the rest.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(site) = self.handle.current() {
            site.engine.stop(site.settings.shutdown_grace).await;
        }
        self.loops.wait().await;
    }
}

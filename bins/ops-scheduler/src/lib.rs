//! The sidecar: polls heartbeats and runs reservations. Any number of copies may work on one schema: shards spread the
//! hosts over them, and claims keep them off each other's hosts whatever becomes of the shards.

mod metrics;
mod poll;
mod poller;
mod reservations;
mod retention;
mod silence;
mod skew;

pub use metrics::{check_settings, show_metrics};
pub use poll::{Polled, poll_host};

use ops_runtime::{Membership, SiteHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker_registry::{Departure, Duty};

/// The running loops.
#[derive(Debug)]
pub struct Scheduler {
    handle: SiteHandle,
    membership: Membership,
    stop: CancellationToken,
    loops: TaskTracker,
}

/// Starts the loops that the settings ask for; they begin as soon as the site's database was reached.
#[must_use]
pub fn start(handle: SiteHandle) -> Scheduler {
    ops_runtime::metrics::install("ops-scheduler");
    let stop = CancellationToken::new();
    let loops = TaskTracker::new();
    let settings = handle.settings();
    let (polls, reservations) = (settings.poll.enabled, settings.reservations.enabled);
    let duties: Vec<Duty> = [(polls, Duty::Polls), (reservations, Duty::Reservations)]
        .into_iter()
        .filter_map(|(enabled, duty)| enabled.then_some(duty))
        .collect();
    let membership = Membership::join(&handle, "scheduler", &duties);
    let ownership = membership.ownership();
    if polls {
        let pulse = membership.pulse("heartbeats");
        let (idle, may_be_off) = tokio::sync::watch::channel(None);
        let (site, ours) = (handle.clone(), ownership.clone());
        loops.spawn(poller::run(site, ours, may_be_off, pulse, stop.clone()));
        let (site, ours) = (handle.clone(), ownership.clone());
        loops.spawn(silence::run(site, ours, idle, stop.clone()));
    } else {
        tracing::info!("heartbeat polling is off (OPS_POLL_ENABLED=true turns it on)");
    }
    if let Some(&duty) = duties.first() {
        loops.spawn(retention::run(
            handle.clone(),
            ownership.clone(),
            duty,
            stop.clone(),
        ));
    }
    if reservations {
        let pulse = membership.pulse("reservations");
        loops.spawn(reservations::run(handle.clone(), ownership, pulse, stop.clone()));
    } else {
        tracing::info!("the running of reservations is off (OPS_RESERVATION_AUTOMATION)");
    }
    loops.spawn(skew::run(handle.clone(), stop.clone()));
    loops.close();
    Scheduler {
        handle,
        membership,
        stop,
        loops,
    }
}

impl Scheduler {
    /// Whether the main loops move, for the service manager.
    #[must_use]
    pub fn progress(&self) -> worker_registry::Progress {
        self.membership.progress()
    }

    /// Waits until this worker has lost its place among the others against its will: then the process has to stop.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn departed(&self) -> Departure {
        self.membership.departed().await
    }

    /// Starts nothing new, lets steps under way end within the grace period, and hands over the rest.
    pub async fn stop(self) {
        self.stop.cancel();
        self.membership.drain();
        if let Some(site) = self.handle.current() {
            site.engine.stop(site.settings.shutdown_grace).await;
        }
        self.loops.wait().await;
        self.membership.leave().await;
    }
}

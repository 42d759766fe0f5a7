//! The loop in front of the engine's pass: it sleeps until the next instant something is due, until a flow ends, or until
//! a host comes into maintenance or leaves it, and never longer than the scan interval. What it misses, the next pass derives again.

mod rhythm;

use std::time::Duration;

use lab_model::{HostName, LabId};
use ops_runtime::{Chain, SiteHandle};
use reservation_engine::{HostMap, PassReport, StoreError};
use station_control::SharedCatalog;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker_registry::{Duty, Ownership, Pulse};

use rhythm::Rhythm;

/// After a failed pass, so that a database that is away is not hammered.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// How soon a worker looks that no shard was given to yet; a change wakes it before that.
const NOTHING_OURS: Duration = Duration::from_secs(1);

/// The catalog as the engine asks it, and which of its hosts are this worker's to see to.
struct OurHosts {
    catalog: SharedCatalog,
    ownership: Ownership,
}

impl HostMap for OurHosts {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.catalog.current().host_for(lab)
    }

    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        self.catalog.current().hosts_for(lab)
    }

    fn knows(&self, host: &HostName) -> bool {
        self.catalog.current().knows(host)
    }

    fn is_ours(&self, host: &HostName) -> bool {
        self.ownership.owns(Duty::Reservations, host)
    }
}

pub(crate) async fn run(handle: SiteHandle, mut ownership: Ownership, pulse: Pulse, stop: CancellationToken) {
    let Some(Some(site)) = stop
        .run_until_cancelled(pulse.while_waiting(handle.opened()))
        .await
    else {
        return;
    };
    let hosts = OurHosts {
        catalog: site.catalog.clone(),
        ownership: ownership.clone(),
    };
    let longest = site.settings.reservations.scan_interval;
    tracing::info!(worker.id = %site.settings.worker_name, "running reservations");
    let mut failing = false;
    while !stop.is_cancelled() {
        pulse.beat();
        site.engine.set_live_peers(ownership.peers(Duty::Reservations));
        if ownership.shards(Duty::Reservations).is_empty() {
            tokio::select! {
                () = stop.cancelled() => {}
                () = ownership.changed() => {}
                () = tokio::time::sleep(NOTHING_OURS) => {}
            }
            continue;
        }
        let began = Instant::now();
        let passed = site.engine.pass(&hosts, &stop).await;
        failing = tell(&passed, failing);
        let (rhythm, wait) = match passed {
            Ok(report) => {
                let until = report
                    .next_at
                    .map(|at| (at - site.clock.now()).to_std().unwrap_or(Duration::ZERO));
                let wait = until.map_or(longest, |until| until.min(longest));
                (Rhythm::after_pass(began), wait)
            }
            Err(_) => {
                let pause = AFTER_FAILURE.min(longest);
                (Rhythm::after_failure(pause), pause)
            }
        };
        let waiting = async {
            let changed = async {
                tokio::select! {
                    () = site.engine.changed() => {}
                    () = site.engine.maintenance_changed() => {}
                    () = ownership.changed() => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = rhythm.next(wait, changed) => {}
            }
        };
        pulse.while_waiting(waiting).await;
    }
}

/// One line when passes begin to fail and one when they succeed again, however long that takes; says whether it failed.
fn tell(passed: &Result<PassReport, StoreError>, failing: bool) -> bool {
    const PASS: &str = "reservations";
    match passed {
        Ok(report) => {
            let (considered, started) = (report.considered, report.started.len());
            tracing::debug!(pass = PASS, considered, started, "pass");
            if failing {
                tracing::info!(pass = PASS, "the reservations can be read again");
            }
        }
        Err(error) if failing => {
            tracing::debug!(pass = PASS, error = %Chain(error), "the reservations could still not be read");
        }
        Err(error) => {
            tracing::warn!(pass = PASS, error = %Chain(error), "the reservations could not be read");
        }
    }
    passed.is_err()
}

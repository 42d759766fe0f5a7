//! The loop in front of the engine's pass, as `ops-scheduler` has it.

use std::future::pending;
use std::time::Duration;

use lab_model::{HostName, LabId, SharedClock};
use reservation_engine::{Engine, HostMap, Station, Store};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use worker_registry::{Duty, Ownership};

/// The longest time between two looks, as configured by default.
const SCAN_INTERVAL: Duration = Duration::from_secs(30);
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How soon a scheduler looks again that has nothing to see to.
const NOTHING_OURS: Duration = Duration::from_secs(1);

/// Each lab has a host of its own; with shards, only some of them are ours.
struct Hosts(Option<Ownership>);

impl HostMap for Hosts {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        HostName::parse(&format!("lab-ws-{lab}")).ok()
    }

    fn is_ours(&self, host: &HostName) -> bool {
        self.0
            .as_ref()
            .is_none_or(|shards| shards.owns(Duty::Reservations, host))
    }
}

/// Passes until `stop`.
pub(crate) async fn drive<S: Store, T: Station>(
    engine: Engine<S, T>,
    clock: SharedClock,
    mut shards: Option<Ownership>,
    stop: CancellationToken,
) {
    let hosts = Hosts(shards.clone());
    while !stop.is_cancelled() {
        let idle = shards
            .as_ref()
            .is_some_and(|shards| shards.shards(Duty::Reservations).is_empty());
        let wait = if idle {
            NOTHING_OURS
        } else {
            match engine.pass(&hosts, &stop).await {
                Ok(report) => report.next_at.map_or(SCAN_INTERVAL, |at| {
                    let until = (at - clock.now()).to_std().unwrap_or_default();
                    until.min(SCAN_INTERVAL)
                }),
                Err(_) => AFTER_FAILURE,
            }
        };
        let moved = async {
            match &mut shards {
                Some(shards) => shards.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = engine.changed() => {}
            () = moved => {}
            () = sleep(wait) => {}
        }
    }
}

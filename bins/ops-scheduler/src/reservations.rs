//! The loop in front of the engine's pass: it sleeps until the next instant something is due, or until a flow ends,
//! and never longer than the scan interval. What it misses, the next pass derives again.

use std::time::Duration;

use lab_model::{HostName, LabId};
use ops_runtime::{Chain, SiteHandle};
use reservation_engine::HostMap;
use station_control::SharedCatalog;
use tokio_util::sync::CancellationToken;

/// After a failed pass, so that a database that is away is not hammered.
const AFTER_FAILURE: Duration = Duration::from_secs(2);

/// The catalog as the engine asks it.
struct CatalogMap(SharedCatalog);

impl HostMap for CatalogMap {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.0.current().host_for_lab(lab).map(|host| host.name.clone())
    }
}

pub(crate) async fn run(handle: SiteHandle, stop: CancellationToken) {
    let Some(Some(site)) = stop.run_until_cancelled(handle.opened()).await else {
        return;
    };
    let hosts = CatalogMap(site.catalog.clone());
    let longest = site.settings.reservations.scan_interval;
    tracing::info!(worker.id = %site.settings.worker_name, "running reservations");
    while !stop.is_cancelled() {
        let wait = match site.engine.pass(&hosts, &stop).await {
            Ok(report) => {
                let until = report
                    .next_at
                    .map(|at| (at - site.clock.now()).to_std().unwrap_or(Duration::ZERO));
                tracing::debug!(
                    pass = "reservations",
                    considered = report.considered,
                    started = report.started.len(),
                    "pass"
                );
                until.map_or(longest, |until| until.min(longest))
            }
            Err(error) => {
                tracing::warn!(pass = "reservations", error = %Chain(&error), "the reservations could not be read");
                AFTER_FAILURE.min(longest)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = site.engine.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

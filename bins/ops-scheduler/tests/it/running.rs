//! The scheduler in the test's own process, and what many tests wait for.

use std::sync::Arc;

use lab_model::ReservationId;
use ops_runtime::{Site, SiteHandle};
use ops_scheduler::Scheduler;
use serde_json::Value;
use store_support::Database;
use tokio_util::sync::CancellationToken;

use crate::harness::{Journal, Lab, journal, status, until};

/// A scheduler whose parts can be looked at.
pub(crate) struct Running {
    handle: SiteHandle,
    scheduler: Scheduler,
}

impl Running {
    pub(crate) fn start(lab: &Lab) -> Self {
        let handle = lab.plan().open(CancellationToken::new());
        let scheduler = ops_scheduler::start(handle.clone());
        Self { handle, scheduler }
    }

    pub(crate) async fn site(&self) -> Arc<Site> {
        self.handle.opened().await.unwrap()
    }

    /// What it answers whoever asks about a reservation.
    pub(crate) async fn explain(&self, id: &str) -> Value {
        let site = self.site().await;
        let id = ReservationId::parse(id).unwrap();
        let hosts = site.catalog.current();
        let found = site.engine.explain_reservation(&id, &*hosts).await.unwrap();
        serde_json::to_value(found.unwrap()).unwrap()
    }

    pub(crate) async fn stop(self) {
        let site = self.site().await;
        self.scheduler.stop().await;
        site.close(std::time::Duration::from_secs(2)).await;
    }
}

/// Waits until a reservation has this status.
///
/// The status moves first, the journal and the history follow: both are waited for.
pub(crate) async fn has_status(db: &Database, id: &str, wanted: &str) {
    let kind = if wanted == "COMPLETED" { "end" } else { "start" };
    until(&format!("reservation {id} is {wanted}"), || async {
        let moved = status(db, id).await == wanted;
        let recorded = journal(db, id)
            .await
            .iter()
            .all(|operation| operation.kind != kind || operation.state == "done");
        (moved && recorded).then_some(())
    })
    .await;
}

/// Waits until an operation of a reservation has this state, and gives it.
pub(crate) async fn has_state(db: &Database, id: &str, kind: &str, state: &str) -> Journal {
    until(&format!("{kind} of {id} is {state}"), || async {
        let operations = journal(db, id).await.into_iter();
        operations
            .filter(|operation| operation.kind == kind)
            .find(|operation| operation.state == state)
    })
    .await
}

//! What a reservation and an idle pass cost the database, counted.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use lab_model::{HostName, LabId, ManualClock};
use reservation_engine::{
    Engine, HostMap, Observation, Settings, Station, StepOrder, StepOutcome, StepReport,
};
use reservation_store::ReservationStore;
use serde_json::Value;
use store_support::{Database, Traffic, each_backend};
use tokio_util::sync::CancellationToken;

use crate::{a_reservation, a_store, at, count, tell};

/// For one reservation from its start to its completion, with the list of maintenance and the first look for orphans.
const MAX_STATEMENTS: u64 = 74;
const MAX_TRANSACTIONS: u64 = 10;
/// For a pass that finds nothing to do.
const MAX_IDLE: u64 = 5;

/// A host that does at once what it is told.
struct Willing(ManualClock);

impl Station for Willing {
    async fn perform(&self, _: StepOrder) -> StepReport {
        use lab_model::Clock as _;
        StepReport {
            outcome: StepOutcome::Done,
            message: "Exit code 0".to_owned(),
            response_code: Some(0),
            details: Value::Null,
            duration: Duration::from_millis(5),
            observed: Some(Observation {
                reachable: true,
                booted_at: Some(self.0.now()),
                ready: Some(true),
                ..Observation::default()
            }),
        }
    }

    async fn observe(&self, _: &HostName, _: Duration) -> Observation {
        Observation::default()
    }
}

struct OneHost;

impl HostMap for OneHost {
    fn host_for(&self, _: &LabId) -> Option<HostName> {
        Some(crate::host("lab-ws-01"))
    }
}

/// Passes until nothing is under way, and what they cost together.
async fn passes(engine: &Engine<ReservationStore, Willing>, db: &Database) -> Traffic {
    let before = db.traffic();
    let cancel = CancellationToken::new();
    for _ in 0..20 {
        let report = engine.pass(&OneHost, &cancel).await.unwrap();
        let begun = !report.started.is_empty();
        for _ in 0..1000 {
            if engine.running() == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !begun {
            break;
        }
    }
    db.traffic().since(before)
}

each_backend! {
    async fn a_reservation_costs_few_statements(test) {
        let store = a_store(&test).await;
        let db = test.database();
        a_reservation(db, "0xaa", "CONFIRMED", 0).await;
        let clock = ManualClock::at(at("2026-03-01T08:59:00Z"));
        let settings = Settings::default();
        let engine = Engine::new(
            store.clone(),
            Willing(clock.clone()),
            Arc::new(clock.clone()),
            settings,
            "worker-a",
            Some(1),
        );
        let start = passes(&engine, db).await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM lab_reservations WHERE status = 'ACTIVE'").await, 1);
        let between = passes(&engine, db).await;
        clock.advance(TimeDelta::minutes(70));
        let end = passes(&engine, db).await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM lab_reservations WHERE status = 'COMPLETED'").await, 1);
        let after = passes(&engine, db).await;
        tell(&format!(
            "{:?}: start {start:?}, idle {between:?}, end {end:?}, idle {after:?}, {} answers waited for in all",
            db.backend(),
            start.round_trips() + end.round_trips()
        ));
        // Those of the passes are included. It was 88 statements in 12 transactions once.
        assert!(start.statements + end.statements <= MAX_STATEMENTS, "{start:?} {end:?}");
        assert!(start.transactions + end.transactions <= MAX_TRANSACTIONS, "{start:?} {end:?}");
        for idle in [between, after] {
            assert!(idle.statements <= MAX_IDLE && idle.transactions == 0, "{idle:?}");
        }
    }
}

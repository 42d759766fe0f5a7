//! What a view of all hosts asks, and that it asks it once.

use std::time::Duration;

use lab_model::LabId;
use reservation_engine::{OperationKind, Store as _};
use reservation_store::ReservationStore;
use store_support::{Database, each_backend};

use crate::{LEASE, a_claim, a_store, an_operation_in, at, done, host, now, run};

async fn book(db: &Database, hash: &str, lab: &str, status: &str, start: &str, end: &str) {
    let insert = format!(
        "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) \
         VALUES ('{hash}', '{lab}', '2026-03-{start}:00', '2026-03-{end}:00', '{status}')"
    );
    run(db, &insert).await;
}

async fn ids(store: &ReservationStore, per_lab: u32) -> Vec<String> {
    let found = store.fleet_reservations(now(), per_lab).await.unwrap();
    found.into_iter().map(|row| row.reservation_id).collect()
}

each_backend! {
    async fn each_lab_shows_what_runs_and_what_comes_next(test) {
        let store = a_store(&test).await;
        let db = test.database();
        book(db, "over", "7", "ACTIVE", "01 07:00", "01 09:00").await;
        book(db, "runs", " 7 ", "ACTIVE", "01 08:30", "01 10:00").await;
        book(db, "next", "7", "CONFIRMED", "01 10:00", "01 11:00").await;
        book(db, "later", "7", "CONFIRMED", "01 11:00", "01 12:00").await;
        book(db, "other", "Bench", "CONFIRMED", "02 10:00", "02 11:00").await;
        book(db, "called-off", "Bench", "CANCELLED", "01 08:00", "01 12:00").await;
        book(db, "pending", "Bench", "PENDING", "01 08:00", "01 12:00").await;
        book(db, "far", "9", "CONFIRMED", "09 10:00", "09 11:00").await;
        run(db, "UPDATE lab_reservations SET lab_id = '7' WHERE transaction_hash = 'runs'").await;

        assert_eq!(ids(&store, 1).await, ["runs", "next", "other"]);
        assert_eq!(ids(&store, 2).await, ["runs", "next", "later", "other"]);
        let found = store.fleet_reservations(now(), 1).await.unwrap();
        assert_eq!((&found[0].lab, found[0].status.as_str()), (&LabId::new("7"), "ACTIVE"));
        assert_eq!((found[0].start, found[0].end), (at("2026-03-01T08:30:00Z"), at("2026-03-01T10:00:00Z")));
        assert_eq!((&found[2].lab, &found[2].host), (&LabId::new("bench"), &None));
    }

    async fn a_reservation_says_on_which_host_it_was_begun(test) {
        let store = a_store(&test).await;
        let db = test.database();
        book(db, "0xaa", "7", "ACTIVE", "01 08:30", "01 10:00").await;
        for name in ["WS-1", "WS-2"] {
            let claim = a_claim(&store, name).await;
            let kind = if name == "WS-1" { OperationKind::End } else { OperationKind::Start };
            an_operation_in(&store, &claim, kind, "0xaa", done(), false).await;
        }
        let found = store.fleet_reservations(now(), 1).await.unwrap();
        assert_eq!(found[0].host.as_deref(), Some("ws-2"));
    }

    async fn claims_leads_and_power_orders_cost_one_statement_each(test) {
        let store = a_store(&test).await;
        let db = test.database();
        for name in ["WS-1", "ws-2"] {
            a_claim(&store, name).await;
        }
        let freed = a_claim(&store, "ws-3").await;
        store.record_timing(&freed, &[], Duration::from_secs(200), now()).await.unwrap();
        an_operation_in(&store, &freed, OperationKind::End, "0xaa", done(), false).await;
        let add = "INSERT INTO ops_attempts (operation_id, step, attempt, token, intent_at, outcome, outcome_at) \
             SELECT id, 'power', 1, 1, '2026-03-01 08:59:00', 'done', '2026-03-01 08:59:30' FROM ops_operations";
        run(db, add).await;
        store.give_back(&freed).await.unwrap();
        run(db, "INSERT INTO ops_leases (name, holder, fence, lease_until) VALUES ('hostile', 'x', 1, 9999999999999)").await;

        let before = db.traffic();
        let claims = store.fleet_claims().await.unwrap();
        let leads = store.fleet_leads().await.unwrap();
        let down = store.taken_down(at("2026-03-01T00:00:00Z")).await.unwrap();
        assert_eq!(db.traffic().since(before).statements, 3);
        let mut held: Vec<&str> = claims.keys().map(String::as_str).collect();
        held.sort_unstable();
        assert_eq!(held, ["ws-1", "ws-2"]);
        assert_eq!(claims["ws-1"].holder, "worker-a");
        assert!(claims["ws-1"].left <= LEASE && !claims["ws-1"].left.is_zero());
        assert_eq!(leads.len(), 1);
        assert_eq!(leads[host("ws-3").key()], Duration::from_secs(200));
        assert_eq!(down["ws-3"], at("2026-03-01T08:59:30Z"));
        assert!(store.taken_down(at("2026-03-02T00:00:00Z")).await.unwrap().is_empty());
    }
}

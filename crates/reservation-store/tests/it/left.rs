//! What somebody else left behind: callers' operations without a worker, rows of other releases.

use std::time::Duration;

use reservation_engine::{
    HostFacts, JOURNAL_VERSION, OperationKind, Settings, State, Step, Store as _, StoreError, WaitCode,
    WorkItem, plan_host,
};
use store_support::each_backend;

use crate::{
    AttemptOutcome, LEASE, a_claim, a_history_row, a_reservation, a_store, an_operation, an_operation_in,
    count, done, ending, find, host, now, rows, run, running, waiting,
};

/// An operation as it may stand in the database, written by a release whose states looked as they did then.
fn stored(key: &str, state: &str, state_json: &str, version: u32) -> String {
    format!(
        "INSERT INTO ops_operations (op_key, kind, reservation_id, lab_id, host, state, state_json, step, token, \
         owes_release, due_at, created_at, updated_at, journal_version) VALUES ('start:{key}', 'start', '{key}', \
         'bench-7', 'ws', '{state}', '{state_json}', 'wake', 1, 0, '2026-03-01 08:58:00', '2026-03-01 08:58:00', \
         '2026-03-01 08:58:00', {version})"
    )
}

const PENDING: &str = r#"{"state": "pending", "step": "wake", "failed": 0}"#;

each_backend! {
    async fn a_callers_operation_is_abandoned_once_its_claim_is_over(test) {
        let store = a_store(&test).await;
        let db = test.database();
        let live = a_claim(&store, "live").await;
        let given_back = a_claim(&store, "given-back").await;
        let ended = a_claim(&store, "Ended-É").await;
        for (claim, name) in [(&live, "0xlive"), (&given_back, "0xback"), (&ended, "0xended")] {
            an_operation(&store, claim, OperationKind::ManualStart, name).await;
            an_operation(&store, claim, OperationKind::Start, name).await;
            an_operation_in(&store, claim, OperationKind::ManualEnd, name, done(), false).await;
        }
        assert_eq!(store.abandoned_manual(10).await.unwrap(), []);
        store.give_back(&given_back).await.unwrap();
        let over = format!(
            "UPDATE ops_leases SET lease_until = {} - 1 WHERE name = 'host:ended-é'",
            db.backend().now_ms()
        );
        assert_eq!(run(db, &over).await, 1);
        let names = |found: Vec<reservation_engine::Operation>| {
            found.iter().map(|operation| operation.reservation.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(store.abandoned_manual(10).await.unwrap()), ["0xback", "0xended"]);
        assert_eq!(names(store.abandoned_manual(1).await.unwrap()), ["0xback"]);
        // Somebody else at work on the host changes nothing.
        let next = store.claim_host(&host("given-back"), "worker-b", LEASE).await.unwrap().unwrap();
        assert_eq!(names(store.abandoned_manual(10).await.unwrap()), ["0xback", "0xended"]);
        let mut settled = store.abandoned_manual(1).await.unwrap().remove(0);
        settled.state = done();
        store.save_operation(&next, &settled, &[], now()).await.unwrap();
        assert_eq!(names(store.abandoned_manual(10).await.unwrap()), ["0xended"]);
    }

    async fn a_row_of_a_newer_release_is_left_alone(test) {
        let store = a_store(&test).await;
        let db = test.database();
        for (name, minute) in [("0xaa", 0), ("0xbb", 1)] {
            a_reservation(db, name, "CONFIRMED", minute).await;
        }
        let claim = a_claim(&store, "ws").await;
        let ours = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        let attempt = store.begin_attempt(&claim, &ours, Step::Wake, 1, now()).await.unwrap();
        run(db, &format!("UPDATE ops_operations SET journal_version = {}", JOURNAL_VERSION + 1)).await;
        let content = "SELECT state_json, journal_version, owes_release FROM ops_operations";
        let before = format!("{:?}", rows(db, content).await);

        let theirs = State::Foreign { version: JOURNAL_VERSION + 1, over: false };
        let found = find(&store, "0xaa").await.unwrap().start.unwrap();
        assert_eq!((&found.state, &found.host), (&theirs, &host("ws")));
        let seen = store.work(now(), now() + Duration::from_mins(5), 10).await.unwrap();
        let seen: Vec<_> = seen.iter().map(|item| item.reservation.id.as_str()).collect();
        assert_eq!(seen, ["0xbb", "0xaa"], "ours come first");
        assert_eq!(store.open_operations(10).await.unwrap(), []);
        assert_eq!(store.orphaned(now() + Duration::from_secs(30), 10).await.unwrap(), []);
        let mut changed = ours.clone();
        changed.state = running(Step::Wake, 2);
        let history = [a_history_row("wake")];
        for refused in [
            store.begin_attempt(&claim, &changed, Step::Wake, 2, now()).await.map(|_| ()),
            store.finish_attempt(&claim, ending(&changed, attempt, AttemptOutcome::Done, &history)).await,
            store.save_operation(&claim, &changed, &history, now()).await,
            store.save_operation(&claim, &changed, &[], now()).await,
            store
                .open_operation(&claim, crate::new(OperationKind::Start, "0xaa", "ws"), now())
                .await
                .map(|_| ()),
        ] {
            let Err(StoreError::Refused { source, .. }) = &refused else { panic!("{refused:?}") };
            assert!(source.to_string().contains("newer release"), "{source}");
        }
        assert_eq!(format!("{:?}", rows(db, content).await), before);
        assert_eq!(count(db, "SELECT COUNT(*) FROM reservation_operations").await, 0);
    }

    async fn what_a_newer_release_has_begun_keeps_its_host_from_its_neighbours(test) {
        let store = a_store(&test).await;
        let db = test.database();
        for (name, minute) in [("0xaa", 0), ("0xbb", 30)] {
            a_reservation(db, name, "CONFIRMED", minute).await;
        }
        run(db, &stored("0xaa", "somewhere-new", r#"{"never": "seen"}"#, JOURNAL_VERSION + 1)).await;
        run(db, "UPDATE ops_operations SET state = 'waiting', prepare_began_at = '2026-03-01 08:59:00'").await;
        let plan = |items: Vec<WorkItem>| {
            let settings = Settings::default();
            let facts = HostFacts::with_lead(settings.lead);
            let at = now() + Duration::from_mins(30);
            let plan = plan_host(at, &settings, &facts, &items);
            assert_eq!(plan.act, None);
            plan.waits.into_iter().map(|(id, wait)| (id.to_string(), wait.code)).collect::<Vec<_>>()
        };
        let seen = store.work(now(), now() + Duration::from_hours(1), 10).await.unwrap();
        assert_eq!(seen.len(), 2);
        let waits = plan(seen);
        assert!(waits.contains(&("0xaa".to_owned(), WaitCode::NewerRelease)), "{waits:?}");
        assert!(waits.contains(&("0xbb".to_owned(), WaitCode::HostOccupied)), "{waits:?}");
    }

    async fn what_is_open_for_a_reservation_that_is_gone_is_found_when_it_is_old(test) {
        let store = a_store(&test).await;
        let db = test.database();
        a_reservation(db, "0xthere", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        for name in ["0xthere", "0xgone"] {
            an_operation(&store, &claim, OperationKind::Start, name).await;
        }
        an_operation(&store, &claim, OperationKind::ManualStart, "0xcaller").await;
        an_operation_in(&store, &claim, OperationKind::Start, "0xsettled", done(), false).await;
        assert_eq!(store.orphaned(now(), 10).await.unwrap(), [], "written just now");
        let mut left = store.orphaned(now() + Duration::from_secs(30), 10).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].reservation.as_str(), "0xgone");
        left[0].state = done();
        store.save_operation(&claim, &left[0], &[], now()).await.unwrap();
        assert_eq!(store.orphaned(now() + Duration::from_secs(30), 10).await.unwrap(), []);
    }

    async fn a_reservation_that_a_newer_release_prepared_is_not_forgiven_its_release(test) {
        let store = a_store(&test).await;
        let db = test.database();
        run(db, &stored("0xgone", "done", "{}", JOURNAL_VERSION + 1)).await;
        run(db, "UPDATE ops_operations SET owes_release = 1").await;
        assert_eq!(store.work(now(), now(), 10).await.unwrap(), []);
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_operations WHERE owes_release = 1").await, 1);
    }

    async fn what_an_older_release_began_is_resumed(test) {
        let store = a_store(&test).await;
        let db = test.database();
        a_reservation(db, "0xaa", "CONFIRMED", 0).await;
        run(db, &stored("0xaa", "pending", PENDING, 0)).await;
        let mut operation = find(&store, "0xaa").await.unwrap().start.unwrap();
        assert_eq!(operation.state, State::Pending { step: Step::Wake, failed: 0 });
        let claim = a_claim(&store, "ws").await;
        operation.state = waiting();
        store.save_operation(&claim, &operation, &[], now()).await.unwrap();
        let ours = format!("SELECT COUNT(*) FROM ops_operations WHERE journal_version = {JOURNAL_VERSION}");
        assert_eq!(count(db, &ours).await, 1, "the row is in today's shape now");
    }
}

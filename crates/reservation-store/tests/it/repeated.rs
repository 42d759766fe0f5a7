//! What a repeated call writes: nothing twice, for the answer to the first one may have been lost.

use reservation_engine::{
    AttemptOutcome, FencingToken, HistoryRow, OperationKind, State, Step, Store as _, StoreError,
    TimingSample,
};
use store_support::each_backend;

use crate::{
    LEASE, a_claim, a_history_row, a_reservation, a_store, an_operation, count, done, ending, find, host,
    now, running, waiting,
};

const HISTORY: &str = "SELECT COUNT(*) FROM reservation_operations";
const ATTEMPTS: &str = "SELECT COUNT(*) FROM ops_attempts";

fn two_rows() -> [HistoryRow; 2] {
    [a_history_row("wake"), a_history_row("scheduler:start")]
}

each_backend! {
    async fn the_same_try_begun_again_is_the_same_row(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        operation.state = running(Step::Wake, 1);
        let mut begun = Vec::new();
        for _ in 0..3 {
            begun.push(store.begin_attempt(&claim, &operation, Step::Wake, 1, now()).await.unwrap());
        }
        assert_eq!(begun, [begun[0]; 3]);
        operation.state = running(Step::Wake, 2);
        let next = store.begin_attempt(&claim, &operation, Step::Wake, 2, now()).await.unwrap();
        assert_ne!(next, begun[0]);
        assert_eq!(count(test.database(), ATTEMPTS).await, 2);
    }

    async fn a_try_that_ended_is_not_begun_again_under_its_old_row(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        let mut begun = Vec::new();
        for _ in 0..2 {
            operation.state = running(Step::Wake, 1);
            let attempt = store.begin_attempt(&claim, &operation, Step::Wake, 1, now()).await.unwrap();
            operation.state = State::Pending { step: Step::Prepare, failed: 0 };
            let end = ending(&operation, attempt, AttemptOutcome::Done, &[]);
            store.finish_attempt(&claim, end).await.unwrap();
            begun.push(attempt);
        }
        assert_ne!(begun[0], begun[1]);
        assert_eq!(count(test.database(), ATTEMPTS).await, 2);
    }

    async fn an_outcome_is_written_once_with_its_history(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        operation.state = running(Step::Wake, 1);
        let attempt = store.begin_attempt(&claim, &operation, Step::Wake, 1, now()).await.unwrap();
        operation.state = waiting();
        let rows = two_rows();
        for _ in 0..3 {
            let end = ending(&operation, attempt, AttemptOutcome::Failed, &rows);
            store.finish_attempt(&claim, end).await.unwrap();
        }
        let mut other = operation.clone();
        other.state = done();
        let end = ending(&other, attempt, AttemptOutcome::Done, &rows);
        store.finish_attempt(&claim, end).await.unwrap();
        assert_eq!(count(test.database(), HISTORY).await, 2);
        let tries = store.attempts(operation.id).await.unwrap();
        assert_eq!(tries[0].outcome.as_deref(), Some("failed"), "the first outcome stays");
        assert_eq!(store.open_operations(10).await.unwrap(), [operation]);
    }

    async fn a_state_is_saved_once_with_its_history(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::End, "0xaa").await;
        for state in [running(Step::Release, 1), done()] {
            operation.state = state;
            for _ in 0..3 {
                store.save_operation(&claim, &operation, &two_rows(), now()).await.unwrap();
            }
        }
        assert_eq!(count(test.database(), HISTORY).await, 4);
    }

    async fn an_operation_is_handed_over_once_and_then_belongs_to_the_other_host(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let first = a_claim(&store, "WS-One").await;
        let mut operation = an_operation(&store, &first, OperationKind::Start, "0xaa").await;
        operation.state = State::Pending { step: Step::Wake, failed: 0 };
        operation.host = host("ws-two");
        // The catalog may spell the former host differently by now.
        let respelled = reservation_engine::Claim { host: host("ws-one"), ..first.clone() };
        for claim in [&respelled, &first, &respelled] {
            store.save_operation(claim, &operation, &two_rows(), now()).await.unwrap();
        }
        assert_eq!(count(test.database(), HISTORY).await, 2);
        assert_eq!(find(&store, "0xaa").await.unwrap().start.unwrap().host, host("ws-two"));

        let second = a_claim(&store, "ws-two").await;
        let handed_over = operation.clone();
        operation.state = running(Step::Wake, 1);
        store.begin_attempt(&second, &operation, Step::Wake, 1, now()).await.unwrap();
        let late = store.save_operation(&first, &handed_over, &two_rows(), now()).await;
        assert!(matches!(late, Err(StoreError::Refused { .. })), "{late:?}");
        let mut own = operation.clone();
        own.host = first.host.clone();
        let late = store.begin_attempt(&first, &own, Step::Wake, 2, now()).await;
        assert!(matches!(late, Err(StoreError::Refused { .. })), "{late:?}");
        assert_eq!(find(&store, "0xaa").await.unwrap().start, Some(operation));
        assert_eq!(count(test.database(), HISTORY).await, 2);
    }

    async fn samples_are_kept_once_and_only_the_newest_fifty(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "WS-é").await;
        for n in 0..60_u64 {
            let samples = [
                TimingSample::ColdWake(LEASE + std::time::Duration::from_millis(n)),
                TimingSample::Prepare(std::time::Duration::from_millis(n)),
            ];
            let at = now() + std::time::Duration::from_secs(n);
            for _ in 0..2 {
                store.record_timing(&claim, &samples, LEASE * 2, at).await.unwrap();
            }
        }
        a_claim(&store, "unknown").await;
        let known = store.host_timings(&[host("ws-É"), host("unknown")]).await.unwrap();
        assert_eq!(known.len(), 1);
        let timings = &known[&host("WS-é")];
        assert_eq!((timings.cold_wakes.len(), timings.prepares.len(), timings.lead), (50, 50, Some(LEASE * 2)));
        assert_eq!(timings.prepares[0].as_millis(), 10);
        assert_eq!(timings.prepares[49].as_millis(), 59);
        let forged = reservation_engine::Claim { token: FencingToken(7), ..claim };
        let refused = store.record_timing(&forged, &[TimingSample::Prepare(LEASE)], LEASE, now()).await;
        assert!(matches!(refused, Err(StoreError::Fenced { .. })), "{refused:?}");
    }

    async fn many_hosts_are_asked_for_at_once(test) {
        let store = a_store(&test).await;
        let hosts: Vec<_> = (0..1_000).map(|n| host(&format!("ws-{n}"))).collect();
        for n in [0, 500, 999] {
            let claim = a_claim(&store, &format!("ws-{n}")).await;
            store.record_timing(&claim, &[TimingSample::Prepare(LEASE)], LEASE, now()).await.unwrap();
        }
        assert_eq!(store.host_timings(&hosts).await.unwrap().len(), 3);
        assert!(store.host_timings(&[]).await.unwrap().is_empty());
    }
}

use lab_model::LabId;
use reservation_engine::{
    AttemptOutcome, Claim, FencingToken, OperationKind, Reason, ReservationStatus, Step, Store as _,
    StoreError, TimingSample,
};
use store_support::each_backend;

use crate::{
    LEASE, a_claim, a_history_row, a_reservation, a_store, an_operation, count, done, ending, find, host, id,
    new, now, rows, run, running, waiting,
};

each_backend! {
    async fn an_operation_is_read_back_as_it_was_opened(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "Lab-WS-01").await;
        let opened = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        assert_eq!(
            (opened.kind, &opened.state, opened.created_at),
            (OperationKind::Start, &waiting(), now())
        );
        assert_eq!(
            (opened.host.as_str(), opened.lab.clone()),
            ("Lab-WS-01", Some(LabId::new("bench-7")))
        );
        let item = find(&store, "0xaa").await.unwrap();
        assert_eq!((item.start, item.end), (Some(opened), None));
    }

    async fn a_known_key_gives_the_operation_that_has_it(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let first = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        let mut again = new(OperationKind::Start, "0xaa", "ws");
        again.state = done();
        assert_eq!(store.open_operation(&claim, again, now()).await.unwrap(), first);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM ops_operations").await,
            1
        );
    }

    async fn a_step_is_committed_before_and_after(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        operation.state = running(Step::Prepare, 2);
        operation.prepare_began_at = Some(now());
        let attempt = store
            .begin_attempt(&claim, &operation, Step::Prepare, 2, now())
            .await
            .unwrap();
        let intent = store.attempts(operation.id).await.unwrap();
        assert_eq!(
            (intent.len(), intent[0].step.as_str(), intent[0].attempt),
            (1, "prepare", 2)
        );
        assert_eq!(
            (intent[0].token, intent[0].intent_at, &intent[0].outcome),
            (claim.token.0, now(), &None)
        );

        let reason = Reason::new("exit_code", "exit code 2").at_rung("command");
        operation.state = waiting();
        let history = [a_history_row("prepare"), a_history_row("scheduler:start")];
        let mut end = ending(&operation, attempt, AttemptOutcome::Failed, &history);
        end.reason = Some(&reason);
        store.finish_attempt(&claim, end).await.unwrap();
        let ended = store.attempts(operation.id).await.unwrap();
        assert_eq!(
            (ended[0].outcome.as_deref(), ended[0].outcome_at),
            (Some("failed"), Some(now()))
        );
        assert_eq!(
            ended[0].reason_json.as_deref(),
            Some(serde_json::to_string(&reason).unwrap().as_str())
        );
        assert_eq!(store.open_operations(10).await.unwrap(), [operation]);
        let stored = rows(
            test.database(),
            "SELECT state, step, token, owes_release FROM ops_operations",
        )
        .await;
        assert_eq!(stored[0].try_get_by_index::<String>(0).unwrap(), "waiting");
        assert_eq!(stored[0].try_get_by_index::<String>(1).unwrap(), "wake");
        assert!(stored[0].try_get_by_index::<bool>(3).unwrap());
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM reservation_operations").await,
            2
        );
    }

    async fn every_write_of_a_stale_claim_is_refused_and_changes_nothing(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let stale = a_claim(&store, "ws").await;
        let operation = an_operation(&store, &stale, OperationKind::Start, "0xaa").await;
        let attempt = store
            .begin_attempt(&stale, &operation, Step::Wake, 1, now())
            .await
            .unwrap();
        store.give_back(&stale).await.unwrap();
        let current = store
            .claim_host(&stale.host, "worker-b", LEASE)
            .await
            .unwrap()
            .unwrap();
        every_write_is_fenced(&store, &stale, &operation, attempt).await;
        // A made-up token, the wrong holder, and a lease that ran out are no better.
        let forged = Claim {
            token: FencingToken(current.token.0 + 1),
            ..current.clone()
        };
        every_write_is_fenced(&store, &forged, &operation, attempt).await;
        let other = Claim {
            holder: "worker-c".to_owned(),
            ..current.clone()
        };
        every_write_is_fenced(&store, &other, &operation, attempt).await;
        let over = format!(
            "UPDATE ops_leases SET lease_until = {}",
            test.database().backend().now_ms()
        );
        run(test.database(), &over).await;
        every_write_is_fenced(&store, &current, &operation, attempt).await;

        assert_eq!(
            store.open_operations(10).await.unwrap(),
            std::slice::from_ref(&operation)
        );
        assert_eq!(store.attempts(operation.id).await.unwrap().len(), 1);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM reservation_operations").await,
            0
        );
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM ops_operations").await,
            1
        );
        assert_eq!(
            find(&store, "0xaa").await.unwrap().reservation.status,
            ReservationStatus::Confirmed
        );
        assert!(store.host_timings(&[host("ws")]).await.unwrap().is_empty());
    }

    async fn a_claim_speaks_for_its_host_only(test) {
        let store = a_store(&test).await;
        let one = a_claim(&store, "ws-1").await;
        let two = a_claim(&store, "ws-2").await;
        let operation = an_operation(&store, &one, OperationKind::Start, "0xaa").await;
        let mut operation = operation;
        operation.state = done();
        let refused = store.save_operation(&two, &operation, &[], now()).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }

    async fn an_attempt_of_another_operation_is_refused_with_everything_that_came_along(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let one = an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        let mut two = an_operation(&store, &claim, OperationKind::End, "0xaa").await;
        let attempt = store
            .begin_attempt(&claim, &one, Step::Wake, 1, now())
            .await
            .unwrap();
        two.state = done();
        let history = [a_history_row("wake")];
        let end = ending(&two, attempt, AttemptOutcome::Done, &history);
        let refused = store.finish_attempt(&claim, end).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
        assert_eq!(store.open_operations(10).await.unwrap().len(), 2);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM reservation_operations").await,
            0
        );
    }

    async fn saving_twice_after_a_lost_answer_is_harmless(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &claim, OperationKind::End, "0xaa").await;
        operation.state = done();
        for _ in 0..2 {
            store
                .save_operation(&claim, &operation, &[], now())
                .await
                .unwrap();
        }
        assert_eq!(store.open_operations(10).await.unwrap(), []);
    }

    async fn keys_and_ids_of_the_full_width_fit_and_longer_keys_are_refused(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        let mut wide = new(OperationKind::ManualStart, &"é".repeat(128), "ws");
        wide.key = "k".repeat(190);
        wide.lab = Some(LabId::new(&"l".repeat(300)));
        let opened = store.open_operation(&claim, wide.clone(), now()).await.unwrap();
        assert_eq!(opened.reservation.as_str().chars().count(), 128);
        wide.key = "k".repeat(191);
        let refused = store.open_operation(&claim, wide, now()).await;
        assert!(matches!(refused, Err(StoreError::Refused { .. })), "{refused:?}");
    }

    async fn an_unreadable_operation_is_left_alone_and_does_not_stop_the_others(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        a_reservation(test.database(), "0xbb", "CONFIRMED", 1).await;
        let claim = a_claim(&store, "ws").await;
        an_operation(&store, &claim, OperationKind::Start, "0xaa").await;
        run(
            test.database(),
            "UPDATE ops_operations SET state_json = '{\"state\": \"teleporting\"}'",
        )
        .await;
        assert_eq!(find(&store, "0xaa").await, None);
        let work = store.work(now(), now() + std::time::Duration::from_mins(30), 10).await.unwrap();
        let ids: Vec<&str> = work.iter().map(|item| item.reservation.id.as_str()).collect();
        assert_eq!(ids, ["0xbb"]);
    }

    async fn flows_of_many_hosts_write_at_once_without_losing_a_row(test) {
        let store = a_store(&test).await;
        let flows: Vec<_> = (0..16)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move {
                    let name = format!("ws-{n}");
                    let claim = store.claim_host(&host(&name), "worker-a", LEASE).await?.unwrap();
                    let mut operation = store
                        .open_operation(&claim, new(OperationKind::Start, &name, &name), now())
                        .await?;
                    for attempt in 1..=3 {
                        operation.state = running(Step::Wake, attempt);
                        let begun = store
                            .begin_attempt(&claim, &operation, Step::Wake, attempt, now())
                            .await?;
                        let history = [a_history_row("wake")];
                        let end = ending(&operation, begun, AttemptOutcome::Unknown, &history);
                        store.finish_attempt(&claim, end).await?;
                    }
                    store.give_back(&claim).await
                })
            })
            .collect();
        for flow in flows {
            flow.await.unwrap().unwrap();
        }
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM reservation_operations").await,
            48
        );
        assert_eq!(
            count(
                test.database(),
                "SELECT COUNT(*) FROM ops_attempts WHERE outcome = 'unknown'"
            )
            .await,
            48
        );
    }
}

async fn every_write_is_fenced(
    store: &reservation_store::ReservationStore,
    claim: &Claim,
    operation: &reservation_engine::Operation,
    attempt: reservation_engine::AttemptId,
) {
    let mut changed = operation.clone();
    changed.state = done();
    let history = [a_history_row("wake")];
    let end = ending(&changed, attempt, AttemptOutcome::Done, &history);
    let (confirmed, active) = (ReservationStatus::Confirmed, ReservationStatus::Active);
    let fenced = [
        store
            .open_operation(claim, new(OperationKind::End, "0xaa", "ws"), now())
            .await
            .map(|_| ()),
        store
            .open_operation(claim, new(OperationKind::Start, "0xaa", "ws"), now())
            .await
            .map(|_| ()),
        store
            .begin_attempt(claim, &changed, Step::Wake, 2, now())
            .await
            .map(|_| ()),
        store.finish_attempt(claim, end).await,
        store.save_operation(claim, &changed, &history, now()).await,
        store.save_operation(claim, &changed, &[], now()).await,
        store
            .change_status(claim, &id("0xaa"), confirmed, active, now())
            .await
            .map(|_| ()),
        store
            .record_timing(claim, &[TimingSample::Prepare(LEASE)], LEASE, now())
            .await,
    ];
    for (index, result) in fenced.into_iter().enumerate() {
        assert!(
            matches!(&result, Err(StoreError::Fenced { host }) if *host == claim.host),
            "write {index}: {result:?}"
        );
    }
}

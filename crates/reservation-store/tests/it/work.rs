use std::time::Duration;

use reservation_engine::{NewOperation, OperationKind, ReservationStatus, Store as _};
use reservation_store::ReservationStore;
use store_support::each_backend;

use crate::{
    a_claim, a_reservation, a_store, an_operation, an_operation_in, at, count, done, find, id,
    needs_attention, new, now, run, waiting,
};

/// What a pass at 09:00 with a horizon of 09:30 gets to see.
async fn seen(store: &ReservationStore) -> Vec<String> {
    let work = store.work(now(), at("2026-03-01T09:30:00Z"), 100).await.unwrap();
    work.iter()
        .map(|item| item.reservation.id.as_str().to_owned())
        .collect()
}

each_backend! {
    async fn confirmed_ones_are_seen_once_they_start_before_the_horizon(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xsoon", "CONFIRMED", 29).await;
        a_reservation(test.database(), "0xlater", "CONFIRMED", 30).await;
        a_reservation(test.database(), "0xpast", "CONFIRMED", 0).await;
        run(
            test.database(),
            "UPDATE lab_reservations SET start_time = '2025-01-01 09:00:00', \
                              end_time = '2025-01-01 10:00:00' WHERE transaction_hash = '0xpast'",
        )
        .await;
        assert_eq!(seen(&store).await, ["0xpast", "0xsoon"]);
        let item = find(&store, "0xsoon").await.unwrap();
        assert_eq!(item.reservation.lab.as_str(), "bench-7");
        assert_eq!(item.reservation.ends_at, at("2026-03-01T10:29:00Z"));
    }

    async fn pending_completed_and_cancelled_ones_are_not_seen(test) {
        let store = a_store(&test).await;
        for (n, status) in ["PENDING", "COMPLETED", "CANCELLED"].into_iter().enumerate() {
            a_reservation(test.database(), &format!("0x{n}"), status, 0).await;
        }
        assert_eq!(seen(&store).await, Vec::<String>::new());
    }

    async fn every_active_one_is_seen_however_old_or_far(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xfar", "ACTIVE", 50_000).await;
        a_reservation(test.database(), "0xnow", "ACTIVE", 0).await;
        assert_eq!(seen(&store).await, ["0xnow", "0xfar"]);
    }

    async fn a_confirmed_one_is_settled_when_its_start_ended_without_touching_the_host(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        an_operation_in(
            &store,
            &claim,
            OperationKind::Start,
            "0xaa",
            needs_attention(),
            false,
        )
        .await;
        assert_eq!(seen(&store).await, Vec::<String>::new());
    }

    async fn a_confirmed_one_whose_host_was_prepared_is_seen_until_its_end_is_decided(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        an_operation_in(
            &store,
            &claim,
            OperationKind::Start,
            "0xaa",
            needs_attention(),
            true,
        )
        .await;
        assert_eq!(seen(&store).await, ["0xaa"]);
        an_operation_in(&store, &claim, OperationKind::End, "0xaa", done(), false).await;
        assert_eq!(seen(&store).await, Vec::<String>::new());
    }

    async fn one_that_was_confirmed_again_is_seen_until_it_is_long_over(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CANCELLED", 0).await;
        a_reservation(test.database(), "0xbb", "CANCELLED", 1).await;
        let claim = a_claim(&store, "ws").await;
        let first = an_operation_in(&store, &claim, OperationKind::Start, "0xaa", done(), true).await;
        an_operation_in(&store, &claim, OperationKind::End, "0xaa", done(), false).await;
        an_operation_in(&store, &claim, OperationKind::Start, "0xbb", done(), false).await;
        assert_eq!(seen(&store).await, Vec::<String>::new());
        run(test.database(), "UPDATE lab_reservations SET status = 'CONFIRMED'").await;
        assert_eq!(seen(&store).await, ["0xaa", "0xbb"]);
        let long_after = now() + Duration::from_secs(4 * 24 * 3600);
        assert_eq!(store.work(long_after, long_after, 100).await.unwrap(), []);

        let again = NewOperation {
            key: format!("start:0xaa:{}", first.id),
            ..new(OperationKind::Start, "0xaa", "ws")
        };
        let mut again = store.open_operation(&claim, again, now()).await.unwrap();
        let item = find(&store, "0xaa").await.unwrap();
        assert_eq!((item.start, item.end), (Some(again.clone()), None));
        again.state = done();
        store.save_operation(&claim, &again, &[], now()).await.unwrap();
        run(test.database(), "UPDATE lab_reservations SET status = 'ACTIVE'").await;
        let work = store.work(now(), now(), 100).await.unwrap();
        let active = work.iter().find(|item| item.reservation.id == id("0xaa")).unwrap();
        assert_eq!((active.start.as_ref(), active.end.as_ref()), (Some(&again), None));
        let end = NewOperation {
            key: format!("end:0xaa:{}", again.id),
            ..new(OperationKind::End, "0xaa", "ws")
        };
        let mut end = store.open_operation(&claim, end, now()).await.unwrap();
        end.state = done();
        store.save_operation(&claim, &end, &[], now()).await.unwrap();
        run(test.database(), "UPDATE lab_reservations SET status = 'COMPLETED'").await;
        assert_eq!(find(&store, "0xaa").await.unwrap().end, Some(end));
        assert_eq!(seen(&store).await, Vec::<String>::new());
    }

    async fn one_that_was_taken_back_is_seen_while_its_prepared_host_was_not_released(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "PENDING", 0).await;
        let claim = a_claim(&store, "ws").await;
        an_operation_in(&store, &claim, OperationKind::Start, "0xaa", done(), true).await;
        assert_eq!(seen(&store).await, ["0xaa"]);
        an_operation_in(&store, &claim, OperationKind::End, "0xaa", done(), false).await;
        assert_eq!(seen(&store).await, Vec::<String>::new());
    }

    async fn a_cancelled_one_is_seen_while_its_prepared_host_was_not_released(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xprepared", "CANCELLED", 0).await;
        a_reservation(test.database(), "0xuntouched", "CANCELLED", 1).await;
        let claim = a_claim(&store, "ws").await;
        an_operation_in(&store, &claim, OperationKind::Start, "0xprepared", done(), true).await;
        an_operation_in(&store, &claim, OperationKind::Start, "0xuntouched", done(), false).await;
        assert_eq!(seen(&store).await, ["0xprepared"]);
        let end = an_operation_in(&store, &claim, OperationKind::End, "0xprepared", waiting(), false).await;
        assert_eq!(seen(&store).await, ["0xprepared"]);
        let mut end = end;
        end.state = needs_attention();
        store.save_operation(&claim, &end, &[], now()).await.unwrap();
        assert_eq!(seen(&store).await, Vec::<String>::new());
    }

    async fn an_open_operation_is_seen_whatever_the_status_became(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        for (n, status) in ["PENDING", "COMPLETED", "CANCELLED", "CONFIRMED"]
            .into_iter()
            .enumerate()
        {
            let reservation = format!("0x{n}");
            a_reservation(
                test.database(),
                &reservation,
                status,
                40 + u32::try_from(n).unwrap(),
            )
            .await;
            let kind = if n % 2 == 0 {
                OperationKind::Start
            } else {
                OperationKind::End
            };
            an_operation(&store, &claim, kind, &reservation).await;
        }
        assert_eq!(seen(&store).await, ["0x0", "0x1", "0x2", "0x3"]);
    }

    async fn what_callers_did_is_not_the_schedulers_work(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "COMPLETED", 0).await;
        a_reservation(test.database(), "0xbb", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        for reservation in ["0xaa", "0xbb"] {
            an_operation_in(
                &store,
                &claim,
                OperationKind::ManualStart,
                reservation,
                waiting(),
                true,
            )
            .await;
        }
        an_operation_in(&store, &claim, OperationKind::ManualEnd, "0xbb", done(), false).await;
        assert_eq!(seen(&store).await, ["0xbb"]);
        let item = find(&store, "0xbb").await.unwrap();
        assert_eq!((item.start, item.end), (None, None));
    }

    async fn an_item_carries_both_of_its_operations(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "ACTIVE", 0).await;
        let claim = a_claim(&store, "ws").await;
        let start = an_operation_in(&store, &claim, OperationKind::Start, "0xaa", done(), true).await;
        let end = an_operation(&store, &claim, OperationKind::End, "0xaa").await;
        let work = store.work(now(), now(), 10).await.unwrap();
        assert_eq!(
            (work.len(), &work[0].start, &work[0].end),
            (1, &Some(start), &Some(end))
        );
        assert_eq!(
            find(&store, "0xaa").await.as_ref(),
            Some(&work[0])
        );
    }

    async fn a_release_that_was_given_up_does_not_crowd_out_the_others(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        for n in 0..5 {
            let reservation = format!("0xold{n}");
            a_reservation(test.database(), &reservation, "ACTIVE", n).await;
            an_operation_in(
                &store,
                &claim,
                OperationKind::End,
                &reservation,
                needs_attention(),
                false,
            )
            .await;
        }
        a_reservation(test.database(), "0xactive", "ACTIVE", 10).await;
        a_reservation(test.database(), "0xstart", "CONFIRMED", 20).await;
        let work = store.work(now(), at("2026-03-01T09:30:00Z"), 3).await.unwrap();
        let ids: Vec<&str> = work.iter().map(|item| item.reservation.id.as_str()).collect();
        assert_eq!(ids, ["0xactive", "0xstart", "0xold2"]);
    }

    async fn a_release_that_somebody_else_made_is_owed_no_longer(test) {
        let store = a_store(&test).await;
        let claim = a_claim(&store, "ws").await;
        for reservation in ["0xcompleted", "0xgone", "0xactive"] {
            a_reservation(test.database(), reservation, "ACTIVE", 0).await;
            an_operation_in(&store, &claim, OperationKind::Start, reservation, done(), true).await;
        }
        run(
            test.database(),
            "UPDATE lab_reservations SET status = 'COMPLETED' WHERE transaction_hash = '0xcompleted'",
        )
        .await;
        run(
            test.database(),
            "DELETE FROM lab_reservations WHERE transaction_hash = '0xgone'",
        )
        .await;
        for _ in 0..2 {
            let work = store.work(now(), now(), 10).await.unwrap();
            assert!(
                work.iter()
                    .any(|item| item.reservation.status == ReservationStatus::Active)
            );
        }
        assert_eq!(
            count(
                test.database(),
                "SELECT COUNT(*) FROM ops_operations WHERE owes_release"
            )
            .await,
            1
        );
    }

    async fn the_earliest_come_first_and_no_more_than_asked_for(test) {
        let store = a_store(&test).await;
        for n in [7, 3, 5, 1] {
            a_reservation(
                test.database(),
                &format!("0x{n}"),
                if n == 3 { "ACTIVE" } else { "CONFIRMED" },
                n,
            )
            .await;
        }
        let work = store.work(now(), at("2026-03-01T09:30:00Z"), 3).await.unwrap();
        let ids: Vec<&str> = work.iter().map(|item| item.reservation.id.as_str()).collect();
        assert_eq!(ids, ["0x1", "0x3", "0x5"]);
        assert!(
            store
                .work(now(), at("2026-03-01T09:30:00Z"), 0)
                .await
                .unwrap()
                .is_empty()
        );
    }

    async fn rows_without_a_usable_id_are_passed_over(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "   ", "CONFIRMED", 0).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 1).await;
        run(
            test.database(),
            "INSERT INTO lab_reservations (transaction_hash, start_time, end_time, status) \
                              SELECT NULL, start_time, end_time, 'ACTIVE' FROM lab_reservations \
                              WHERE transaction_hash = '0xaa'",
        )
        .await;
        assert_eq!(seen(&store).await, ["0xaa"]);
        assert_eq!(find(&store, "0xnone").await, None);
    }

    async fn a_thousand_due_at_once_are_all_read(test) {
        let store = a_store(&test).await;
        let rows: Vec<String> = (0..1000)
            .map(|n| format!("('0x{n:04}', '7', '2026-03-01 09:00:00', '2026-03-01 10:00:00', 'CONFIRMED')"))
            .collect();
        let into = "lab_reservations (transaction_hash, lab_id, start_time, end_time, status)";
        run(
            test.database(),
            &format!("INSERT INTO {into} VALUES {}", rows.join(", ")),
        )
        .await;
        let claim = a_claim(&store, "ws").await;
        an_operation(&store, &claim, OperationKind::Start, "0x0999").await;
        let work = store.work(now(), at("2026-03-01T09:30:00Z"), 2000).await.unwrap();
        assert_eq!(work.len(), 1000);
        assert_eq!(work.iter().filter(|item| item.start.is_some()).count(), 1);
    }
}

use reservation_engine::{ReservationStatus, Store as _};
use reservation_store::ReservationStore;
use store_support::each_backend;

use crate::{a_claim, a_reservation, a_store, at, count, find, id, now, rows};

each_backend! {
    async fn a_status_moves_only_from_what_it_still_is(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        let (confirmed, active) = (ReservationStatus::Confirmed, ReservationStatus::Active);
        assert!(
            store
                .change_status(&claim, &id("0xaa"), confirmed, active, now())
                .await
                .unwrap()
        );
        assert!(
            !store
                .change_status(&claim, &id("0xaa"), confirmed, active, now())
                .await
                .unwrap()
        );
        assert!(
            !store
                .change_status(&claim, &id("0xbb"), confirmed, active, now())
                .await
                .unwrap()
        );
        let item = find(&store, "0xaa").await.unwrap();
        assert_eq!(item.reservation.status, active);
    }

    async fn nothing_else_of_the_row_changes_but_its_stamp(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        let before = store.reservation_row(&id("0xaa")).await.unwrap().unwrap();
        let (confirmed, active) = (ReservationStatus::Confirmed, ReservationStatus::Active);
        store
            .change_status(&claim, &id("0xaa"), confirmed, active, now())
            .await
            .unwrap();
        let after = store.reservation_row(&id("0xaa")).await.unwrap().unwrap();
        assert_eq!(after.updated_at, Some(at("2026-03-01T09:00:00Z")));
        assert_eq!(after.status, "ACTIVE");
        assert_eq!(
            (after.start, after.end, after.created_at),
            (before.start, before.end, before.created_at)
        );
        let stored = "SELECT COUNT(*) FROM lab_reservations WHERE updated_at = '2026-03-01 09:00:00'";
        assert_eq!(count(test.database(), stored).await, 1);
    }

    async fn of_many_who_move_a_status_at_once_one_succeeds(test) {
        let first = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "ACTIVE", 0).await;
        let claim = a_claim(&first, "ws").await;
        let second = ReservationStore::new(test.reopen().await);
        let moves: Vec<_> = (0..12)
            .map(|n| {
                let store = if n % 2 == 0 { first.clone() } else { second.clone() };
                let claim = claim.clone();
                tokio::spawn(async move {
                    let (from, to) = (ReservationStatus::Active, ReservationStatus::Completed);
                    store.change_status(&claim, &id("0xaa"), from, to, now()).await
                })
            })
            .collect();
        let mut won = 0;
        for moved in moves {
            won += u32::from(moved.await.unwrap().unwrap());
        }
        assert_eq!(won, 1);
    }

    async fn stamps_are_utc_though_the_servers_zone_is_not(test) {
        // On MySQL the server of the tests stands at UTC-5 and TIMESTAMP columns are converted by session.
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let other = ReservationStore::new(test.reopen().await);
        let item = find(&other, "0xaa").await.unwrap();
        assert_eq!(item.reservation.starts_at, at("2026-03-01T09:00:00Z"));
        let due = store.work(now(), at("2026-03-01T09:00:01Z"), 10).await.unwrap();
        assert_eq!(due.len(), 1);
        assert_eq!(
            rows(
                test.database(),
                "SELECT 1 FROM lab_reservations WHERE start_time = '2026-03-01 09:00:00'"
            )
            .await
            .len(),
            1
        );
    }
}

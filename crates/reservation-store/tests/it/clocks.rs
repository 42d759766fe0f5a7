//! Whose clock counts: leases are judged by the database's, reservations by their instants in UTC.

use std::time::Duration;

use reservation_engine::{OperationKind, ReservationStatus, Store as _, StoreError};
use reservation_store::ReservationStore;
use store_support::test_support::{self, TestDatabase};
use store_support::{Database, DatabaseSettings, each_backend};

use crate::{LEASE, a_claim, a_reservation, a_store, an_operation, at, done, find, host, id, now, run};

/// A store of one connection, in which a session's settings therefore stay.
async fn a_session(test: &TestDatabase, set: &str) -> (ReservationStore, Database) {
    let settings = DatabaseSettings {
        max_connections: 1,
        ..test.settings().clone()
    };
    let db = Database::connect(&settings).await.unwrap();
    run(&db, set).await;
    (ReservationStore::new(db.clone()), db)
}

each_backend! {
    async fn a_workers_clock_five_minutes_off_changes_no_lease(test) {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        for (n, off) in [-300, 0, 300].into_iter().enumerate() {
            let now = now() + chrono::TimeDelta::seconds(off);
            let claim = a_claim(&store, &format!("ws-{n}")).await;
            let mut operation = store
                .open_operation(&claim, crate::new(OperationKind::End, &format!("0x{n}"), claim.host.as_str()), now)
                .await
                .unwrap();
            operation.state = done();
            store.save_operation(&claim, &operation, &[], now).await.unwrap();
            let left = store.find_claim(&claim.host).await.unwrap().unwrap().left;
            assert!(left <= LEASE + Duration::from_secs(1) && left > LEASE / 2, "{left:?}");
        }
        // What is due is the worker's own affair.
        let due = |off| store.work(now() + chrono::TimeDelta::seconds(off), now() + chrono::TimeDelta::seconds(off), 9);
        assert_eq!((due(-300).await.unwrap().len(), due(300).await.unwrap().len()), (0, 1));
    }

    async fn the_nights_when_clocks_change_are_ordinary_nights(test) {
        let store = a_store(&test).await;
        // In Madrid 02:30 does not exist on the first night, and comes twice on the second.
        for (name, start, end) in [
            ("0xspring1", "2026-03-29 00:30:00", "2026-03-29 01:30:00"),
            ("0xspring2", "2026-03-29 01:30:00", "2026-03-29 02:30:00"),
            ("0xspring3", "2026-03-29 02:30:00", "2026-03-29 03:30:00"),
            ("0xautumn1", "2026-10-25 00:30:00", "2026-10-25 01:30:00"),
            ("0xautumn2", "2026-10-25 01:30:00", "2026-10-25 02:30:00"),
        ] {
            let insert = format!(
                "INSERT INTO lab_reservations (transaction_hash, lab_id, start_time, end_time, status) \
                 VALUES ('{name}', '7', '{start}', '{end}', 'CONFIRMED')"
            );
            run(test.database(), &insert).await;
            let read = find(&store, name).await.unwrap().reservation;
            assert_eq!(read.starts_at, at(&format!("{}Z", start.replace(' ', "T"))));
            assert_eq!(read.ends_at - read.starts_at, chrono::TimeDelta::hours(1));
        }
        for (now, due) in [
            ("2026-03-29T01:30:00Z", 1),
            ("2026-03-29T01:30:01Z", 2),
            ("2026-10-25T01:30:00Z", 1),
            ("2026-10-25T01:30:01Z", 2),
        ] {
            let work = store.work(at(now), at(now), 10).await.unwrap();
            let day = now[..7].to_owned();
            let same_day = |item: &&reservation_engine::WorkItem| item.reservation.starts_at.to_string().starts_with(&day);
            assert_eq!(work.iter().filter(same_day).count(), due, "{now}");
        }
    }
}

#[tokio::test]
async fn sessions_in_other_zones_judge_a_lease_alike() {
    test_support::on_mysql(|test| async move {
        let store = a_store(&test).await;
        a_reservation(test.database(), "0xaa", "CONFIRMED", 0).await;
        let claim = a_claim(&store, "ws").await;
        for zone in ["-11:00", "+05:30", "+13:00"] {
            let (other, db) = a_session(&test, &format!("SET SESSION time_zone = '{zone}'")).await;
            let left = other.find_claim(&claim.host).await.unwrap().unwrap().left;
            assert!(left <= LEASE && left > LEASE / 2, "{zone}: {left:?}");
            assert!(
                other
                    .claim_host(&claim.host, "worker-b", LEASE)
                    .await
                    .unwrap()
                    .is_none()
            );
            assert!(other.renew_claim(&claim, LEASE).await.unwrap());
            let (from, to) = (ReservationStatus::Active, ReservationStatus::Completed);
            assert!(
                !other
                    .change_status(&claim, &id("0xaa"), from, to, now())
                    .await
                    .unwrap()
            );
            db.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_writes_in_local_time_is_understood() {
    test_support::on_mysql(|test| async move {
        let store = a_store(&test).await;
        let (_, gateway) = a_session(&test, "SET SESSION time_zone = '+02:00'").await;
        a_reservation(&gateway, "0xaa", "CONFIRMED", 0).await;
        let read = find(&store, "0xaa").await.unwrap().reservation;
        assert_eq!(read.starts_at, at("2026-03-01T07:00:00Z"));
        gateway.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_node_whose_clock_runs_ahead_may_take_a_host_but_then_the_token_decides() {
    test_support::on_mysql(|test| async move {
        let store = a_store(&test).await;
        let first = a_claim(&store, "ws").await;
        let mut operation = an_operation(&store, &first, OperationKind::Start, "0xaa").await;
        let ahead = "SET SESSION timestamp = UNIX_TIMESTAMP() + 3600";
        let (other, db) = a_session(&test, ahead).await;
        let second = other
            .claim_host(&host("ws"), "worker-b", LEASE)
            .await
            .unwrap()
            .unwrap();
        assert!(second.token > first.token);
        operation.state = done();
        let late = store.save_operation(&first, &operation, &[], now()).await;
        assert!(matches!(late, Err(StoreError::Fenced { .. })), "{late:?}");
        assert!(!store.renew_claim(&first, LEASE).await.unwrap());
        other
            .save_operation(&second, &operation, &[], now())
            .await
            .unwrap();
        db.close().await;
    })
    .await;
}

//! One name, one living process.

use std::time::Duration;

use store_support::each_backend;
use worker_registry::{Departure, Duty, Status};

use crate::{Worker, a_registry, has_status, mortal, run, until};

each_backend! {
    async fn a_second_start_under_a_living_workers_name_is_told_who_has_it(test) {
        let registry = a_registry(&test).await;
        let first = Worker::start(&test, "gw", &[Duty::Polls]).await;
        let row = has_status(&registry, "scheduler@gw", Status::Active).await;
        let second = Worker::start(&test, "gw", &[Duty::Polls]).await;
        let Departure::NameTaken(incumbent) = second.departed().await else { panic!("both run") };
        assert_eq!(incumbent.instance, row.instance);
        assert_eq!((incumbent.host, incumbent.started_at), (row.host, row.started_at));
        first.leave().await;
    }

    async fn of_two_that_start_at_once_under_one_name_one_runs(test) {
        let registry = a_registry(&test).await;
        let mut pair = [
            Worker::start(&test, "gw", &[Duty::Polls]).await,
            Worker::start(&test, "gw", &[Duty::Polls]).await,
        ];
        until("one has given up", || async { pair.iter().any(|worker| worker.task.is_finished()) }).await;
        if pair[0].task.is_finished() {
            pair.swap(0, 1);
        }
        let [winner, loser] = pair;
        assert!(matches!(loser.departed().await, Departure::NameTaken(_)));
        let row = registry.find("scheduler@gw").await.unwrap().unwrap();
        assert_eq!(row.instance, winner.who.instance.to_string());
        winner.leave().await;
    }

    async fn the_name_of_a_dead_worker_is_free_when_its_lease_is_over(test) {
        let registry = a_registry(&test).await;
        let first = Worker::start_with(&test, "gw", &[Duty::Polls], mortal()).await;
        let before = has_status(&registry, "scheduler@gw", Status::Active).await;
        first.crash().await;
        let second = Worker::start_with(&test, "gw", &[Duty::Polls], mortal()).await;
        until("it has taken over", || async { second.polls() == 64 }).await;
        let after = registry.find("scheduler@gw").await.unwrap().unwrap();
        assert_eq!(after.id, before.id, "one row for one name");
        assert_ne!(after.instance, before.instance);
        second.leave().await;
    }

    async fn a_worker_that_was_replaced_stops_and_says_by_whom(test) {
        let registry = a_registry(&test).await;
        let first = Worker::start(&test, "gw", &[Duty::Polls]).await;
        until("it holds everything", || async { first.polls() == 64 }).await;
        let ownership = first.ownership.clone();
        // As if it had slept while another start took its name.
        let other = "00000000-0000-4000-8000-000000000000";
        run(test.database(), &format!("UPDATE ops_workers SET instance = '{other}'")).await;
        let Departure::Replaced(by) = first.departed().await else { panic!("it goes on") };
        assert_eq!(by.instance, other);
        assert!(ownership.shards(Duty::Polls).is_empty());
        let row = registry.find("scheduler@gw").await.unwrap().unwrap();
        assert_eq!(row.instance, other, "the other's row is left alone");
    }

    async fn a_worker_thought_dead_is_back_with_its_next_heartbeat(test) {
        let registry = a_registry(&test).await;
        let worker = Worker::start(&test, "gw", &[Duty::Polls]).await;
        has_status(&registry, "scheduler@gw", Status::Active).await;
        run(test.database(), "UPDATE ops_workers SET status = 'stale', status_reason = 'x', lease_until = 0").await;
        let row = has_status(&registry, "scheduler@gw", Status::Active).await;
        assert_eq!(row.status_reason, None);
        worker.leave().await;
    }

    async fn a_worker_whose_row_was_deleted_registers_again(test) {
        let registry = a_registry(&test).await;
        // What it held under its old number is free when the lease of that is over.
        let worker = Worker::start_with(&test, "gw", &[Duty::Polls], mortal()).await;
        until("it holds everything", || async { worker.polls() == 64 }).await;
        run(test.database(), "DELETE FROM ops_workers").await;
        has_status(&registry, "scheduler@gw", Status::Active).await;
        until("it holds everything under its new number", || async { worker.polls() == 64 }).await;
        worker.leave().await;
    }

    async fn those_who_are_gone_for_a_month_are_forgotten_and_the_cordoned_are_not(test) {
        let registry = a_registry(&test).await;
        let db = test.database();
        let month = Duration::from_secs(30 * 24 * 3600).as_millis();
        for (name, status, days_more) in [("old", "inactive", 1), ("new", "inactive", -1), ("kept", "cordoned", 9)] {
            let age = format!("{} - {month} - {days_more} * 86400000", db.backend().now_ms());
            let row = format!(
                "INSERT INTO ops_workers (name, role, host, instance, status, capabilities, version, started_at, \
                 last_heartbeat, last_progress, lease_until) \
                 VALUES ('{name}', 'scheduler', 'h', 'i', '{status}', '{{}}', '1', {age}, {age}, {age}, {age})"
            );
            run(db, &row).await;
        }
        let worker = Worker::start(&test, "gw", &[Duty::Polls]).await;
        until("the old one is forgotten", || async { registry.find("old").await.unwrap().is_none() }).await;
        let names: Vec<_> = registry.list().await.unwrap().into_iter().map(|row| row.name).collect();
        assert_eq!(names, ["kept", "new", "scheduler@gw"]);
        worker.leave().await;
    }
}

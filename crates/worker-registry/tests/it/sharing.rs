//! Who holds which shards.
#![expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]

use std::sync::atomic::Ordering;
use std::time::Duration;

use store_support::each_backend;
use tokio::time::Instant;
use worker_registry::{Duty, Shard, Status};

use crate::{Worker, a_registry, has_status, mortal, number, run, settings, until};

const BOTH: [Duty; 2] = Duty::ALL;

each_backend! {
    async fn one_alone_holds_every_shard_without_waiting(test) {
        let registry = a_registry(&test).await;
        let alone = Worker::start(&test, "a", &BOTH).await;
        until("it holds everything", || async {
            BOTH.iter().all(|duty| alone.ownership.shards(*duty).len() == 64)
        })
        .await;
        // Nothing was there to wait for: with a lease of another this would have taken as long as is waited at most.
        assert!(settings().lease >= crate::LIMIT);
        let workers = registry.list().await.unwrap();
        let (counts, unserved) = registry.shards(&workers).await.unwrap();
        assert_eq!((counts[0].of(Duty::Polls), counts[0].of(Duty::Reservations)), (64, 64));
        assert!(unserved.iter().all(|set| set.is_empty()));
        assert_eq!(workers[0].running_jobs, 2);
        alone.leave().await;
        let row = has_status(&registry, "scheduler@a", Status::Inactive).await;
        assert!(!row.alive());
        assert_eq!(number(test.database(), "SELECT COUNT(*) FROM ops_leases WHERE holder IS NOT NULL").await, 0);
    }

    async fn a_newcomer_gets_its_half_and_nothing_is_ever_in_two_hands(test) {
        a_registry(&test).await;
        let first = Worker::start(&test, "a", &BOTH).await;
        until("the first holds everything", || async { first.polls() == 64 }).await;
        let second = Worker::start(&test, "b", &BOTH).await;
        until("each has half", || async {
            let (one, other) = (first.ownership.shards(Duty::Polls), second.ownership.shards(Duty::Polls));
            // Handed over between the two looks, it is not with the first any more.
            let still = one.without(one.without(first.ownership.shards(Duty::Polls)));
            assert!(still.without(other) == still, "no shard is in two hands");
            (one.len(), other.len()) == (32, 32)
        })
        .await;
        assert_eq!((first.ownership.peers(Duty::Polls), second.ownership.peers(Duty::Polls)), (2, 2));
        // 64 takes by the first, 32 by the second, on each of two duties.
        let fences = "SELECT CAST(SUM(fence) AS UNSIGNED) FROM ops_leases WHERE name LIKE 'shard:%'";
        let fences = fences.replace("UNSIGNED", if number_is_text(&test) { "SIGNED" } else { "INTEGER" });
        until("the other duty is shared too", || async { second.ownership.shards(Duty::Reservations).len() == 32 }).await;
        assert_eq!(number(test.database(), &fences).await, 2 * (64 + 32));

        second.leave().await;
        until("the first has all again", || async {
            BOTH.iter().all(|duty| first.ownership.shards(*duty).len() == 64)
        })
        .await;
        assert_eq!(number(test.database(), &fences).await % 64, 0);
        first.leave().await;
    }

    async fn what_a_crashed_worker_held_is_taken_the_moment_its_lease_ends(test) {
        let registry = a_registry(&test).await;
        let first = Worker::start_with(&test, "a", &BOTH, mortal()).await;
        let second = Worker::start_with(&test, "b", &BOTH, mortal()).await;
        until("each has half", || async { (first.polls(), second.polls()) == (32, 32) }).await;
        second.crash().await;
        let began = Instant::now();
        until("the first has all", || async { first.polls() == 64 }).await;
        let took = began.elapsed();
        println!("taken over after {took:?} of leases of {:?}", mortal().lease);
        let row = has_status(&registry, "scheduler@b", Status::Stale).await;
        assert_eq!(row.status_reason.as_deref(), Some("no heartbeat"));
        first.leave().await;
    }

    async fn each_takes_only_what_it_can_do(test) {
        a_registry(&test).await;
        let polls = Worker::start(&test, "a", &[Duty::Polls]).await;
        let runs = Worker::start(&test, "b", &[Duty::Reservations]).await;
        let api = Worker::start(&test, "c", &[]).await;
        until("each has what it can do", || async {
            polls.polls() == 64 && runs.ownership.shards(Duty::Reservations).len() == 64
        })
        .await;
        assert_eq!((runs.polls(), api.polls()), (0, 0));
        assert!(polls.ownership.shards(Duty::Reservations).is_empty());
        for worker in [polls, runs, api] {
            worker.leave().await;
        }
    }

    async fn five_that_start_at_once_share_in_equal_parts(test) {
        a_registry(&test).await;
        let mut workers = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            workers.push(Worker::start(&test, name, &BOTH).await);
        }
        until("all is shared out", || async {
            let held = || workers.iter().map(|worker| worker.ownership.shards(Duty::Polls)).collect::<Vec<_>>();
            let (before, after) = (held(), held());
            let mut owners = [0; 64];
            // Handed over between the two looks, it is with one of them in each.
            for (one, other) in before.into_iter().zip(after) {
                for shard in one.without(one.without(other)).iter() {
                    owners[usize::from(shard.number())] += 1;
                }
            }
            assert!(owners.iter().all(|owners| *owners <= 1), "{owners:?}");
            let counts: Vec<_> = workers.iter().map(Worker::polls).collect();
            counts.iter().sum::<usize>() == 64 && counts.iter().all(|count| (12..=13).contains(count))
        })
        .await;
        for worker in workers {
            worker.leave().await;
        }
    }

    async fn a_worker_that_cannot_renew_stops_before_its_lease_ends_and_comes_back(test) {
        let registry = a_registry(&test).await;
        // A margin that is not used up by a busy machine on which this test looks late.
        let (lease, margin) = (Duration::from_secs(36), Duration::from_secs(30));
        let settings = worker_registry::Settings { lease, margin, ..settings() };
        let worker = Worker::start_with(&test, "a", &BOTH, settings).await;
        until("it holds everything", || async { worker.polls() == 64 }).await;
        let db = test.database();
        // Its table is gone as far as it can see.
        run(db, "ALTER TABLE ops_workers RENAME TO ops_workers_away").await;
        until("nothing is its own any more", || async { worker.polls() == 0 }).await;
        let left = format!("SELECT MAX(lease_until) - {} FROM ops_leases", db.backend().now_ms());
        let left = number(db, &left).await;
        assert!(left > 0, "it stopped {left} ms before the end");
        run(db, "ALTER TABLE ops_workers_away RENAME TO ops_workers").await;
        until("it holds everything again", || async { worker.polls() == 64 }).await;
        assert_eq!(registry.list().await.unwrap()[0].status, Status::Active);
        worker.leave().await;
    }

    async fn a_round_is_four_statements_however_many_shards_are_held(test) {
        a_registry(&test).await;
        let worker = Worker::start(&test, "a", &BOTH).await;
        let beats = || worker.beats.load(Ordering::SeqCst);
        until("it holds everything", || async { worker.polls() == 64 }).await;
        let settled = beats() + 1;
        until("a new round has begun", || async { beats() > settled }).await;
        // Both as they are at one moment.
        let counted = || loop {
            let (rounds, statements) = (beats(), worker.db.traffic().statements);
            if rounds == beats() {
                return (rounds, statements);
            }
        };
        let (first, before) = counted();
        until("four rounds have passed", || async { beats() >= first + 4 }).await;
        let (last, after) = counted();
        let rounds = u64::try_from(last - first).unwrap();
        // Heartbeat, renewal of 129 leases, workers, leases; a round may be under way at either end.
        let expected = 4 * (rounds - 1)..=4 * (rounds + 1);
        assert!(expected.contains(&(after - before)), "{} in {rounds} rounds", after - before);
        worker.leave().await;
    }

    async fn a_main_loop_that_is_stuck_shows_although_heartbeats_go_on(test) {
        let registry = a_registry(&test).await;
        let worker = Worker::start(&test, "a", &BOTH).await;
        let stuck = worker.progress.pulse("stuck");
        until("its age shows", || async {
            let row = registry.find("scheduler@a").await.unwrap();
            row.is_some_and(|row| row.progress_age > Duration::from_secs(3) && row.alive())
        })
        .await;
        until("it has moved", || async {
            stuck.beat();
            let row = registry.find("scheduler@a").await.unwrap().unwrap();
            row.progress_age < Duration::from_secs(3)
        })
        .await;
        worker.leave().await;
    }

    async fn a_worker_that_drains_holds_nothing_and_lives_on(test) {
        let registry = a_registry(&test).await;
        let first = Worker::start(&test, "a", &BOTH).await;
        let second = Worker::start(&test, "b", &BOTH).await;
        until("each has half", || async { (first.polls(), second.polls()) == (32, 32) }).await;
        second.drain.cancel();
        until("the first has all", || async { first.polls() == 64 }).await;
        assert!(has_status(&registry, "scheduler@b", Status::Draining).await.alive());
        assert_eq!(second.polls(), 0);
        second.leave().await;
        first.leave().await;
    }
}

fn number_is_text(test: &store_support::test_support::TestDatabase) -> bool {
    test.database().backend() == store_support::Backend::MySql
}

#[test]
fn every_host_has_one_of_the_64_shards() {
    assert_eq!(Shard::all().count(), 64);
}

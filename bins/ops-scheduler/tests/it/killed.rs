//! Schedulers that are killed or stopped in the middle of a crowd of reservations.
#![expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]

use std::time::Duration;

use chrono::TimeDelta;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use store_support::test_support::on_mysql;

use crate::SCHEDULER;
use crate::crowd::{Crowd, lab_of, print_lateness, print_takeover, secs, sleepers, taken_over, tries};
use crate::harness::{in_secs, migrate, now, until, until_true};

async fn pass_by(time: Duration) {
    // The moment is part of the experiment: whatever is under way then is what is cut off.
    tokio::time::sleep(time).await;
}

/// Sixty reservations on two schedulers; four times one of them, drawn by lot, is killed at a moment drawn by lot,
/// and another comes a while later.
async fn killed_at_moments_of(seed: u64) {
    on_mysql(move |test| async move {
        let db = test.database();
        migrate(db).await;
        let mut rng = StdRng::seed_from_u64(seed);
        let specs = sleepers(60, |n, spec| {
            spec.boot.port_open = Duration::from_secs(1)..Duration::from_secs(5);
            spec.station.durations.prepare = Duration::from_millis(500 + 40 * u64::from(n));
            spec.station.durations.release = Duration::from_millis(500 + 40 * u64::from(n));
        });
        let lab = lab_of(specs, 10).await.on(&test);
        let crowd = Crowd {
            lab: &lab,
            db,
            hosts: 1..=60,
        };
        let begin = now();
        let at = |secs: i64| begin + TimeDelta::seconds(secs);
        crowd
            .book(|n| (at(14 + i64::from(n % 30)), at(75 + i64::from(n % 20))))
            .await;
        let mut copies = vec![lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
        // Twice while they are started, twice while they are released; in between everything can be made up for.
        let spans = [5_000..40_000, 5_000..40_000, 75_000..98_000, 75_000..98_000];
        let mut moments: Vec<u64> = spans.into_iter().map(|span| rng.random_range(span)).collect();
        moments.sort_unstable();
        let mut losses = Vec::new();
        for moment in moments {
            let wait = (begin + TimeDelta::milliseconds(moment.cast_signed()) - now()).to_std();
            pass_by(wait.unwrap_or_default()).await;
            let victim = copies.swap_remove(rng.random_range(0..copies.len()));
            losses.push((moment, now()));
            victim.kill().await;
            pass_by(Duration::from_millis(rng.random_range(0..6_000))).await;
            copies.push(lab.run(SCHEDULER, &[]));
        }
        crowd.all_done("start").await;
        crowd.all_done("end").await;
        println!(
            "seed {seed}: all done {:.1} s after the first was booked",
            secs(now() - begin)
        );
        for copy in copies {
            assert_eq!(copy.terminate().await.0.code(), Some(0));
        }
        let taken = taken_over(db).await;
        let instants: Vec<_> = losses.iter().map(|(_, lost)| *lost).collect();
        for (moment, lost) in losses {
            print_takeover(
                &format!("seed {seed}, killed after {moment} ms"),
                &taken,
                lost,
                &instants,
            );
        }
        print_lateness(db).await;
        crowd.judge().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes: ./test.sh --all"]
async fn four_kills_at_moments_of_the_first_seed_lose_nothing_and_double_nothing() {
    killed_at_moments_of(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes: ./test.sh --all"]
async fn four_kills_at_moments_of_the_second_seed_lose_nothing_and_double_nothing() {
    killed_at_moments_of(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes two minutes: ./test.sh --all"]
async fn four_kills_at_moments_of_the_third_seed_lose_nothing_and_double_nothing() {
    killed_at_moments_of(3).await;
}

/// Three leases.
const PAUSE: TimeDelta = TimeDelta::seconds(45);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and a half: ./test.sh --all"]
async fn a_scheduler_stopped_for_three_leases_does_nothing_under_its_old_claims_when_it_goes_on() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let specs = sleepers(40, |n, spec| {
            let boots = Duration::from_millis(500 + 250 * u64::from(n));
            spec.boot.port_open = boots..boots + Duration::from_secs(1);
            spec.station.durations.prepare = Duration::from_secs(2);
        });
        let lab = lab_of(specs, 10).await.on(&test);
        let crowd = Crowd {
            lab: &lab,
            db,
            hosts: 1..=40,
        };
        let (mut stopped, other) = (lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[]));
        stopped.says("took shards").await;
        crowd
            .book(|n| (in_secs(16 + i64::from(n % 4)), in_secs(900)))
            .await;
        until_true("some hosts boot, some are prepared", || {
            crowd.called() == 40 && crowd.given("prepare-session") >= 8
        })
        .await;
        stopped.signal("STOP");
        let lost = now();
        crowd.all_done("start").await;
        println!(
            "all 40 started {:.1} s after one of two was stopped",
            secs(now() - lost)
        );
        pass_by((lost + PAUSE - now()).to_std().unwrap_or_default()).await;
        let taken = taken_over(db).await;
        print_takeover("stopped", &taken, lost, &[]);
        assert!(!taken.is_empty(), "it was in the middle of something");

        let (before, journal) = (stopped.said().len(), tries(db).await.len());
        let resumed = now();
        stopped.signal("CONT");
        until("it has found a new place", || {
            let said = stopped.said().split_off(before);
            std::future::ready(said.contains("took shards").then_some(()))
        })
        .await;
        let touched = crowd.touched(resumed, now());
        assert!(
            touched.is_empty(),
            "nothing was to be done, and this was: {touched:#?}"
        );
        assert_eq!(
            tries(db).await.len(),
            journal,
            "nor is anything new in the journal"
        );
        crowd.end_now().await;
        crowd.all_done("end").await;
        for scheduler in [stopped, other] {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
        crowd.judge().await;
    })
    .await;
}

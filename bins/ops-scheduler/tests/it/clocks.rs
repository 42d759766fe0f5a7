//! Schedulers whose clock is not the database's: leases do not care, due instants follow the worker's clock, and the
//! worker says so.

use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use store_support::test_support::on_mysql;

use crate::SCHEDULER;
use crate::crowd::{Crowd, id, lab_of, sleepers, tries};
use crate::harness::{Lab, Process, commands, in_secs, migrate, now, packets, reservations, until_true};
use crate::running::has_status;

const FIVE_MINUTES: i64 = 300;
/// More than a lease.
const LONG_PREPARE: Duration = Duration::from_secs(18);

/// A scheduler whose wall clock is off, or follows a file, while its monotonic clock goes as it should.
fn with_a_clock(lab: &Lab, clock: &[(&str, &str)]) -> Process {
    let library = format!(
        "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
        std::env::consts::ARCH
    );
    assert!(
        std::path::Path::new(&library).exists(),
        "scripts/setup.sh installs faketime"
    );
    let mut variables = vec![("LD_PRELOAD", library.as_str()), ("DONT_FAKE_MONOTONIC", "1")];
    variables.extend(clock);
    lab.run_with(SCHEDULER, &variables)
}

fn at(begin: DateTime<Utc>, secs: i64) -> DateTime<Utc> {
    begin + TimeDelta::seconds(secs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_ten_minutes_apart_hold_their_claims_through_steps_longer_than_a_lease() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        // So many that none of the two is left without one.
        let specs = sleepers(14, |_, spec| spec.station.durations.prepare = LONG_PREPARE);
        let lab = lab_of(specs, 5).await.on(&test);
        let crowd = Crowd {
            lab: &lab,
            db,
            hosts: 1..=14,
        };
        let mut schedulers = ["+300s", "-300s"].map(|off| with_a_clock(&lab, &[("FAKETIME", off)]));
        for scheduler in &mut schedulers {
            scheduler.says("took shards").await;
            scheduler
                .says("this worker's clock and the database's are apart")
                .await;
        }
        // These have begun and are not over by either clock.
        crowd
            .book(|_| (in_secs(-FIVE_MINUTES - 60), in_secs(FIVE_MINUTES + 600)))
            .await;
        crowd.all_done("start").await;
        let starts = tries(db).await;
        assert!(
            starts.iter().all(|one| one.outcome.is_some()),
            "nobody took over: {starts:#?}"
        );
        for n in crowd.hosts.clone() {
            reservations::shift(
                db,
                &id(n),
                in_secs(-3 * FIVE_MINUTES),
                in_secs(-FIVE_MINUTES - 30),
            )
            .await;
        }
        crowd.all_done("end").await;
        for scheduler in schedulers {
            let (ended, said) = scheduler.terminate().await;
            assert_eq!(ended.code(), Some(0), "{said}");
            assert!(
                !said.contains("claim was lost") && !said.contains("could not be renewed"),
                "{said}"
            );
            assert!(said.contains("state=\"done\""), "it did its part: {said}");
        }
        for n in crowd.hosts {
            let host = lab.sim(n);
            let steps = (
                commands(host, "prepare-session").len(),
                commands(host, "release-session").len(),
            );
            assert_eq!(steps, (1, 1), "host {n}: {:?}", host.effects());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_begins_and_ends_by_the_clock_of_the_worker() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        for (n, off, word) in [(1, FIVE_MINUTES, "+300s"), (2, -FIVE_MINUTES, "-300s")] {
            let lab = lab_of(sleepers(2, |_, _| {}), 4).await.on(&test);
            let mut scheduler = with_a_clock(&lab, &[("FAKETIME", word)]);
            scheduler.says("took shards").await;
            let begin = now();
            let start = at(begin, off + 7);
            reservations::book(db, &id(n), &n.to_string(), start, at(start, 900)).await;
            has_status(db, &id(n), "ACTIVE").await;
            let soon = in_secs(4);
            reservations::shift(db, &id(n), start, at(soon, off)).await;
            has_status(db, &id(n), "COMPLETED").await;
            let host = lab.sim(n);
            // Stored instants are whole seconds.
            let (woken, due) = (packets(host)[0].at, at(begin, 7 - 4 - 1));
            assert!(
                woken >= due,
                "{word}: woken at {woken}, due at {due} by its clock"
            );
            let released = commands(host, "release-session")[0].0;
            assert!(
                released >= at(soon, -1),
                "{word}: released at {released}, due at {soon} by its clock"
            );
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    })
    .await;
}

/// The file in which the clock of a scheduler stands, as an offset.
struct Offset(PathBuf);

impl Offset {
    /// Sets the clock, at once as a whole.
    fn set(&self, offset: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, format!("{offset}\n")).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_forward_and_back_loses_no_claim_and_what_became_due_is_started_at_once() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let specs = sleepers(2, |n, spec| {
            if n == 1 {
                spec.station.durations.prepare = LONG_PREPARE;
            }
        });
        let lab = lab_of(specs, 5).await.on(&test);
        let offset = Offset(lab.folder.path().join("clock"));
        offset.set("+0");
        let file = lab.folder.path().join("clock").display().to_string();
        let mut scheduler = with_a_clock(
            &lab,
            &[("FAKETIME_TIMESTAMP_FILE", &file), ("FAKETIME_NO_CACHE", "1")],
        );
        scheduler.says("took shards").await;
        reservations::book(db, &id(1), "1", in_secs(0), in_secs(3_000)).await;
        reservations::book(db, &id(2), "2", in_secs(FIVE_MINUTES), in_secs(3_000)).await;
        let preparing = |n| !commands(lab.sim(n), "prepare-session").is_empty();
        until_true("the first host is being prepared", || preparing(1)).await;
        assert!(packets(lab.sim(2)).is_empty(), "the second one is not due");
        offset.set("+300s");
        until_true("the second one is due and prepared", || preparing(2)).await;
        has_status(db, &id(2), "ACTIVE").await;
        // The first one is still at it, unless this machine took longer for the second than the first prepares.
        offset.set("-300s");
        has_status(db, &id(1), "ACTIVE").await;
        let tries = tries(db).await;
        assert!(
            tries.iter().all(|one| one.outcome.is_some()),
            "nobody took over: {tries:#?}"
        );
        let (ended, said) = scheduler.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        assert!(
            !said.contains("claim was lost") && !said.contains("could not be renewed"),
            "{said}"
        );
        for n in [1, 2] {
            assert_eq!(commands(lab.sim(n), "prepare-session").len(), 1);
        }
    })
    .await;
}

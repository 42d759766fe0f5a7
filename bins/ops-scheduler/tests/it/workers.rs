//! Several schedulers on one database: who does what, and what becomes of it when one is killed, paused, replaced or
//! taken out of service.
#![expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ConnectionTrait as _;
use store_support::test_support::on_mysql;
use store_support::{Database, each_backend};

use crate::SCHEDULER;
use crate::harness::{
    Lab, Process, awake, commands, count, execute, in_secs, migrate, now, reservations, until, until_within,
};
use crate::running::has_status;

/// How many shards of polls each living holder has, fewest first.
async fn shares(db: &Database) -> Vec<i64> {
    let sql = format!(
        "SELECT COUNT(*) FROM ops_leases WHERE name LIKE 'shard:poll:%' AND holder IS NOT NULL AND lease_until > {} \
         GROUP BY holder ORDER BY 1",
        db.backend().now_ms()
    );
    let rows = db
        .connection()
        .query_all_raw(db.statement(&sql, []))
        .await
        .unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

async fn shared_out(db: &Database, wanted: &[i64]) {
    until(&format!("the shards are shared out as {wanted:?}"), || async {
        (shares(db).await == wanted).then_some(())
    })
    .await;
}

/// Polling, with a line in the log for each poll.
fn polling(lab: Lab, interval_secs: u32) -> Lab {
    lab.without("OPS_WORKER_NAME")
        .with("OPS_POLL_ENABLED", "true")
        .with("OPS_POLL_INTERVAL", interval_secs.to_string())
        .with("OPS_LOG_LEVEL", "ops_scheduler=debug,info")
}

fn hosts_polled_after(process: &Process, after: DateTime<Utc>) -> BTreeSet<String> {
    let polls = process.polls().into_iter();
    polls
        .filter(|(at, _)| *at > after)
        .map(|(_, host)| host)
        .collect()
}

/// The longest time between two polls of one of these hosts.
fn longest_pause(process: &Process, hosts: &BTreeSet<String>, after: DateTime<Utc>) -> TimeDelta {
    let polls: Vec<_> = process
        .polls()
        .into_iter()
        .filter(|(at, _)| *at > after)
        .collect();
    let pause = |host: &String| {
        let times: Vec<_> = polls
            .iter()
            .filter(|(_, polled)| polled == host)
            .map(|(at, _)| *at)
            .collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).max()
    };
    hosts.iter().filter_map(pause).max().unwrap_or_default()
}

async fn pass_by(time: Duration) {
    // What is shown is what happens, and what does not happen, while time passes.
    tokio::time::sleep(time).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_starts_under_one_name_are_one_scheduler_and_an_error_that_says_who_has_it() {
    on_mysql(|test| async move {
        migrate(test.database()).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let mut first = lab.run(SCHEDULER, &[]);
        first.says("registered").await;
        let (ended, said) = lab.run(SCHEDULER, &[]).ended().await;
        assert_eq!(ended.code(), Some(5), "{said}");
        assert!(
            said.contains("the worker name is in use: \"scheduler@the-test\" runs on"),
            "{said}"
        );
        assert_eq!(first.terminate().await.0.code(), Some(0));
        // Its name is free at once.
        let mut next = lab.run(SCHEDULER, &[]);
        next.says("registered").await;
        assert_eq!(next.terminate().await.0.code(), Some(0));
    })
    .await;
}

each_backend! {
    async fn the_hosts_of_a_killed_scheduler_are_polled_by_the_other_within_20_s(test) {
        const HOSTS: u8 = 18;
        let db = test.database();
        migrate(db).await;
        // So many that none of the two is left without one.
        let hosts = (1..=HOSTS).map(awake).collect();
        let lab = polling(Lab::start(hosts).await.on(&test), 1);
        let (survivor, victim) = (lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[]));
        shared_out(db, &[32, 32]).await;
        // Each host is polled by one of them, once what was under way at the change is over.
        let (of_survivor, of_victim) = until("each host has one scheduler", || {
            let since = in_secs(-8);
            let sets = (hosts_polled_after(&survivor, since), hosts_polled_after(&victim, since));
            // Until the second has polled anything, all are the first one's.
            let both = !sets.0.is_empty() && !sets.1.is_empty();
            let apart = sets.0.is_disjoint(&sets.1) && sets.0.len() + sets.1.len() == usize::from(HOSTS);
            std::future::ready((both && apart).then_some(sets))
        })
        .await;
        let killed = now();
        victim.kill().await;
        let now_ms = db.backend().now_ms();
        let left = format!("SELECT MAX(lease_until) - {now_ms} FROM ops_leases WHERE name LIKE 'shard:poll:%'");
        assert!(count(db, &left).await <= 15_000, "nothing is held for longer than a lease");
        until("the survivor polls them all", || {
            let polled = hosts_polled_after(&survivor, killed);
            std::future::ready(of_victim.is_subset(&polled).then_some(()))
        })
        .await;
        let mut first = BTreeMap::new();
        for (at, host) in survivor.polls().into_iter().filter(|(at, _)| *at > killed) {
            first.entry(host).or_insert(at);
        }
        let took = of_victim.iter().map(|host| first[host] - killed).max().unwrap();
        println!("{} hosts of the killed scheduler were polled again after {took}", of_victim.len());
        // What keeps its own polls waiting keeps these waiting too, at each of the few turns it takes; and a machine on
        // which the database is slow has that long again. Twice a lease would be out of it.
        let late = longest_pause(&survivor, &of_survivor, killed) - TimeDelta::seconds(1);
        let bound = TimeDelta::seconds(20 + 15) + late.max(TimeDelta::zero()) * 4;
        assert!(took <= bound, "{took}, where polls were {late} late");
        assert_eq!(survivor.terminate().await.0.code(), Some(0));
    }
}

/// Waits until each of so many hosts was polled three times and by one of the schedulers only. Gives since when, the polls
/// of each host since then, and how many hosts each scheduler has.
async fn in_thirds(
    schedulers: &[Process],
    hosts: usize,
) -> (DateTime<Utc>, BTreeMap<String, Vec<DateTime<Utc>>>, Vec<usize>) {
    let mut since = now();
    until_within(Duration::from_secs(120), "each host has one scheduler", || {
        let mut polls: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
        let mut sizes = Vec::new();
        for scheduler in schedulers {
            sizes.push(hosts_polled_after(scheduler, since).len());
            for (at, host) in scheduler.polls().into_iter().filter(|(at, _)| *at > since) {
                polls.entry(host).or_default().push(at);
            }
        }
        let each_by_one = sizes.iter().sum::<usize>() == polls.len();
        let often = polls.len() == hosts && polls.values().all(|times| times.len() >= 3);
        let began = since;
        if !each_by_one {
            // What was under way when a shard changed hands.
            since = now();
        }
        std::future::ready((each_by_one && often).then_some((began, polls, sizes)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_schedulers_poll_a_third_of_sixty_hosts_each_and_none_twice_in_an_interval() {
    const INTERVAL: u32 = 4;
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let lab = polling(
            Lab::start((1..=60).map(awake).collect()).await.on(&test),
            INTERVAL,
        );
        let lab = lab.with("OPS_RESERVATION_AUTOMATION", "no");
        let schedulers = [0, 1, 2].map(|_| lab.run(SCHEDULER, &[]));
        shared_out(db, &[21, 21, 22]).await;
        let (steady, polls, sizes) = in_thirds(&schedulers, 60).await;
        let all: usize = polls.values().map(Vec::len).sum();
        println!("60 hosts, polled {all} times in a while, by schedulers with {sizes:?} hosts");
        // The shards are equal, their hosts are not: some shards have none of the sixty and some have four.
        assert!(sizes.iter().all(|size| (6..=36).contains(size)), "{sizes:?}");
        // One that was late and one at each end may fall into it; twice in an interval would be more by far.
        for (host, times) in polls {
            let last = *times.last().unwrap();
            let intervals = usize::try_from((last - steady).num_seconds()).unwrap() / INTERVAL as usize;
            assert!(times.len() <= intervals + 2, "{host}: {times:?} since {steady}");
        }
        let [first, second, third] = schedulers;
        assert_eq!(first.terminate().await.0.code(), Some(0));
        shared_out(db, &[32, 32]).await;
        for scheduler in [second, third] {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_paused_for_three_leases_writes_nothing_of_what_it_was_at_and_finds_a_new_place() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let mut specs: Vec<_> = (1..=6).map(awake).collect();
        specs[0].station.student_follows_prepare = true;
        // Still at it when the scheduler is paused, and done when another comes.
        specs[0].station.durations.prepare = Duration::from_secs(10);
        let lab = polling(Lab::start(specs).await.on(&test), 1);
        let mut paused = lab.run(SCHEDULER, &[]);
        paused.says("took shards").await;
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(900)).await;
        let host = lab.sim(1);
        let preparing = || std::future::ready((commands(host, "prepare-session").len() == 1).then_some(()));
        until("the host is being prepared", preparing).await;
        paused.signal("STOP");
        let silent = tokio::time::Instant::now();
        let other = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        shared_out(db, &[64]).await;
        tokio::time::sleep_until(silent + Duration::from_secs(45)).await;
        let fences = "SELECT CAST(SUM(fence) AS SIGNED) FROM ops_leases WHERE name LIKE 'shard:poll:%'";
        assert_eq!(
            count(db, fences).await,
            128,
            "the fence rose with each change of hands"
        );

        let before = paused.said().len();
        let woken = now();
        paused.signal("CONT");
        shared_out(db, &[32, 32]).await;
        until("it polls its new share", || {
            std::future::ready((!hosts_polled_after(&paused, woken).is_empty()).then_some(()))
        })
        .await;
        let said = paused.said().split_off(before);
        let (poll, took) = (said.find(" poll host.name="), said.find("took shards"));
        assert!(
            poll > took,
            "nothing is polled before shards are its own again: {said}"
        );
        assert_eq!(
            commands(host, "prepare-session").len(),
            1,
            "the student is left alone"
        );
        let under_the_old =
            "SELECT COUNT(*) FROM ops_attempts WHERE token = 1 AND outcome IS NOT NULL AND step = 'prepare'";
        assert_eq!(count(db, under_the_old).await, 0);
        for scheduler in [paused, other] {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_replaced_while_it_was_paused_ends_with_code_6() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let mut paused = lab.run(SCHEDULER, &[]);
        paused.says("registered").await;
        paused.signal("STOP");
        let mut next = lab.run(SCHEDULER, &[]);
        next.says("waiting for a heartbeat or for the end of a lease")
            .await;
        next.says("registered").await;
        paused.signal("CONT");
        let (ended, said) = paused.ended().await;
        assert_eq!(ended.code(), Some(6), "{said}");
        assert!(
            said.contains("replaced while silent: \"scheduler@the-test\" runs on"),
            "{said}"
        );
        assert_eq!(next.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cordoned_scheduler_takes_nothing_also_after_a_restart() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![awake(1)]).await.on(&test), 1);
        let named = |name: &'static str| lab.run_with(SCHEDULER, &[("OPS_WORKER_NAME", name)]);
        let (kept, cordoned) = (named("kept"), named("cordoned"));
        shared_out(db, &[32, 32]).await;
        let wish = "UPDATE ops_workers SET status = 'cordoned', status_reason = 'new switch' WHERE name = ?";
        assert_eq!(execute(db, wish, ["scheduler@cordoned".into()]).await, 1);
        shared_out(db, &[64]).await;
        assert_eq!(cordoned.terminate().await.0.code(), Some(0));
        let mut cordoned = named("cordoned");
        cordoned.says("registered").await;
        pass_by(Duration::from_secs(8)).await;
        assert_eq!(shares(db).await, [64]);
        assert_eq!(cordoned.polls(), []);
        for scheduler in [kept, cordoned] {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_whose_clocks_are_ten_minutes_apart_share_as_if_they_were_not() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        // So many that none of the two is left without one.
        let hosts = (1..=18).map(awake).collect();
        let lab = polling(Lab::start(hosts).await.on(&test), 1).with("OPS_RESERVATION_AUTOMATION", "no");
        let library = format!(
            "/usr/lib/{}-linux-gnu/faketime/libfaketimeMT.so.1",
            std::env::consts::ARCH
        );
        assert!(
            std::path::Path::new(&library).exists(),
            "scripts/setup.sh installs faketime"
        );
        let shifted = |by| {
            let variables = [
                ("LD_PRELOAD", library.as_str()),
                ("FAKETIME", by),
                ("DONT_FAKE_MONOTONIC", "1"),
            ];
            lab.run_with(SCHEDULER, &variables)
        };
        let (early, late) = (shifted("-300s"), shifted("+300s"));
        shared_out(db, &[32, 32]).await;
        pass_by(Duration::from_secs(16)).await;
        assert_eq!(
            shares(db).await,
            [32, 32],
            "more than a lease later nothing has changed"
        );
        let ahead = late.polls().last().unwrap().0 - early.polls().last().unwrap().0;
        assert!(ahead > TimeDelta::seconds(590), "their clocks are apart: {ahead}");
        let moves = "SELECT CAST(SUM(fence) AS SIGNED) FROM ops_leases WHERE name LIKE 'shard:poll:%'";
        assert!(
            count(db, moves).await <= 64 + 32,
            "no shard moved but to the second"
        );
        for scheduler in [early, late] {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    })
    .await;
}

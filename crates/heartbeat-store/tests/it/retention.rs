//! Forgetting what is old while others write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use heartbeat_store::{HeartbeatStore, HostRecord, Retained, RetentionSettings};
use lab_model::HostName;
use store_support::{Database, each_backend};

use crate::rows::{
    CHANGES, EVENTS, HOURS, REPORTS, STATES, change, event, hosts, hour, insert, report, state,
};
use crate::{a_report, a_store, at, rows as read};

const HOSTS: i64 = 12;

fn settings() -> RetentionSettings {
    RetentionSettings {
        full_days: 1,
        hourly_days: 2,
        event_days: 1,
        change_days: 1,
        hour_days: 1,
        batch: 40,
        pause: Duration::ZERO,
        ..RetentionSettings::default()
    }
}

fn now() -> DateTime<Utc> {
    at("2026-03-04T09:30:00Z")
}

/// Three days of reports, one each five minutes of each host but the last, which went silent after an hour.
async fn three_days(db: &Database) -> Vec<(i64, DateTime<Utc>)> {
    hosts(db, HOSTS, now()).await;
    let begin = now() - TimeDelta::days(3);
    let all = (0..3 * 288).flat_map(|n| {
        let at = begin + TimeDelta::minutes(5 * n);
        (1..=HOSTS)
            .filter(move |host| *host < HOSTS || n < 12)
            .map(move |host| (host, at))
    });
    let all: Vec<_> = all.collect();
    let rows: Vec<_> = all.iter().map(|(host, at)| report(*host, *at, "{}")).collect();
    insert(db, REPORTS, &rows).await;
    let sql = "SELECT MIN(id) FROM lab_host_heartbeat";
    assert_eq!(
        crate::count(db, sql).await,
        1,
        "the tests below count from the first row"
    );
    let last_of_silent = HOSTS * 12;
    let silent = state(&format!("h-{}", HOSTS - 1), begin, Some(last_of_silent));
    insert(db, STATES, &[silent]).await;
    all
}

/// What has to be left of these reports, by their ids.
fn left_of(all: &[(i64, DateTime<Utc>)]) -> BTreeSet<i64> {
    let (full, hourly) = (now() - TimeDelta::days(1), now() - TimeDelta::days(2));
    let full = full.with_minute(0).unwrap();
    let mut newest = BTreeMap::new();
    let mut left = BTreeSet::from([HOSTS * 12]);
    for (id, (host, at)) in (1..).zip(all) {
        if *at >= full {
            left.insert(id);
        } else if *at >= hourly {
            newest.insert((*host, at.date_naive(), at.hour()), id);
        }
    }
    // Whatever goes first, removal or thinning, the newest of the hour that is cut in two is in both.
    left.extend(newest.into_values());
    left
}

async fn ids(db: &Database, up_to: usize) -> BTreeSet<i64> {
    let sql = format!("SELECT id FROM lab_host_heartbeat WHERE id <= {up_to}");
    read(db, &sql)
        .await
        .iter()
        .map(|row| row.try_get_by_index(0).unwrap())
        .collect()
}

async fn to_the_end(store: &HeartbeatStore, settings: &RetentionSettings) -> Retained {
    let mut all = Retained::default();
    for _ in 0..2_000 {
        let pass = store.retain(settings, now()).await.unwrap();
        all.thinned += pass.thinned;
        all.heartbeats += pass.heartbeats;
        all.largest = all.largest.max(pass.largest);
        if !pass.more {
            return all;
        }
    }
    panic!("retention comes to no end: {all:?}");
}

each_backend! {
    async fn reports_are_kept_in_full_then_by_the_hour_then_only_the_one_that_is_pointed_at(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let all = three_days(db).await;
        let done = to_the_end(&store, &settings()).await;
        let left = ids(db, all.len()).await;
        assert_eq!(left, left_of(&all));
        assert_eq!(done.thinned + done.heartbeats, (all.len() - left.len()) as u64);
        assert!(done.largest <= 40, "{done:?}");
        assert_eq!(to_the_end(&store, &settings()).await.total(), 0, "a second pass finds nothing");
        let day_later = now() + TimeDelta::days(1);
        while store.retain(&settings(), day_later).await.unwrap().more {}
        let per_hour = crate::count(db, "SELECT COUNT(*) FROM lab_host_heartbeat WHERE host_id = 1").await;
        // A report of each of 24 hours, and the hour that was begun whole.
        assert_eq!(per_hour, 24 + 6);
    }

    async fn an_interrupted_pass_is_gone_on_with(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let all = three_days(db).await;
        let wide = settings();
        // Ended after one batch, after two, and so on, as by a process that stops; each begins as a new one does.
        let mut interrupted = 0;
        for batches in 1..25 {
            let left = AtomicUsize::new(batches);
            let go_on = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            let pass = store.retain_while(&wide, now(), &go_on).await.unwrap();
            interrupted += usize::from(pass.more);
        }
        assert!(interrupted >= 10, "{interrupted}");
        to_the_end(&HeartbeatStore::new(test.reopen().await), &wide).await;
        assert_eq!(ids(db, all.len()).await, left_of(&all));
    }

    async fn two_at_once_leave_the_same(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let all = three_days(db).await;
        let other = HeartbeatStore::new(test.reopen().await);
        let settings = settings();
        let (one, two) = tokio::join!(to_the_end(&store, &settings), to_the_end(&other, &settings));
        let left = ids(db, all.len()).await;
        assert_eq!(left, left_of(&all));
        let gone = one.thinned + one.heartbeats + two.thinned + two.heartbeats;
        assert_eq!(gone, (all.len() - left.len()) as u64, "each row is taken away once");
    }

    async fn writers_go_on_while_rows_are_taken_away(test) {
        let (store, db) = (a_store(&test).await, test.database());
        let all = three_days(db).await;
        let stop = Arc::new(AtomicBool::new(false));
        let written = Arc::new(AtomicUsize::new(0));
        let writers = (0..4).map(|writer| {
            let (store, stop, written) = (store.clone(), Arc::clone(&stop), Arc::clone(&written));
            tokio::spawn(async move {
                let (heartbeat, raw) = a_report("2026-03-04T09:30:00Z");
                let host = HostRecord {
                    name: HostName::parse(&format!("h-{writer}")).unwrap(),
                    address: "10.0.0.1".to_owned(),
                    mac: None,
                };
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match store.record(&host, &heartbeat, &raw, now()).await {
                        Ok(_) => { written.fetch_add(1, Ordering::Relaxed); }
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                failed
            })
        });
        let writers: Vec<_> = writers.collect();
        let begun = written.load(Ordering::Relaxed);
        let done = to_the_end(&store, &settings()).await;
        let meanwhile = written.load(Ordering::Relaxed) - begun;
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            assert_eq!(writer.await.unwrap(), Vec::<String>::new(), "no write fails");
        }
        assert!(meanwhile > 0, "writers did not stand still");
        assert!(done.largest <= 40, "{done:?}");
        assert_eq!(ids(db, all.len()).await, left_of(&all));
        let new = crate::count(db, &format!("SELECT COUNT(*) FROM lab_host_heartbeat WHERE id > {}", all.len())).await;
        assert_eq!(new as usize, written.load(Ordering::Relaxed));
    }

    async fn events_changes_and_hours_end_too_but_a_history_keeps_its_beginning(test) {
        let (store, db) = (a_store(&test).await, test.database());
        hosts(db, 2, now()).await;
        let hours = |n: i64| now() - TimeDelta::hours(n);
        let events: Vec<_> = (0..100).rev().map(|n| event(1 + n % 2, hours(n), "{}")).collect();
        insert(db, EVENTS, &events).await;
        let changes: Vec<_> = (0..100)
            .rev()
            .map(|n| change(&format!("h-{}", n % 2), "ready", hours(n), Some(["true", "false"][n as usize / 2 % 2])))
            .chain([change("h-0", "power", hours(2_000), Some("shutdown"))])
            .collect();
        insert(db, CHANGES, &changes).await;
        let whole = now().with_minute(0).unwrap();
        let counted: Vec<_> = (0..100)
            .flat_map(|n| [("h-0", n), ("h-1", n)])
            .map(|(host, n)| hour(host, whole - TimeDelta::hours(n), 60, 0, 0))
            .collect();
        insert(db, HOURS, &counted).await;
        insert(db, STATES, &[state("h-0", now(), None)]).await;
        let tight = RetentionSettings { batch: 1, batches: 10_000, ..settings() };
        let done = store.retain(&tight, now()).await.unwrap();
        assert_eq!((done.events, done.largest), (75, 1), "{done:?}");
        // Of each host the newest that is older than a day stays, and the only power order.
        assert_eq!(done.changes, 75 - 2);
        assert_eq!(crate::count(db, "SELECT COUNT(*) FROM ops_host_changes WHERE field = 'power'").await, 1);
        assert_eq!(done.hours, 2 * 76);
        assert_eq!(crate::count(db, "SELECT COUNT(*) FROM ops_host_hours").await, 2 * 24);
        let ask = heartbeat_store::HistoryAsk {
            field: heartbeat_store::Field::Ready,
            from: hours(24),
            to: hours(23),
            step: Duration::from_secs(3600),
        };
        let known = store.history(&HostName::parse("h-0").unwrap(), &ask).await.unwrap();
        assert_eq!(known[0].known.as_secs(), 3600, "{known:?}");
    }
    async fn what_a_clock_far_ahead_has_stamped_stops_nothing(test) {
        let (store, db) = (a_store(&test).await, test.database());
        hosts(db, 2, now()).await;
        let ahead = || (0..100).map(|n| now() + TimeDelta::days(3_650) + TimeDelta::minutes(n));
        let old = || (0..60).map(|n| now() - TimeDelta::days(4) + TimeDelta::minutes(n));
        // All in one hour.
        let thinned = (0..50).map(|n| at("2026-03-02T23:00:00Z") + TimeDelta::minutes(n));
        let young = || [now()].into_iter();
        let stamps = ahead().chain(old()).chain(ahead()).chain(thinned).chain(young());
        let reports: Vec<_> = stamps.map(|at| report(1, at, "{}")).collect();
        insert(db, REPORTS, &reports).await;
        let stamps = || ahead().chain(old()).chain(young());
        let events: Vec<_> = stamps().map(|at| event(1, at, "{}")).collect();
        insert(db, EVENTS, &events).await;
        let changes: Vec<_> = stamps().map(|at| change("h-0", "ready", at, Some("true"))).collect();
        insert(db, CHANGES, &changes).await;
        let done = store.retain(&settings(), now()).await.unwrap();
        let found = (done.heartbeats, done.thinned, done.events, done.changes);
        assert_eq!(found, (60, 49, 60, 59), "{done:?}");
        assert_eq!(store.retain(&settings(), now()).await.unwrap().total(), 0);
    }
}

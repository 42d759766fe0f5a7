//! Clocks that are put back, or jump ahead.

use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use heartbeat_store::{HeartbeatStore, Held, Keep, Kept, RetentionSettings};
use lab_model::{Clock as _, ManualClock, SystemClock};
use store_support::each_backend;

use crate::polls::{document, failed, heard, host, minute};
use crate::rows::{REPORTS, hosts, insert, report};
use crate::{a_store, count};

fn by(store: HeartbeatStore, clock: &ManualClock) -> HeartbeatStore {
    store.with_clock(Arc::new(clock.clone()))
}

each_backend! {
    async fn a_clock_that_was_put_back_freezes_no_state(test) {
        let clock = ManualClock::at(minute(30));
        let keep = Keep::Changes { keep_alive: Duration::from_secs(300) };
        let store = by(a_store(&test).await, &clock).keeping(keep);
        store.record_report(heard(host(1), minute(30), &document(minute(30), true))).await.unwrap();
        // Half an hour back.
        clock.set(minute(1));
        let recorded = store.record_report(heard(host(1), minute(1), &document(minute(1), false))).await.unwrap();
        assert_eq!(recorded.kept, Kept::Row);
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!((state.ready, state.last_success_at), (Some(false), Some(minute(1))));
        clock.set(minute(2));
        store.record_report(failed(1, minute(2))).await.unwrap();
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!((state.failures_in_row, state.last_attempt_at), (1, Some(minute(2))));
        // What comes late is still too late.
        let recorded = store.record_report(heard(host(1), minute(0), &document(minute(0), true))).await.unwrap();
        assert_eq!(recorded.kept, Kept::Older);
        assert_eq!(store.host_state(&host(1).name).await.unwrap().unwrap(), state);
    }

    async fn a_worker_whose_clock_is_ahead_keeps_nobody_elses_reports_out(test) {
        let (ahead, right) = (ManualClock::at(minute(10)), ManualClock::at(minute(0)));
        let (one, other) = (by(a_store(&test).await, &ahead), by(HeartbeatStore::new(test.reopen().await), &right));
        one.record_report(heard(host(1), minute(10), &document(minute(0), true))).await.unwrap();
        let taken = other.record_report(heard(host(1), minute(0), &document(minute(0), false))).await.unwrap();
        assert_eq!(taken.kept, Kept::Row);
        let state = one.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!((state.ready, state.last_success_at), (Some(false), Some(minute(0))));
        // A few seconds are nothing: the other one's report is the newer one until we are as far.
        let soon = minute(0) + TimeDelta::seconds(4);
        one.record_report(heard(host(1), soon, &document(minute(0), true))).await.unwrap();
        let late = other.record_report(heard(host(1), minute(0), &document(minute(0), false))).await.unwrap();
        assert_eq!(late.kept, Kept::Older);
    }

    async fn nothing_is_forgotten_while_our_clock_and_the_databases_are_apart(test) {
        let (db, now) = (test.database(), SystemClock.now());
        let clock = ManualClock::at(now + TimeDelta::days(100));
        let store = by(a_store(&test).await, &clock);
        old_reports(db, now).await;
        let reports = "SELECT COUNT(*) FROM lab_host_heartbeat";
        let before = count(db, reports).await;
        let settings = RetentionSettings::default();
        let done = store.retain(&settings, clock.now()).await.unwrap();
        let Some(Held::Apart(ahead)) = done.held else { panic!("{done:?}") };
        assert!((ahead - TimeDelta::days(100)).abs() < TimeDelta::minutes(10), "{ahead}");
        assert_eq!((done.total(), count(db, reports).await), (0, before));
        clock.set(now);
        let done = store.retain(&settings, now).await.unwrap();
        assert_eq!((done.held, done.heartbeats), (None, 1));
        assert!(count(db, reports).await < before);
    }

    async fn after_a_jump_of_both_clocks_little_is_forgotten(test) {
        let (db, now) = (test.database(), SystemClock.now());
        let store = a_store(&test).await;
        old_reports(db, now).await;
        let settings = RetentionSettings::default();
        assert_eq!(store.retain(&settings, now).await.unwrap().heartbeats, 1);
        let reports = "SELECT COUNT(*) FROM lab_host_heartbeat";
        let before = count(db, reports).await;
        let jumped = now + TimeDelta::days(400);
        for _ in 0..3 {
            let done = store.retain(&settings, jumped).await.unwrap();
            assert!(matches!(done.held, Some(Held::Jumped(by)) if by > TimeDelta::days(395)), "{done:?}");
            assert_eq!(done.total(), 0);
        }
        assert_eq!(count(db, reports).await, before);
        let done = store.retain(&settings, now + TimeDelta::days(1)).await.unwrap();
        assert_eq!((done.held, done.total()), (None, 0));
    }
}

/// One report that is too old to be kept, and one of each of some hours and days after that.
async fn old_reports(db: &store_support::Database, now: chrono::DateTime<Utc>) {
    hosts(db, 1, now).await;
    let ages = [91, 80, 40, 10, 1];
    let rows: Vec<_> = ages
        .iter()
        .map(|days| report(1, now - TimeDelta::days(*days), "{}"))
        .collect();
    insert(db, REPORTS, &rows).await;
}

//! What a batch costs and what it leaves, on real databases.

use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use heartbeat_store::{HeartbeatStore, Keep, Kept, PollOutcome, Recorder};
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use store_support::{Database, each_backend};

use crate::polls::{
    at_once, batches_of, document, failed, heard, host, minute, ready, record_all, with_events,
};
use crate::{a_store, at, count, polls, rows};

const LONG: Keep = Keep::Changes {
    keep_alive: Duration::from_secs(300),
};

/// Statements and transactions of one batch, after the same hosts were recorded before.
async fn cost(
    store: &HeartbeatStore,
    db: &Database,
    hosts: usize,
    keep: Keep,
    is_changed: bool,
) -> (u64, u64) {
    let (recorder, task) = Recorder::start(store.clone(), batches_of(hosts, keep));
    let mut file = polls::line(1).into_bytes();
    let first = polls::read(&file, None);
    let begin = first.to;
    let reports = (0..hosts).map(|number| {
        with_events(
            host(number),
            minute(0),
            &document(minute(0), true),
            Some(first.clone()),
        )
    });
    record_all(&recorder, reports.collect()).await;
    record_all(
        &recorder,
        (0..hosts).map(|number| ready(number, minute(1))).collect(),
    )
    .await;
    file.extend(polls::line(2).bytes());
    let before = db.traffic();
    let reports = (0..hosts).map(|number| {
        let events = is_changed.then(|| polls::read(&file, Some(begin)));
        with_events(host(number), minute(2), &document(minute(2), !is_changed), events)
    });
    let recorded = record_all(&recorder, reports.collect()).await;
    let spent = db.traffic().since(before);
    assert_eq!(recorder.figures().batches, 3);
    let kept = if is_changed || keep == Keep::Every {
        Kept::Row
    } else {
        Kept::Unchanged
    };
    assert!(recorded.iter().all(|recorded| recorded.kept == kept));
    task.close(Duration::from_secs(20)).await;
    (spent.statements, spent.transactions)
}

each_backend! {
    async fn what_a_batch_costs_does_not_depend_on_how_many_hosts_are_in_it(test) {
        let store = a_store(&test).await;
        for (keep, is_changed) in [(LONG, false), (LONG, true), (Keep::Every, false)] {
            let mut costs = Vec::new();
            for hosts in [1, 10, 500] {
                for table in ["lab_host_heartbeat", "ops_host_state", "ops_event_cursors"] {
                    run(test.database(), &format!("DELETE FROM {table}")).await;
                }
                costs.push(cost(&store, test.database(), hosts, keep, is_changed).await);
            }
            // New rows of three kinds may be cut into statements of usual sizes: ten into eight and two.
            let (least, _) = costs[0];
            assert!(least <= 12, "{costs:?}");
            for (statements, transactions) in &costs {
                assert!(*statements <= least + 3, "{keep:?} {is_changed} {costs:?}");
                assert_eq!(*transactions, 1, "{costs:?}");
            }
        }
    }

    async fn a_document_that_does_not_change_is_stored_once_and_again_to_keep_alive(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let mut ids = Vec::new();
        for number in 0..=10 {
            let recorded = record_all(&recorder, vec![ready(1, minute(number))]).await;
            ids.push(recorded[0].heartbeat_id.unwrap());
            let state = store.host_state(&host(1).name).await.unwrap().unwrap();
            assert_eq!(state.last_success_at, Some(minute(number)), "seen although not stored");
            let latest = store.latest(&host(1).name).await.unwrap().unwrap();
            assert_eq!((latest.observed_at, latest.timestamp), (minute(number), minute(number)));
        }
        assert_eq!(ids.iter().filter(|id| **id == ids[0]).count(), 5);
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await, 3);
        let seen = "SELECT COUNT(*) FROM lab_hosts WHERE last_seen = '2026-03-01 09:10:00'";
        assert_eq!(count(test.database(), seen).await, 1);
        // Something else is stored at once, and so is what was before.
        for (number, is_ready) in [(11, false), (12, true)] {
            let report = heard(host(1), minute(number), &document(minute(number), is_ready));
            assert_eq!(record_all(&recorder, vec![report]).await[0].kept, Kept::Row);
        }
        let figures = recorder.figures();
        assert_eq!((figures.reports, figures.rows, figures.unchanged, figures.waiting), (13, 5, 8, 0));
        assert!(task.close(Duration::from_secs(20)).await);
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM ops_heartbeat_writers").await, 0);
    }

    async fn every_report_is_a_row_where_that_is_wanted(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), batches_of(6, Keep::Every));
        // Some of them of one host, in one batch.
        let reports = [1, 2, 1, 3, 1, 2].into_iter().zip(0..);
        let reports = reports.map(|(number, at)| ready(number, minute(at))).collect();
        let recorded = record_all(&recorder, reports).await;
        let stored = rows(
            test.database(),
            "SELECT b.id, h.name, b.timestamp_utc FROM lab_host_heartbeat b JOIN lab_hosts h ON h.id = b.host_id ORDER BY b.id",
        )
        .await;
        assert_eq!(stored.len(), 6);
        for (number, (row, recorded)) in stored.iter().zip(&recorded).enumerate() {
            let id: i64 = row.try_get_by_index(0).unwrap();
            assert_eq!(recorded.heartbeat_id, Some(id));
            let stamp: NaiveDateTime = row.try_get_by_index(2).unwrap();
            assert_eq!(stamp.and_utc(), minute(i64::try_from(number).unwrap()));
        }
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!(state.last_heartbeat_id, recorded[4].heartbeat_id);
        task.close(Duration::from_secs(20)).await;
    }

    async fn an_older_report_overwrites_nothing_newer(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let newer = heard(host(1), minute(5), &document(minute(5), true));
        record_all(&recorder, vec![newer]).await;
        let before = store.host_state(&host(1).name).await.unwrap().unwrap();
        let late = [
            heard(host(1), minute(3), &document(minute(3), false)),
            failed(1, minute(4)),
        ];
        let recorded = record_all(&recorder, late.into()).await;
        assert_eq!((&recorded[0].kept, &recorded[1].kept), (&Kept::Older, &Kept::Failure));
        assert_eq!(store.host_state(&host(1).name).await.unwrap().unwrap(), before);
        assert!(store.latest(&host(1).name).await.unwrap().unwrap().ready.unwrap());
        let ready = "SELECT COUNT(*) FROM ops_host_changes WHERE field = 'ready'";
        assert_eq!(count(test.database(), ready).await, 1);
        // A clock that was a day ahead was put right.
        let tomorrow = minute(5) + TimeDelta::days(1);
        record_all(&recorder, vec![heard(host(1), tomorrow, &document(tomorrow, true))]).await;
        record_all(&recorder, vec![heard(host(1), minute(6), &document(minute(6), true))]).await;
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!(state.last_success_at, Some(minute(6)));
        task.close(Duration::from_secs(20)).await;
    }

    async fn a_station_whose_clock_is_ahead_freezes_nothing_and_its_skew_is_kept(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        record_all(&recorder, vec![heard(host(1), minute(0), &document(at("2031-01-01T00:00:00Z"), true))]).await;
        let right = heard(host(1), minute(1), &document(minute(1) - TimeDelta::seconds(7), false));
        let recorded = record_all(&recorder, vec![right]).await;
        let latest = store.latest(&host(1).name).await.unwrap().unwrap();
        assert_eq!((Some(latest.id), latest.ready), (recorded[0].heartbeat_id, Some(false)));
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!(state.clock_offset, Some(TimeDelta::seconds(-7)));
        task.close(Duration::from_secs(20)).await;
    }

    async fn ids_of_hosts_are_not_used_up_by_reports(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        for number in 0..20 {
            record_all(&recorder, vec![ready(1, minute(number)), ready(2, minute(number))]).await;
        }
        // Also where another process looks for the host.
        let (other, other_task) = Recorder::start(HeartbeatStore::new(test.reopen().await), at_once());
        record_all(&other, vec![ready(1, minute(20))]).await;
        let third = record_all(&other, vec![ready(3, minute(20))]).await;
        let most = count(test.database(), "SELECT MAX(id) FROM lab_hosts WHERE name <> 'Lab-WS-003'").await;
        assert_eq!(third[0].host_id, Some(most + 1));
        task.close(Duration::from_secs(20)).await;
        other_task.close(Duration::from_secs(20)).await;
    }

    async fn a_host_that_was_deleted_meanwhile_is_there_again(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        record_all(&recorder, vec![ready(1, minute(0)), ready(2, minute(0))]).await;
        run(test.database(), "DELETE FROM lab_hosts WHERE name = 'Lab-WS-001'").await;
        run(test.database(), "INSERT INTO lab_hosts (id, name, address) VALUES (77, 'Lab-WS-001', 'x')").await;
        let reports = [1, 2].map(|number| heard(host(number), minute(1), &document(minute(1), false)));
        let recorded = record_all(&recorder, reports.into()).await;
        assert_eq!((recorded[0].host_id, &recorded[0].kept, &recorded[1].kept), (Some(77), &Kept::Row, &Kept::Row));
        let raw = "SELECT COUNT(*) FROM lab_host_heartbeat WHERE host_id = 77";
        assert_eq!(count(test.database(), raw).await, 1);
        task.close(Duration::from_secs(20)).await;
    }

    async fn changes_and_hours_add_up_over_two_recorders(test) {
        let store = a_store(&test).await;
        let (one, one_task) = Recorder::start(store.clone(), at_once());
        let (two, two_task) = Recorder::start(HeartbeatStore::new(test.reopen().await), at_once());
        for number in 0..90 {
            let recorder = if number % 2 == 0 { &one } else { &two };
            let is_ready = (20..80).contains(&number);
            let mut report = heard(host(1), minute(number), &document(minute(number), is_ready));
            if let (PollOutcome::Heard(heard), true) = (&mut report.outcome, number % 30 == 0) {
                // It boots at the beginning and in minute 58; how long ago jitters.
                let boot = if number < 60 { minute(-10) } else { minute(58) };
                heard.booted_at = Some(boot + TimeDelta::milliseconds(number * 100));
            }
            record_all(recorder, vec![report]).await;
        }
        record_all(&two, vec![failed(1, minute(90))]).await;
        let found = rows(
            test.database(),
            "SELECT field, old_value, new_value FROM ops_host_changes WHERE host_name = 'lab-ws-001' ORDER BY id",
        )
        .await;
        let text = |row: &sea_orm::QueryResult, index| row.try_get_by_index::<Option<String>>(index).unwrap();
        let changes: Vec<_> = found.iter().map(|row| [text(row, 0), text(row, 1), text(row, 2)].map(Option::unwrap_or_default)).collect();
        let expected = [
            ["ready", "", "false"],
            ["local_mode", "", "false"],
            ["local_session", "", "false"],
            ["power", "", "shutdown"],
            ["boot", "", "2026-03-01T08:50:00Z"],
            ["ready", "false", "true"],
            ["boot", "2026-03-01T08:50:00Z", "2026-03-01T09:58:06Z"],
            ["ready", "true", "false"],
        ];
        assert_eq!(changes, expected.map(|row| row.map(str::to_owned)));
        let sums = rows(
            test.database(),
            "SELECT polls, failures, ready_ms, known_ms, local_ms, boots, b3 FROM ops_host_hours ORDER BY hour",
        )
        .await;
        let of = |row: &sea_orm::QueryResult| -> Vec<i64> {
            let mut sums: Vec<i64> = (0..6).map(|index| row.try_get_by_index(index).unwrap()).collect();
            sums.push(row.try_get_by_index::<i32>(6).unwrap().into());
            sums
        };
        assert_eq!(of(&sums[0]), [60, 0, 40 * 60_000, 60 * 60_000, 0, 0, 60]);
        assert_eq!(of(&sums[1]), [31, 1, 20 * 60_000, 29 * 60_000, 0, 1, 30]);
        assert_eq!(sums.len(), 2);
        one_task.close(Duration::from_secs(20)).await;
        two_task.close(Duration::from_secs(20)).await;
    }

    async fn a_look_at_a_host_that_may_be_off_is_no_failure(test) {
        let store = a_store(&test).await;
        let mut report = failed(1, minute(3));
        report.outcome = PollOutcome::Off { text: "nothing answers, and nobody needs it".to_owned() };
        let recorded = store.record_report(report).await.unwrap();
        assert_eq!((recorded.kept, recorded.host_id), (Kept::Off, None));
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!((state.failures_in_row, state.last_attempt_at), (0, Some(minute(3))));
        assert_eq!(state.last_failure.unwrap().code, "off");
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM ops_host_hours").await, 0);
    }

    async fn documents_larger_together_than_one_statement_are_sent_in_several(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), batches_of(8, Keep::Every));
        let ballast = "ä".repeat(1_500_000);
        let reports = (0..8).map(|number| heard(host(number), minute(0), &json!({"n": number, "x": ballast})));
        let recorded = record_all(&recorder, reports.collect()).await;
        assert!(recorded.iter().all(|recorded| recorded.kept == Kept::Row));
        for (number, recorded) in recorded.iter().enumerate() {
            let latest = store.latest(&host(number).name).await.unwrap().unwrap();
            assert_eq!((Some(latest.id), &latest.raw["n"]), (recorded.heartbeat_id, &json!(number)));
        }
        task.close(Duration::from_secs(20)).await;
    }
}

async fn run(db: &Database, sql: &str) {
    db.connection()
        .execute_unprepared(sql)
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"));
}

//! A database that is away: callers feel it, nothing that was acknowledged is lost, and nothing is stored twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::{HeartbeatStore, HeartbeatStoreError, Keep, RecordError, Recorder, RecorderSettings};
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use store_support::{Database, DatabaseSettings, DbErr, each_backend, test_support, transaction};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::polls::{batches_of, document, heard, host, line, minute, read, ready, record_all, with_events};
use crate::relay::Relay;
use crate::{a_store, count, rows};

/// Keeps everybody else from writing, until it is told to end.
async fn hold(db: Database) -> (Arc<Notify>, JoinHandle<()>) {
    let (held, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (holds, until) = (Arc::clone(&held), Arc::clone(&release));
    let holding = tokio::spawn(async move {
        transaction(&db, |tx| {
            let (holds, until) = (Arc::clone(&holds), Arc::clone(&until));
            Box::pin(async move {
                tx.execute_unprepared("UPDATE ops_host_state SET failures_in_row = failures_in_row + 1")
                    .await?;
                holds.notify_one();
                until.notified().await;
                // As if it had never been.
                Err::<(), _>(DbErr::Custom("enough".to_owned()))
            })
        })
        .await
        .unwrap_err();
    });
    held.notified().await;
    (release, holding)
}

fn small(keep: Keep) -> RecorderSettings {
    RecorderSettings {
        keep,
        batch_rows: 4,
        backlog_rows: 4,
        batch_wait: Duration::ZERO,
        queue: 6,
        queue_bytes: 1 << 20,
    }
}

each_backend! {
    async fn while_the_database_does_not_answer_callers_wait_and_nothing_is_lost(test) {
        let store = a_store(&test).await;
        for number in 0..20 {
            store.record_report(ready(number, minute(0))).await.unwrap();
        }
        let impatient = DatabaseSettings { statement_timeout: Duration::from_millis(300), ..test.settings().clone() };
        let impatient = HeartbeatStore::new(Database::connect(&impatient).await.unwrap());
        let (recorder, task) = Recorder::start(impatient, small(Keep::Every));
        let (release, holding) = hold(test.reopen().await).await;
        let mut receipts = Vec::new();
        // What is being written, and what waits.
        let full = loop {
            match recorder.try_record(ready(receipts.len() % 20, minute(1))) {
                Ok(receipt) => receipts.push(receipt),
                Err(error) if receipts.len() >= 6 && recorder.figures().retries > 0 => break error,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
            assert!(receipts.len() <= 10, "more than the queue and a batch");
        };
        assert_eq!(full, RecordError::Full);
        assert_eq!(recorder.figures().waiting, receipts.len() as u64);
        let one_more = recorder.record(ready(19, minute(1)));
        assert!(timeout(Duration::from_millis(200), one_more).await.is_err(), "who asks, waits");
        assert_eq!(recorder.figures().reports, 0);
        release.notify_one();
        holding.await.unwrap();
        let taken = receipts.len();
        for receipt in receipts {
            receipt.await.unwrap();
        }
        assert!(task.close(Duration::from_secs(30)).await);
        let stored = "SELECT COUNT(*) FROM lab_host_heartbeat WHERE created_at = '2026-03-01 09:01:00'";
        assert_eq!(count(test.database(), stored).await, i64::try_from(taken).unwrap());
        assert_eq!(recorder.figures().waiting, 0);
        assert_eq!(recorder.try_record(ready(1, minute(2))).unwrap_err(), RecordError::Closed);
        assert_eq!(recorder.record(ready(1, minute(2))).await.unwrap_err(), RecordError::Closed);
    }

    async fn whoever_closes_in_time_hears_of_every_report_whether_it_was_written(test) {
        let store = a_store(&test).await;
        store.record_report(ready(0, minute(0))).await.unwrap();
        let (recorder, task) = Recorder::start(store.clone(), small(Keep::Every));
        record_all(&recorder, vec![ready(0, minute(1))]).await;
        let (release, holding) = hold(test.reopen().await).await;
        let mut receipts = Vec::new();
        for _ in 0..6 {
            receipts.push(recorder.record(ready(0, minute(2))).await.unwrap());
        }
        assert!(!task.close(Duration::from_millis(400)).await);
        for receipt in receipts {
            let outcome = receipt.await;
            assert!(matches!(outcome, Err(HeartbeatStoreError::Unavailable(_))), "{outcome:?}");
        }
        release.notify_one();
        holding.await.unwrap();
        assert_eq!((recorder.figures().lost, recorder.figures().waiting), (6, 0));
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await, 2);
    }

    async fn everything_that_was_taken_is_written_when_the_recorder_closes(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), batches_of(200, Keep::Every));
        let mut receipts = Vec::new();
        for number in 0..150 {
            receipts.push(recorder.record(ready(number, minute(0))).await.unwrap());
        }
        assert!(task.close(Duration::from_secs(30)).await);
        for receipt in receipts {
            receipt.await.unwrap();
        }
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await, 150);
        // Dropped without being closed, it writes what it has as well.
        let (recorder, task) = Recorder::start(store.clone(), batches_of(200, Keep::Every));
        let receipt = recorder.record(ready(1, minute(1))).await.unwrap();
        drop((recorder, task));
        receipt.await.unwrap();
    }

    async fn a_database_that_was_put_back_is_written_to_as_before(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store, small(Keep::Every));
        for round in 0..3 {
            record_all(&recorder, vec![ready(0, minute(round))]).await;
        }
        let back = "UPDATE ops_heartbeat_writers SET batch = batch - 2";
        test.database().connection().execute_unprepared(back).await.unwrap();
        for round in 3..6 {
            let written = timeout(Duration::from_secs(30), record_all(&recorder, vec![ready(0, minute(round))])).await;
            assert!(written.is_ok(), "round {round}");
        }
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await, 6);
        assert!(task.close(Duration::from_secs(30)).await);
    }

    async fn large_documents_wait_in_a_bounded_room(test) {
        let store = a_store(&test).await;
        let settings = RecorderSettings { queue_bytes: 256 << 10, ..small(Keep::Every) };
        let (recorder, task) = Recorder::start(store.clone(), settings);
        let (release, holding) = hold(test.reopen().await).await;
        let large = json!({"x": "y".repeat(100 << 10)});
        let mut receipts = Vec::new();
        while let Ok(receipt) = recorder.try_record(heard(host(receipts.len()), minute(0), &large)) {
            receipts.push(receipt);
        }
        assert_eq!(receipts.len(), 2);
        release.notify_one();
        holding.await.unwrap();
        // One that is larger than the room is taken when it is alone.
        let huge = json!({"x": "y".repeat(1 << 20)});
        let receipt = timeout(Duration::from_secs(30), recorder.record(heard(host(9), minute(0), &huge))).await;
        receipt.unwrap().unwrap().await.unwrap();
        for receipt in receipts {
            receipt.await.unwrap();
        }
        task.close(Duration::from_secs(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_or_the_answers_to_them_are_lost_and_each_report_is_stored_once() {
    test_support::on_mysql(async |test| {
        a_store(&test).await;
        let relay = Relay::start(3).await;
        let store = HeartbeatStore::new(relay.connect(&test).await);
        let (recorder, task) = Recorder::start(store.clone(), small(Keep::Every));
        let mut file = Vec::new();
        let mut cursor = None;
        let mut ids = BTreeSet::new();
        for round in 0..30 {
            file.extend(line(round).bytes());
            let now = minute(i64::try_from(round).unwrap());
            let batch = read(&file, cursor);
            cursor = Some(batch.to);
            let first = with_events(host(0), now, &document(now, true), Some(batch));
            let reports = [vec![first], (1..4).map(|number| ready(number, now)).collect()].concat();
            for recorded in record_all(&recorder, reports).await {
                assert!(ids.insert(recorded.heartbeat_id.unwrap()), "an id of its own");
            }
        }
        assert!(relay.lost() >= 5, "{}", relay.lost());
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await,
            120
        );
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_events").await,
            30
        );
        let polls = rows(
            test.database(),
            "SELECT CAST(SUM(polls) AS SIGNED) FROM ops_host_hours",
        )
        .await;
        assert_eq!(polls[0].try_get_by_index::<i64>(0).unwrap(), 120);
        assert!(ids.into_iter().eq(ids_of(&test).await));
        task.close(Duration::from_secs(30)).await;
    })
    .await;
}

async fn ids_of(test: &test_support::TestDatabase) -> Vec<i64> {
    let found = rows(test.database(), "SELECT id FROM lab_host_heartbeat ORDER BY id").await;
    found.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_in_the_middle_takes_nothing_along() {
    test_support::on_mysql(async |test| {
        a_store(&test).await;
        let relay = Relay::start(i64::MAX).await;
        let store = HeartbeatStore::new(relay.connect(&test).await);
        let (recorder, task) = Recorder::start(store, small(Keep::Every));
        let polling = tokio::spawn({
            let recorder = recorder.clone();
            async move {
                let mut receipts = Vec::new();
                for round in 0..200 {
                    receipts.push(recorder.record(ready(round % 7, minute(0))).await.unwrap());
                }
                for receipt in receipts {
                    receipt.await.unwrap();
                }
            }
        });
        for _ in 0..3 {
            let before = recorder.figures().reports;
            while !polling.is_finished() && recorder.figures().reports < before + 20 {
                sleep(Duration::from_millis(2)).await;
            }
            relay.down();
            let retries = recorder.figures().retries;
            while !polling.is_finished() && recorder.figures().retries == retries {
                sleep(Duration::from_millis(2)).await;
            }
            relay.up();
        }
        polling.await.unwrap();
        assert!(recorder.figures().retries >= 3);
        assert!(task.close(Duration::from_secs(30)).await);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await,
            200
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_too_long_is_written_in_parts() {
    test_support::on_mysql(async |test| {
        a_store(&test).await;
        let slow = "CREATE TRIGGER slow BEFORE INSERT ON lab_host_heartbeat FOR EACH ROW DO SLEEP(0.02)";
        test.database()
            .connection()
            .execute_unprepared(slow)
            .await
            .unwrap();
        let impatient = DatabaseSettings {
            statement_timeout: Duration::from_millis(700),
            ..test.settings().clone()
        };
        let store = HeartbeatStore::new(Database::connect(&impatient).await.unwrap());
        let (recorder, task) = Recorder::start(store, batches_of(64, Keep::Every));
        // 1.3 s together.
        let reports = (0..64).map(|number| ready(number, minute(0))).collect();
        let written = timeout(Duration::from_secs(60), record_all(&recorder, reports)).await;
        assert_eq!(written.map(|recorded| recorded.len()), Ok(64));
        assert!(recorder.figures().batches >= 2);
        assert!(task.close(Duration::from_secs(30)).await);
        assert_eq!(
            count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await,
            64
        );
    })
    .await;
}

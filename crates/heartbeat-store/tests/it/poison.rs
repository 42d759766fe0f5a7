//! Reports that the database does not take: the one to blame is set aside with a reason, and all others are stored.

use std::time::Duration;

use heartbeat_store::{EventsKept, HeartbeatStore, Keep, Kept, Recorder};
use labstation_commands::{DOCUMENT_LIMIT, parse_heartbeat};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use store_support::{Backend, Database, each_backend};

use crate::polls::{
    at_once, batches_of, document, heard, host, line, minute, read, ready, record_all, with_events,
};
use crate::{a_store, count, rows};

/// Makes the database refuse rows of a table whose column has this word.
async fn refuse(db: &Database, table: &str, column: &str, word: &str) {
    let sql = match db.backend() {
        Backend::Sqlite => format!(
            "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} WHEN NEW.{column} LIKE '%{word}%' \
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        ),
        Backend::MySql => format!(
            "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} FOR EACH ROW IF NEW.{column} LIKE '%{word}%' \
             THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'poison'; END IF"
        ),
    };
    db.connection().execute_unprepared(&sql).await.unwrap();
}

each_backend! {
    async fn of_a_batch_only_the_bad_documents_are_set_aside(test) {
        let store = a_store(&test).await;
        refuse(test.database(), "lab_host_heartbeat", "raw_json", "POISON").await;
        let (recorder, task) = Recorder::start(store.clone(), batches_of(64, Keep::default()));
        for number in 0..2 {
            let reports = (0..64).map(|n| {
                let mut document = document(minute(number), true);
                if n % 23 == 5 {
                    document["note"] = json!("POISON");
                }
                heard(host(n), minute(number), &document)
            });
            let recorded = record_all(&recorder, reports.collect()).await;
            for (n, recorded) in recorded.iter().enumerate() {
                let is_bad = n % 23 == 5;
                assert_eq!(matches!(recorded.kept, Kept::SetAside(_)), is_bad, "{n} {recorded:?}");
                let state = store.host_state(&host(n).name).await.unwrap().unwrap();
                assert_eq!(state.set_aside.is_some_and(|reason| reason.contains("poison")), is_bad);
                assert_eq!((state.ready, state.last_success_at), (Some(true), Some(minute(number))));
            }
        }
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_heartbeat").await, 61);
        let figures = recorder.figures();
        assert_eq!((figures.set_aside, figures.lost, figures.reports), (6, 0, 128));
        // What was set aside is not tried again with every poll: the second round is one batch.
        let (batches, retries) = (figures.batches, figures.retries);
        assert!(batches < 64 && retries == 0, "{figures:?}");
        let good = heard(host(5), minute(2), &document(minute(2), false));
        let recorded = store.clone().keeping(Keep::default()).record_report(good).await.unwrap();
        assert_eq!(recorded.kept, Kept::Row);
        assert_eq!(store.host_state(&host(5).name).await.unwrap().unwrap().set_aside, None);
        task.close(Duration::from_secs(20)).await;
    }

    async fn a_bad_event_is_kept_as_a_text_and_holds_up_no_later_one(test) {
        let store = a_store(&test).await;
        // As JSON: the text of the payload in another payload has its quotes escaped.
        refuse(test.database(), "lab_host_events", "payload", "{\"message\":%user2").await;
        let (recorder, task) = Recorder::start(store.clone(), at_once());
        let mut file: Vec<u8> = (1..4).flat_map(|number| line(number).into_bytes()).collect();
        let batch = read(&file, None);
        let to = batch.to;
        let recorded = record_all(&recorder, vec![with_events(host(1), minute(0), &document(minute(0), true), Some(batch))]).await;
        assert_eq!(recorded[0].events, EventsKept::Stored { new: 3, to });
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_events").await, 3);
        file.extend(line(4).bytes());
        let next = read(&file, Some(to));
        let recorded = record_all(&recorder, vec![with_events(host(1), minute(1), &document(minute(1), true), Some(next))]).await;
        assert!(matches!(recorded[0].events, EventsKept::Stored { new: 1, .. }));
        let found = rows(test.database(), "SELECT payload FROM lab_host_events ORDER BY id").await;
        let payload: Value = found[1].try_get_by_index(0).unwrap();
        assert!(payload["text"].as_str().unwrap().contains("user2"), "{payload}");
        task.close(Duration::from_secs(20)).await;
    }

    async fn a_report_of_which_nothing_can_be_stored_says_so_and_stops_nobody(test) {
        let store = a_store(&test).await;
        // Every host has its row before the table refuses changes of one.
        let (recorder, task) = Recorder::start(store.clone(), batches_of(4, Keep::default()));
        record_all(&recorder, (0..4).map(|n| ready(n, minute(0))).collect()).await;
        refuse(test.database(), "ops_host_changes", "host_name", "lab-ws-002").await;
        let mut receipts = Vec::new();
        for n in 0..4 {
            let report = heard(host(n), minute(1), &document(minute(1), false));
            receipts.push(recorder.record(report).await.unwrap());
        }
        for (n, receipt) in receipts.into_iter().enumerate() {
            assert_eq!(receipt.await.is_ok(), n != 2, "{n}");
        }
        assert_eq!(recorder.figures().lost, 1);
        let state = store.host_state(&host(2).name).await.unwrap().unwrap();
        assert_eq!(state.last_success_at, Some(minute(0)));
        task.close(Duration::from_secs(20)).await;
    }

    async fn tables_of_a_smaller_charset_take_every_document(test) {
        let store = a_store(&test).await;
        if test.database().backend() == Backend::MySql {
            for (table, column) in [("lab_host_heartbeat", "raw_json LONGTEXT"), ("lab_host_heartbeat", "last_forced_logoff_user VARCHAR(128)")] {
                let sql = format!("ALTER TABLE {table} MODIFY {column} CHARACTER SET latin1");
                test.database().connection().execute_unprepared(&sql).await.unwrap();
            }
        }
        let mut odd = document(minute(0), true);
        odd["note"] = json!("ж \u{1f600} \u{0}");
        odd["operations"]["lastForcedLogoff"] = json!({"timestamp": minute(0), "user": "Ж"});
        let recorded = store.record_report(heard(host(1), minute(0), &odd)).await.unwrap();
        assert_eq!(recorded.kept, Kept::Row);
        let latest = store.latest(&host(1).name).await.unwrap().unwrap();
        assert_eq!(latest.raw, odd);
    }

    async fn a_document_that_is_too_long_costs_its_row_and_nothing_else(test) {
        let store = a_store(&test).await;
        let mut report = ready(1, minute(0));
        if let heartbeat_store::PollOutcome::Heard(heard) = &mut report.outcome {
            heard.document = format!("{{\"x\": \"{}\"}}", "y".repeat(DOCUMENT_LIMIT));
        }
        let recorded = store.record_report(report).await.unwrap();
        assert!(matches!(&recorded.kept, Kept::SetAside(reason) if reason.contains("bytes")), "{recorded:?}");
        let state = store.host_state(&host(1).name).await.unwrap().unwrap();
        assert_eq!((state.ready, state.last_heartbeat_id), (Some(true), None));
    }

    async fn whatever_a_station_may_write_is_stored_or_set_aside(test) {
        let store = a_store(&test).await;
        let (recorder, task) = Recorder::start(store.clone(), batches_of(16, Keep::Every));
        let config = Config { cases: 1, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]));
        let mut told = 0;
        for round in 0..8 {
            let mut reports = Vec::new();
            while reports.len() < 16 {
                let text = a_text().new_tree(&mut runner).unwrap().current();
                let Ok(heartbeat) = parse_heartbeat(text.as_bytes()) else { continue };
                let mut report = ready(reports.len(), minute(round));
                if let heartbeat_store::PollOutcome::Heard(heard) = &mut report.outcome {
                    (heard.heartbeat, heard.document) = (heartbeat, text);
                }
                reports.push(report);
            }
            for recorded in record_all(&recorder, reports).await {
                told += usize::from(matches!(recorded.kept, Kept::Row | Kept::SetAside(_)));
            }
        }
        assert_eq!(told, 128);
        for raw in rows(test.database(), "SELECT raw_json FROM lab_host_heartbeat").await {
            let raw: String = raw.try_get_by_index(0).unwrap();
            assert!(serde_json::from_str::<Value>(&raw).is_ok(), "{raw}");
        }
        let states = HeartbeatStore::host_states(&store).await.unwrap();
        assert!(states.iter().all(|state| state.last_success_at == Some(minute(7))));
        task.close(Duration::from_secs(20)).await;
    }
}

/// A document with odd values in the places that mean something, as a text that need not be strict JSON.
fn a_text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("1e300".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("\"0001-01-01T00:00:00Z\"".to_owned()),
        Just("\"9998-12-31T23:59:59.999999999Z\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"\\u0000\u{1f600}\"".to_owned()),
        Just("\"a\tb\u{0}\"".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just(format!("\"{}\"", "\u{1f600}".repeat(300))),
        Just(format!("{}1{}", "[".repeat(60), "]".repeat(60))),
        any::<String>().prop_map(|text| json!(text).to_string()),
    ];
    let key = prop_oneof![
        Just("timestamp"),
        Just("summary"),
        Just("status"),
        Just("operations"),
        Just("wake"),
        Just("schemaVersion"),
        Just("ready"),
        Just("localModeEnabled"),
        Just("armedCount"),
        Just("lastForcedLogoff"),
        Just("lastPowerAction"),
        Just("user"),
        Just("mode"),
        Just("\u{e4}\u{1f600}"),
    ];
    let value = scalar.prop_recursive(4, 40, 6, move |inner| {
        let object = proptest::collection::vec((key.clone(), inner.clone()), 0..6).prop_map(|entries| {
            // Keys may come twice.
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(key, value)| format!("\"{key}\": {value}"))
                .collect();
            format!("{{{}}}", entries.join(", "))
        });
        let list = proptest::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(", ")));
        prop_oneof![3 => object, 1 => list]
    });
    (value, any::<bool>()).prop_map(|(value, marked)| {
        let text = format!("{{\"summary\": {value}, \"status\": {value}, \"operations\": {value}, \"timestamp\": {value}, \"x\": {value}}}");
        if marked { format!("\u{feff}{text}") } else { text }
    })
}

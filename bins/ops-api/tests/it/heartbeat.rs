//! `POST /api/heartbeat/poll`: the document untouched, and its columns.

use chrono::NaiveDateTime;
use host_sim::Fault;
use sea_orm::{ConnectionTrait as _, FromQueryResult};
use serde_json::{Value, json};
use store_support::{Backend, Database, each_backend};

use crate::harness::{asleep, awake, commands, count, in_secs, reservations, until};
use crate::service::Service;

#[derive(Debug, FromQueryResult)]
struct Stored {
    name: String,
    address: String,
    mac: Option<String>,
    mode: String,
    last_seen: Option<NaiveDateTime>,
    timestamp_utc: NaiveDateTime,
    ready: Option<bool>,
    local_mode: Option<bool>,
    local_session: Option<bool>,
    last_forced_logoff_ts: Option<NaiveDateTime>,
    last_forced_logoff_user: Option<String>,
    last_power_action_ts: Option<NaiveDateTime>,
    last_power_action_mode: Option<String>,
    raw_json: String,
}

async fn stored(db: &Database) -> Vec<Stored> {
    let sql = "SELECT h.name, h.address, h.mac, h.mode, h.last_seen, b.timestamp_utc, b.ready, b.local_mode, \
               b.local_session, b.last_forced_logoff_ts, b.last_forced_logoff_user, b.last_power_action_ts, \
               b.last_power_action_mode, b.raw_json FROM lab_hosts h JOIN lab_host_heartbeat b ON b.host_id = h.id \
               ORDER BY b.id";
    Stored::find_by_statement(db.statement(sql, []))
        .all(db.connection())
        .await
        .unwrap()
}

/// What the station writes, in the database's form.
fn stamp(text: &Value) -> NaiveDateTime {
    chrono::DateTime::parse_from_rfc3339(text.as_str().unwrap())
        .unwrap()
        .naive_utc()
}

each_backend! {
    async fn a_poll_shows_the_document_untouched_and_stores_it(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        // A poll does not wait for a database that takes its time.
        let body = until("a poll is kept", async || {
            let body = service.post("/api/heartbeat/poll", json!({"host": "LAB-WS-01"})).await.expect(200);
            (body["persisted"] == true).then_some(body)
        })
        .await;
        assert_eq!((&body["host"], &body["last_event"]), (&json!("LAB-WS-01"), &Value::Null));
        assert!(body["duration_ms"].is_u64());
        let heartbeat = &body["heartbeat"];
        assert_eq!(heartbeat["schemaVersion"], "1.0.0");
        assert_eq!(heartbeat["wake"]["nicPower"][0]["wolReady"], true, "what we do not use is kept");
        assert!(heartbeat["status"]["identity"]["labUser"].is_string());

        let rows = stored(test.database()).await;
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        let host = service.lab.sim(1);
        assert_eq!((row.name.as_str(), row.address.as_str()), ("lab-ws-01", host.address().to_string().as_str()));
        assert_eq!(row.mac.as_ref().unwrap().len(), 17);
        assert_eq!(row.mode, "pure");
        assert_eq!(row.timestamp_utc, stamp(&heartbeat["timestamp"]));
        assert_eq!(row.last_seen, Some(row.timestamp_utc));
        assert_eq!((row.ready, row.local_mode, row.local_session), (Some(true), Some(false), Some(false)));
        assert_eq!((row.last_forced_logoff_ts, row.last_power_action_ts), (None, None));
        assert_eq!((&row.last_forced_logoff_user, &row.last_power_action_mode), (&None, &None));
        assert_eq!(&serde_json::from_str::<Value>(&row.raw_json).unwrap(), heartbeat);
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_events").await, 0);
        service.stop().await;
    }
}

each_backend! {
    async fn polls_of_a_steady_host_are_fresh_each_and_kept_without_a_row_each(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let (db, host) = (test.database(), service.lab.sim(1));
        let poll = async || service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        let mut before: Option<Value> = None;
        for _ in 0..3 {
            // The station's stamps have whole seconds.
            let fresh = until("a younger document", async || {
                host.write_heartbeat();
                let body = poll().await;
                let stamp = &body["heartbeat"]["timestamp"];
                let younger = before.as_ref().is_none_or(|before| &before["heartbeat"]["timestamp"] != stamp);
                // A poll does not wait for a database that takes its time.
                (younger && body["persisted"] == true).then_some(body)
            })
            .await;
            let reported: NaiveDateTime = stamp(&fresh["heartbeat"]["timestamp"]);
            assert_eq!(stamp(&fresh["reported_at"]), reported);
            if let Some(before) = &before {
                assert!(fresh["observed_at"].as_str() > before["observed_at"].as_str(), "{fresh}");
            }
            before = Some(fresh);
        }
        assert_eq!(stored(db).await.len(), 1, "the keep-alive is longer than this test");
        let reservation = "0x77";
        reservations::book(db, reservation, "1", in_secs(600), in_secs(900)).await;
        let timeline = service.get(&format!("/api/reservations/timeline?reservationId={reservation}")).await.expect(200);
        let last = before.unwrap();
        assert_eq!(stamp(&timeline["heartbeat"]["timestamp"]), stamp(&last["heartbeat"]["timestamp"]), "the newest poll's");
        assert_ne!(timeline["heartbeat"]["raw"]["timestamp"], last["heartbeat"]["timestamp"], "the kept row's");

        let sql = match db.backend() {
            Backend::Sqlite => "CREATE TRIGGER refuse BEFORE INSERT ON lab_host_heartbeat BEGIN SELECT RAISE(ABORT, 'poison'); END",
            Backend::MySql => "CREATE TRIGGER refuse BEFORE INSERT ON lab_host_heartbeat FOR EACH ROW \
                SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'poison'",
        };
        db.connection().execute_unprepared(sql).await.unwrap();
        host.set_ready(false, &["no network"]);
        host.write_heartbeat();
        let body = poll().await;
        assert_eq!((&body["heartbeat"]["summary"]["ready"], &body["persisted"]), (&json!(false), &json!(false)), "{body}");
        assert!(body["warnings"].to_string().contains("kept without the document"), "{body}");
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_host_state WHERE ready = FALSE").await, 1, "what it said is kept");
        service.stop().await;
    }
}

each_backend! {
    async fn the_last_event_is_parsed_and_stored_unless_it_is_not_wanted(test) {
        let mut spec = awake(1);
        spec.station.logged_on = vec!["teacher".into()];
        let service = Service::start_on(&test, vec![spec]).await;
        let guard = json!({"host": "lab-ws-01", "command": "session", "args": ["guard", "--grace=0"]});
        assert_eq!(service.post("/api/winrm", guard).await.expect(200)["exit_code"], 0);
        service.lab.sim(1).write_heartbeat();

        for no in [json!("false"), json!("no"), json!(0), json!(false)] {
            let poll = json!({"host": "lab-ws-01", "include_events": no});
            assert_eq!(service.post("/api/heartbeat/poll", poll).await.expect(200)["last_event"], Value::Null);
        }
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_host_events").await, 0);

        let body = service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        let event = &body["last_event"];
        assert_eq!(event["user"], "teacher", "{body}");
        let sql = "SELECT e.kind, e.payload, e.timestamp_utc FROM lab_host_events e";
        let db = test.database();
        let row = db.connection().query_one_raw(db.statement(sql, [])).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<String>(0).unwrap(), "session-guard");
        assert_eq!(&row.try_get_by_index::<Value>(1).unwrap(), event);

        let row = stored(db).await.pop().unwrap();
        assert_eq!(row.last_forced_logoff_user.as_deref(), Some("teacher"));
        let forced = &body["heartbeat"]["operations"]["lastForcedLogoff"]["timestamp"];
        assert_eq!(row.last_forced_logoff_ts, Some(stamp(forced)));
        service.stop().await;
    }
}

each_backend! {
    async fn a_poll_that_fails_is_recorded_and_the_last_good_heartbeat_kept(test) {
        let service = Service::start_on(&test, vec![awake(1), asleep(2)]).await;
        let db = test.database();
        until("a poll is kept", async || {
            let body = service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
            (body["persisted"] == true).then_some(())
        })
        .await;
        service.lab.sim(1).set_fault(Fault::GarbledHeartbeat);
        let body = service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(502);
        assert_eq!(body["code"], "heartbeat_unreadable", "{body}");
        assert!(body["error"].as_str().unwrap().contains("lab-ws-01"));
        assert_eq!(stored(db).await.len(), 1, "the good one stays, the bad one is no heartbeat");
        let sql = "SELECT failures_in_row FROM ops_host_state WHERE host_name = 'lab-ws-01' \
                   AND last_error_code = 'heartbeat_unreadable' AND ready = TRUE";
        let row = db.connection().query_one_raw(db.statement(sql, [])).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<i32>(0).unwrap(), 1);

        let missing = service.lab.sim(1);
        missing.clear_faults();
        missing.set_fault(Fault::NoHeartbeat);
        let body = service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(502);
        assert_eq!(body["code"], "file_missing");
        let asleep = service.post("/api/heartbeat/poll", json!({"host": "lab-ws-02"})).await;
        assert!([502, 504].contains(&asleep.status), "{asleep:?}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_words_of_the_contract() {
    let service = Service::start(vec![awake(1)]).await;
    for body in [json!({}), json!({"host": ""}), json!({"host": null})] {
        assert_eq!(
            service.post("/api/heartbeat/poll", body).await.expect(400)["error"],
            "host is required"
        );
    }
    let unknown = service
        .post("/api/heartbeat/poll", json!({"host": "NoSuch"}))
        .await;
    assert_eq!(unknown.expect(404)["error"], "host 'NoSuch' not found in config");
    service
        .post("/api/heartbeat/poll", json!({"host": 5}))
        .await
        .expect_field("host");
    assert_eq!(commands(service.lab.sim(1), "status"), []);
    assert_eq!(service.lab.sim(1).counts().requests, 0);
    service.stop().await;
}

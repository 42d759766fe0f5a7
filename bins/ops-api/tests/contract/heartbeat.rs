//! 1.3: `POST /api/heartbeat/poll`.

use serde_json::{Value, json};

use crate::harness::count;
use crate::site::{Site, has_keys};

walk! {
    Site::start;

    async fn s1_3_poll_answers_with_the_document_the_last_event_and_the_host_as_sent(site) {
        let body = site.post("/api/heartbeat/poll", json!({"host": "Lab-WS-01"})).await.expect(200);
        has_keys(&body, &["heartbeat", "last_event", "duration_ms", "host"]);
        assert_eq!((&body["host"], &body["last_event"]), (&json!("Lab-WS-01"), &Value::Null), "no file, no event");
        assert_eq!(body["heartbeat"]["schemaVersion"], "1.0.0");
    }

    async fn s1_3_poll_gives_the_last_line_of_the_events_unless_it_is_not_wanted(site) {
        let call = json!({"host": "lab-ws-01", "command": "session", "args": ["guard", "--grace=30"]});
        site.post("/api/winrm", call).await.expect(200);
        for (include, wanted) in [(json!(true), true), (json!(false), false), (json!("false"), false), (json!(0), false)] {
            let body = json!({"host": "lab-ws-01", "include_events": include});
            let body = site.post("/api/heartbeat/poll", body).await.expect(200);
            assert!(wanted || body["last_event"].is_null(), "{include}: {body}");
        }
    }

    async fn s1_3_poll_refuses_in_the_words_of_the_contract(site) {
        let answer = site.post("/api/heartbeat/poll", json!({"include_events": false})).await;
        assert_eq!(answer.expect(400)["error"], "host is required");
        let answer = site.post("/api/heartbeat/poll", json!({"host": "NoBody"})).await;
        assert_eq!(answer.expect(404)["error"], "host 'NoBody' not found in config");
    }

    async fn s1_5_a_poll_is_a_host_and_a_heartbeat_in_the_tables(site) {
        site.post("/api/heartbeat/poll", json!({"host": "lab-ws-03"})).await.expect(200);
        let sql = "SELECT COUNT(*) FROM lab_hosts h JOIN lab_host_heartbeat b ON b.host_id = h.id \
            WHERE h.name = 'lab-ws-03' AND h.mode = 'pure' AND h.last_seen = b.timestamp_utc AND b.ready = 1 \
            AND b.local_mode = 0 AND b.last_power_action_ts IS NULL";
        assert_eq!(count(site.database(), sql).await, 1);
    }
}

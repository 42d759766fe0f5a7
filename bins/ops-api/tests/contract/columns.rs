//! 1.5: heartbeat to columns, as another service reads them.

use serde_json::json;

use crate::harness::{Lab, awake, count};
use crate::site::Site;
use store_support::test_support::TestDatabase;

async fn with_somebody(test: TestDatabase) -> std::sync::Arc<Site> {
    let mut spec = awake(1);
    spec.station.logged_on = vec!["teacher".into()];
    Site::of(test, vec![spec], |lab: Lab| lab).await
}

walk! {
    with_somebody;

    async fn s1_5_a_forced_log_off_is_in_its_columns_and_its_event_is_a_row(site) {
        let start = json!({"reservationId": "0xa", "host": "lab-ws-01", "wake": false, "guardGrace": 0});
        site.post("/api/reservations/start", start).await.expect(200);
        let body = site.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        let logoff = &body["heartbeat"]["operations"]["lastForcedLogoff"];
        assert_eq!(logoff["user"], "teacher", "{body}");
        let sql = "SELECT COUNT(*) FROM lab_host_heartbeat WHERE last_forced_logoff_user = 'teacher' \
            AND last_forced_logoff_ts IS NOT NULL AND ready IS NOT NULL AND local_session IS NOT NULL";
        assert_eq!(count(site.database(), sql).await, 1);
        assert!(body["last_event"].is_object(), "{body}");
        let sql = "SELECT COUNT(*) FROM lab_host_events WHERE kind = 'session-guard' AND payload IS NOT NULL";
        assert_eq!(count(site.database(), sql).await, 1);
    }

    async fn s1_5_last_seen_is_the_documents_stamp_and_mode_is_never_set(site) {
        site.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        let sql = "SELECT COUNT(*) FROM lab_hosts WHERE mode = 'pure' AND mac IS NOT NULL AND last_seen = \
            (SELECT MAX(timestamp_utc) FROM lab_host_heartbeat)";
        assert_eq!(count(site.database(), sql).await, 1);
    }
}

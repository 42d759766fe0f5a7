//! 1.6: the timeline.

use serde_json::{Value, json};

use crate::harness::{execute, in_secs, reservations};
use crate::site::{Site, has_keys};
use store_support::test_support::TestDatabase;

const TIMELINE: &str = "/api/reservations/timeline";

async fn booked(test: TestDatabase) -> std::sync::Arc<Site> {
    let site = Site::start(test).await;
    reservations::book(site.database(), "0xaa", "1", in_secs(-600), in_secs(600)).await;
    for (action, at) in [
        ("scheduler:start", 1),
        ("wake", 2),
        ("prepare", 3),
        ("release", 4),
        ("power:shutdown", 5),
        ("scheduler:end", 6),
    ] {
        let sql = "INSERT INTO reservation_operations (reservation_id, host, action, status, success, payload, created_at) \
            VALUES ('0xaa', 'lab-ws-01', ?, 'completed', 1, '{\"a\": [1]}', ?)";
        execute(
            site.database(),
            sql,
            [action.into(), format!("2026-03-01 09:00:{at:02}").into()],
        )
        .await;
    }
    site
}

walk! {
    booked;

    async fn s1_6_the_document_has_every_key_of_the_contract(site) {
        site.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        let body = site.get(&format!("{TIMELINE}?reservationId=0xaa")).await.expect(200);
        has_keys(&body, &["reservation", "host", "operations", "phases", "heartbeat", "pagination"]);
        has_keys(&body["reservation"], &["reservationId", "labId", "status", "start", "end", "walletAddress", "createdAt", "updatedAt"]);
        has_keys(&body["host"], &["name", "labId", "config"]);
        has_keys(&body["operations"][0], &["action", "status", "success", "message", "payload", "responseCode", "durationMs", "createdAt"]);
        has_keys(&body["phases"], &["wake", "prepare", "release", "power", "schedulerEnd"]);
        has_keys(&body["heartbeat"], &["timestamp", "ready", "localMode", "localSession", "lastPower", "lastForcedLogoff", "raw"]);
        has_keys(&body["pagination"], &["limit", "offset", "page", "pageSize", "returned", "total", "hasMore", "nextOffset"]);
        assert_eq!(body["operations"][0]["payload"], json!({"a": [1]}), "parsed");
        assert_eq!(body["operations"][0]["createdAt"], "2026-03-01T09:00:01+00:00");
        assert_eq!(body["operations"][0]["success"], true);
    }

    async fn s1_6_each_phase_is_the_newest_row_whose_action_begins_so(site) {
        let body = site.get(&format!("{TIMELINE}?reservation_id=0xaa&limit=1")).await.expect(200);
        for (phase, action) in [("wake", "wake"), ("prepare", "prepare"), ("release", "release"), ("power", "power:shutdown"), ("schedulerEnd", "scheduler:end")] {
            assert_eq!(body["phases"][phase]["action"], action);
        }
    }

    async fn s1_6_limit_and_offset_are_brought_into_range(site) {
        for (query, limit, offset, returned) in [
            ("", 100, 0, 6), ("&limit=x&offset=y", 100, 0, 6), ("&limit=0", 1, 0, 1), ("&limit=9999", 500, 0, 6),
            ("&offset=-4", 100, 0, 6), ("&limit=2&offset=5", 2, 5, 1),
        ] {
            let page = site.get(&format!("{TIMELINE}?reservationId=0xaa{query}")).await.expect(200)["pagination"].clone();
            assert_eq!((&page["limit"], &page["offset"], &page["returned"]), (&json!(limit), &json!(offset), &json!(returned)), "{query}");
            assert_eq!((&page["page"], &page["total"]), (&json!(offset / limit + 1), &json!(6)), "{query}");
            assert_eq!((&page["nextOffset"], &page["hasMore"]), (&json!(offset + returned), &json!(6 > offset + returned)), "{query}");
        }
    }

    async fn s1_6_refusals_have_the_words_of_the_contract(site) {
        assert_eq!(site.get(TIMELINE).await.expect(400)["error"], "reservationId is required");
        let answer = site.get(&format!("{TIMELINE}?reservationId=0xnone")).await;
        assert_eq!(answer.expect(404)["error"], "Reservation not found");
    }

    async fn s1_6_a_lab_without_a_host_has_a_host_without_a_name(site) {
        reservations::book(site.database(), "0xbb", "nobodys", in_secs(0), in_secs(60)).await;
        let body = site.get(&format!("{TIMELINE}?reservationId=0xbb")).await.expect(200);
        assert_eq!(body["host"], json!({"name": null, "labId": "nobodys", "config": null}));
        assert_eq!((&body["heartbeat"], &body["operations"]), (&Value::Null, &json!([])));
    }
}

//! 2.4: answers and input.

use host_sim::Fault;
use serde_json::json;

use crate::site::{Site, order};

walk! {
    Site::start;

    async fn w2_4_wrong_input_is_400_json_that_names_the_field_and_never_a_page(site) {
        for (path, body, field) in [
            ("/api/wol", json!({"mac": "zz"}), "mac"),
            ("/api/wol", json!({"mac": "02:00:00:00:00:01", "port": 70_000}), "port"),
            ("/api/wol", json!({"mac": "02:00:00:00:00:01", "attempts": "many"}), "attempts"),
            ("/api/wol", json!({"mac": "02:00:00:00:00:01", "ping_timeout": 1e9}), "ping_timeout"),
            ("/api/wol", json!({"host": 7}), "host"),
            ("/api/winrm", json!({"host": "lab-ws-01", "command": "status", "args": {"a": 1}}), "args[0]"),
            ("/api/winrm", json!({"host": "lab-ws-01", "command": "status", "transport": "pigeon"}), "transport"),
            ("/api/heartbeat/poll", json!({"host": ["lab-ws-01"]}), "host"),
            ("/api/reservations/start", order("r", "lab-ws-01", json!({"guardGrace": "soon"})), "guardGrace"),
            ("/api/reservations/start", order("r", "lab-ws-01", json!({"wakeOptions": 5})), "wakeOptions"),
            ("/api/reservations/end", order("r", "lab-ws-01", json!({"powerAction": "shutdown"})), "powerAction"),
        ] {
            site.post(path, body.clone()).await.expect_field(field);
        }
        for body in ["[1]", "\"text\"", "7", "true"] {
            let answer = site.send("POST", "/api/wol", &[], body).await;
            assert!(answer.expect(400)["code"].is_string(), "{body}");
        }
    }

    async fn w2_4_a_database_row_that_would_be_lost_is_refused_first(site) {
        let long = "x".repeat(129);
        site.post("/api/reservations/start", order(&long, "lab-ws-01", json!({}))).await.expect_field("reservationId");
        let mode = json!({"release": false, "powerAction": {"mode": "m".repeat(27)}});
        site.post("/api/reservations/end", order("r", "lab-ws-01", mode)).await.expect_field("powerAction.mode");
        assert_eq!(site.lab.sim(1).counts().requests, 0, "nothing reached the host");
    }

    async fn w2_4_a_host_that_fails_is_502_or_504_with_a_code(site) {
        let asleep = site.post("/api/winrm", json!({"host": "lab-ws-02", "command": "status"})).await;
        assert!(matches!(asleep.status, 502 | 504), "{}", asleep.text);
        assert!(asleep.json()["code"].is_string());
        let host = site.lab.sim(3);
        host.set_fault(Fault::NoHeartbeat);
        let poll = site.post("/api/heartbeat/poll", json!({"host": "lab-ws-03"})).await;
        assert_eq!(poll.expect(502)["host"], "lab-ws-03");
        host.clear_faults();
    }

    async fn w2_4_a_poll_says_whether_it_was_stored(site) {
        // It does not wait for a database that takes its time.
        crate::harness::until("a poll is kept", async || {
            let body = site.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
            body["persisted"].as_bool().unwrap().then_some(())
        })
        .await;
    }

    async fn w2_4_an_offset_beyond_any_row_is_400(site) {
        let path = "/api/reservations/timeline?reservationId=r&offset=18446744073709551617";
        site.get(path).await.expect_field("offset");
    }

    async fn w2_4_a_reservation_id_is_text_or_a_whole_number(site) {
        for id in [json!([1]), json!({}), json!(true), json!(1.5)] {
            let mut body = order("r", "lab-ws-01", json!({"wake": false, "prepare": false}));
            body["reservationId"] = id.clone();
            let answer = site.post("/api/reservations/start", body).await;
            assert_eq!(answer.status, 400, "{id}: {}", answer.text);
        }
    }
}

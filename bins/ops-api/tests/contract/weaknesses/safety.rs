//! 2.3: safety.

use serde_json::json;

use crate::harness::{in_secs, reservations};
use crate::site::Site;

walk! {
    Site::start;

    async fn w2_3_arguments_that_a_shell_would_act_upon_are_refused_before_anything_is_sent(site) {
        for args in [json!(["& whoami"]), json!(["%TEMP%"]), json!(["a\u{7}"]), json!(["a\r\nb"])] {
            let body = json!({"host": "lab-ws-01", "command": "session", "args": args});
            let answer = site.post("/api/winrm", body).await;
            answer.expect_field("args[0]");
        }
        assert_eq!(site.lab.sim(1).counts().requests, 0);
    }

    async fn w2_3_the_timeline_shows_no_credentials(site) {
        reservations::book(site.database(), "0xaa", "1", in_secs(0), in_secs(60)).await;
        let answer = site.get("/api/reservations/timeline?reservationId=0xaa").await;
        answer.expect(200);
        let spec = site.lab.sim(1).spec().clone();
        for secret in [spec.password.as_str(), "winrm_pass", "winrm_user"] {
            assert!(!answer.text.contains(secret), "{secret}");
        }
    }

    async fn w2_3_a_request_cannot_choose_account_transport_port_or_clear_text(site) {
        for (field, value) in [("user", json!("other")), ("password", json!("guess")), ("port", json!(80)), ("use_ssl", json!(true)), ("transport", json!("basic"))] {
            let mut body = json!({"host": "lab-ws-01", "command": "status"});
            body[field] = value;
            site.post("/api/winrm", body).await.expect_field(field);
        }
        assert_eq!(site.lab.sim(1).counts().requests, 0);
    }

    async fn w2_3_a_target_is_a_name_or_an_address_in_the_allowed_networks(site) {
        for target in ["-f", "a b", "8.8.8.8"] {
            let body = json!({"host": "lab-ws-01", "ping_target": target, "ping_timeout": 0, "attempts": 1});
            assert_eq!(site.post("/api/wol", body).await.expect(400)["field"], "ping_target", "{target}");
        }
    }

    async fn w2_3_a_name_with_a_line_break_makes_no_line_of_its_own_in_the_log(site) {
        let body = json!({"host": "x\nERROR forged", "command": "status"});
        site.post("/api/winrm", body).await.expect(400);
        assert!(!site.said().lines().any(|line| line.starts_with("ERROR forged")));
    }

    async fn w2_3_a_host_that_fails_is_told_by_a_stable_code_and_a_request_id(site) {
        let answer = site.post("/api/winrm", json!({"host": "lab-ws-02", "command": "status"})).await;
        let body = answer.json();
        assert_eq!((&body["code"], &body["host"]), (&json!("connect"), &json!("lab-ws-02")));
        assert_eq!(body["requestId"].as_str(), answer.header("x-request-id"), "{answer:?}");
        assert_eq!(body["error"], json!("host lab-ws-02 cannot be reached"), "no address, no system's text");
    }
}

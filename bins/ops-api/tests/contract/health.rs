//! 1.3: the frame of all routes, and `/health`.

use serde_json::json;

use crate::site::Site;

const POSTS: [(&str, &str); 5] = [
    ("/api/wol", "mac is required"),
    ("/api/winrm", "host and command are required"),
    ("/api/heartbeat/poll", "host is required"),
    ("/api/reservations/start", "reservationId and host are required"),
    ("/api/reservations/end", "reservationId and host are required"),
];

walk! {
    Site::start;

    async fn s1_3_health_says_ok_and_counts_hosts_and_has_its_database(site) {
        let body = site.get("/health").await.expect(200);
        assert_eq!((&body["status"], &body["hosts_loaded"], &body["db"]), (&json!("ok"), &json!(3), &json!(true)));
    }

    async fn s1_3_a_body_is_read_as_json_whatever_its_content_type(site) {
        for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
            let body = r#"{"host": "lab-ws-01", "command": "status"}"#;
            let answer = site.send("POST", "/api/winrm", &[("content-type", kind)], body).await;
            assert_eq!(answer.expect(200)["exit_code"], 0, "{kind}");
        }
    }

    async fn s1_3_an_absent_broken_or_falsy_body_counts_as_empty(site) {
        for (path, words) in POSTS {
            for body in ["", "{", "null", "0", "false", "\"\"", "[]", "{}"] {
                let answer = site.send("POST", path, &[], body).await;
                assert_eq!(answer.expect(400)["error"], words, "{path} {body:?}");
            }
        }
    }

    async fn s1_3_answers_are_json_and_an_unknown_path_is_404_and_a_wrong_method_405(site) {
        for (method, path, status) in [
            ("GET", "/api/nothing", 404),
            ("POST", "/nothing", 404),
            ("GET", "/api/wol", 405),
            ("POST", "/health", 405),
            ("DELETE", "/api/reservations/timeline", 405),
        ] {
            let body = site.send(method, path, &[], "").await.expect(status);
            assert!(body["error"].is_string(), "{method} {path}");
        }
    }

    async fn s1_3_head_works_where_get_does(site) {
        for (path, status) in [("/health", 200), ("/api/reservations/timeline", 400), ("/api/wol", 405)] {
            let answer = site.send("HEAD", path, &[], "").await;
            assert_eq!((answer.status, answer.text.as_str()), (status, ""), "{path}");
        }
    }

    async fn s1_3_every_path_is_there_below_the_gateways_prefix_as_well(site) {
        for (path, words) in POSTS {
            let answer = site.post(&format!("/ops{path}"), json!({})).await;
            assert_eq!(answer.expect(400)["error"], words, "{path}");
        }
        site.get("/ops/health").await.expect(200);
    }
}

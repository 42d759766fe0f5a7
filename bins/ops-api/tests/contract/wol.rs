//! 1.3: `POST /api/wol`.

use serde_json::{Value, json};

use crate::harness::packets;
use crate::site::{Site, has_keys};

walk! {
    Site::start;

    async fn s1_3_wol_answers_with_success_attempts_duration_and_target(site) {
        let body = site.post("/api/wol", json!({"host": "LAB-ws-01", "ping_timeout": 30})).await.expect(200);
        has_keys(&body, &["success", "attempts_used", "duration_ms", "ping_target"]);
        assert_eq!(body["success"], true);
        assert!(body["attempts_used"].is_u64() && body["duration_ms"].is_u64(), "{body}");
        assert_eq!(body["ping_target"], site.lab.sim(1).address().to_string());
    }

    async fn s1_3_wol_refuses_what_has_no_mac(site) {
        for body in [json!({}), json!({"host": "nobody"}), json!({"host": "lab-ws-03"}), json!({"mac": ""})] {
            let answer = site.post("/api/wol", body.clone()).await;
            assert_eq!(answer.expect(400)["error"], "mac is required", "{body}");
        }
    }

    async fn s1_3_wol_takes_an_unknown_host_with_a_mac_and_numbers_as_text(site) {
        let host = site.lab.sim(2);
        let before = packets(host).len();
        let body = json!({"host": "nobody", "mac": "02-00-02-00-00-01", "broadcast": host.address().to_string(),
            "port": host.wol_port().to_string(), "ping_timeout": "0", "attempts": "2"});
        let body = site.post("/api/wol", body).await.expect(200);
        assert_eq!((&body["success"], &body["ping_target"]), (&json!(false), &Value::Null), "nobody to ask");
        assert_eq!(packets(host).len(), before, "the packet is for another machine");
    }

    async fn s1_3_wol_takes_the_requests_target_before_the_hosts(site) {
        let target = site.lab.sim(3).address().to_string();
        let body = json!({"host": "lab-ws-01", "ping_target": target, "ping_timeout": 1});
        assert_eq!(site.post("/api/wol", body).await.expect(200)["ping_target"], target);
    }

    async fn s1_3_wol_calls_a_host_that_cannot_be_reached_no_error(site) {
        let host = site.lab.sim(2);
        host.set_fault(host_sim::Fault::NeverBoots);
        let body = json!({"host": "lab-ws-02", "broadcast": host.address().to_string(), "port": host.wol_port(),
            "ping_timeout": 0.2, "attempts": 2});
        let body = site.post("/api/wol", body).await.expect(200);
        assert_eq!((&body["success"], &body["attempts_used"]), (&json!(false), &json!(2)));
        assert_eq!(packets(host).len(), 2, "one packet for each attempt");
        host.clear_faults();
    }
}

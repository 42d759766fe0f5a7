//! 1.4: steps and their rows.

use host_sim::Fault;
use serde_json::{Value, json};

use crate::harness::history;
use crate::site::{Site, has_keys, order};

const START: &str = "/api/reservations/start";

walk! {
    Site::start;

    async fn s1_4_a_wake_without_a_mac_is_failed_without_code_duration_or_payload(site) {
        site.lab.sim(3).power_off();
        let gone = site.lab.sim(3).wait_for(host_sim::PowerState::Off, crate::harness::LIMIT).await;
        assert!(gone);
        let body = site.post(START, order("0xnomac", "lab-ws-03", json!({}))).await.expect(502);
        let step = &body["steps"][0];
        assert_eq!((&step["action"], &step["success"], &step["status"]), (&json!("wake"), &json!(false), &json!("failed")));
        assert_eq!((&step["message"], &step["details"]), (&json!("MAC address not configured"), &json!({})));
        let rows = history(site.database(), "0xnomac").await;
        let row = &rows[0];
        assert_eq!((row.response_code, row.duration_ms, &row.payload, row.success), (None, None, &None, false));
        assert_eq!(row.host, "lab-ws-03");
    }

    async fn s1_4_a_wake_has_its_details_in_the_answer_and_in_the_row(site) {
        let body = site.post(START, order("0xwake", "LAB-WS-01", json!({"prepare": false}))).await.expect(200);
        let step = &body["steps"][0];
        has_keys(step, &["action", "success", "status", "message", "details", "durationMs"]);
        assert_eq!((&step["status"], &step["message"]), (&json!("completed"), &json!("Host reachable")));
        let details = &step["details"];
        has_keys(details, &["mac", "pingTarget", "attemptsRequested", "attemptsUsed", "waitSeconds", "port", "broadcast"]);
        let rows = history(site.database(), "0xwake").await;
        let row = &rows[0];
        assert_eq!((row.action.as_str(), row.status.as_str(), row.response_code), ("wake", "completed", Some(200)));
        assert_eq!((row.payload.as_ref(), row.host.as_str()), (Some(details), "lab-ws-01"), "the name from the file");
    }

    async fn s1_4_wake_options_come_before_the_hosts_entry(site) {
        let host = site.lab.sim(1);
        let options = json!({"mac": "02:00:01:00:00:77", "ping_target": host.address().to_string(), "attempts": "5",
            "ping_timeout": 3, "broadcast": host.address().to_string(), "port": host.wol_port()});
        let body = order("0xopts", "lab-ws-01", json!({"prepare": false, "wakeOptions": options}));
        let body = site.post(START, body).await.expect(200);
        let details = &body["steps"][0]["details"];
        assert_eq!(details["mac"].as_str().unwrap().to_lowercase().replace('-', ":"), "02:00:01:00:00:77");
        assert_eq!((&details["attemptsRequested"], &details["waitSeconds"]), (&json!(5), &json!(3)));
        assert_eq!((&details["port"], &details["broadcast"]), (&json!(host.wol_port()), &json!(host.address().to_string())));
        assert_eq!(details["pingTarget"], host.address().to_string());
    }

    async fn s1_4_a_command_has_its_code_and_trimmed_output_in_the_answer_and_in_the_row(site) {
        let body = site.post(START, order("0xcmd", "lab-ws-01", json!({"wake": false, "labId": "12"}))).await.expect(200);
        let step = &body["steps"][0];
        assert_eq!((&step["action"], &step["message"]), (&json!("prepare"), &json!("Exit code 0")));
        let details = &step["details"];
        has_keys(details, &["exitCode", "stdout", "stderr", "args", "durationMs"]);
        let out = details["stdout"].as_str().unwrap();
        assert_eq!(out, out.trim());
        let rows = history(site.database(), "0xcmd").await;
        let row = &rows[0];
        assert_eq!((row.action.as_str(), row.response_code, row.lab_id.as_deref()), ("prepare", Some(0), Some("12")));
        assert_eq!((row.payload.as_ref(), row.duration_ms.is_some()), (Some(details), true));
    }

    async fn s1_4_a_command_that_did_not_arrive_has_no_code_and_no_output(site) {
        let body = site.post(START, order("0xgone", "lab-ws-02", json!({"wake": false}))).await.expect(502);
        let step = &body["steps"][0];
        let details = &step["details"];
        assert_eq!((&details["exitCode"], &details["stdout"], &details["stderr"]), (&Value::Null, &json!(""), &json!("")));
        assert!(!step["message"].as_str().unwrap().is_empty());
        let rows = history(site.database(), "0xgone").await;
        assert_eq!((rows.len(), rows[0].response_code, rows[0].success), (1, None, false));
    }

    async fn s1_4_a_host_that_does_not_wake_is_code_504(site) {
        site.lab.sim(2).set_fault(Fault::NeverBoots);
        let body = order("0xdark", "lab-ws-02", json!({"wakeOptions": {"attempts": 1, "ping_timeout": 1}}));
        let body = site.post(START, body).await.expect(502);
        assert_eq!(body["steps"].as_array().unwrap().len(), 1, "nothing follows");
        let rows = history(site.database(), "0xdark").await;
        assert_eq!((rows[0].response_code, rows[0].status.as_str()), (Some(504), "failed"));
        site.lab.sim(2).clear_faults();
    }
}

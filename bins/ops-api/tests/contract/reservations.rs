//! 1.3: `POST /api/reservations/start` and `/end`.

use host_sim::Fault;
use serde_json::{Value, json};

use crate::harness::commands;
use crate::site::{Site, has_keys, order};

const START: &str = "/api/reservations/start";
const END: &str = "/api/reservations/end";

fn actions(body: &Value) -> Vec<&str> {
    body["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["action"].as_str().unwrap())
        .collect()
}

walk! {
    Site::start;

    async fn s1_3_start_wakes_then_prepares_and_answers_with_the_ids_as_sent(site) {
        let body = json!({"reservation_id": 42, "hostName": "LAB-WS-01", "lab_id": 7});
        let body = site.post(START, body).await.expect(200);
        has_keys(&body, &["success", "reservationId", "host", "labId", "steps"]);
        assert_eq!((&body["reservationId"], &body["labId"]), (&json!(42), &json!(7)), "ids keep their type");
        assert_eq!((&body["success"], &body["host"]), (&json!(true), &json!("LAB-WS-01")));
        assert_eq!(actions(&body), ["wake", "prepare"]);
        assert_eq!(commands(site.lab.sim(1), "prepare-session").last().unwrap().1, ["--guard-grace=90"]);
    }

    async fn s1_3_start_without_a_lab_answers_null_and_does_not_ask_whether_the_host_serves_it(site) {
        let none = order("0xnolab", "lab-ws-01", json!({"wake": false, "prepare": "no"}));
        let body = site.post(START, none).await.expect(200);
        assert_eq!((&body["labId"], actions(&body)), (&Value::Null, vec![]));
        let other = order("0xother", "lab-ws-01", json!({"labId": "of another host", "wake": false, "prepare": 0}));
        site.post(START, other).await.expect(200);
    }

    async fn s1_3_start_takes_prepare_arguments_as_list_value_or_none(site) {
        for (args, sent) in [(json!(["--a", 1]), vec!["--a", "1"]), (json!("--b"), vec!["--b"]), (json!([]), vec![])] {
            let body = order("0xargs", "lab-ws-01", json!({"wake": false, "prepareArgs": args, "guardGrace": 5}));
            site.post(START, body).await.expect(200);
            assert_eq!(commands(site.lab.sim(1), "prepare-session").last().unwrap().1, sent);
        }
        let body = order("0xargs", "lab-ws-01", json!({"wake": false, "guardGrace": "45"}));
        site.post(START, body).await.expect(200);
        assert_eq!(commands(site.lab.sim(1), "prepare-session").last().unwrap().1, ["--guard-grace=45"]);
    }

    async fn s1_3_a_failed_step_ends_the_order_with_502_and_the_same_body(site) {
        let host = site.lab.sim(3);
        host.set_fault(Fault::ExitCode { command: "prepare-session".into(), code: 2 });
        let body = site.post(START, order("0xbad", "lab-ws-03", json!({"wake": false}))).await.expect(502);
        has_keys(&body, &["success", "reservationId", "host", "labId", "steps"]);
        assert_eq!((&body["success"], actions(&body)), (&json!(false), vec!["prepare"]));
        host.clear_faults();
    }

    async fn s1_3_end_releases_with_a_reboot_and_power_follows_only_when_asked_for(site) {
        let plain = order("0xend", "lab-ws-03", json!({}));
        let body = site.post(END, plain).await.expect(200);
        assert_eq!(actions(&body), ["release"]);
        assert_eq!(commands(site.lab.sim(3), "release-session").last().unwrap().1, ["--reboot"]);
        for none in [json!(null), json!({})] {
            let body = order("0xend", "lab-ws-01", json!({"release": "off", "powerAction": none}));
            assert_eq!(actions(&site.post(END, body).await.expect(200)), [""; 0]);
        }
        let body = order("0xend", "lab-ws-01", json!({"releaseArgs": [], "powerAction": {"args": ["--delay=5"]}}));
        let body = site.post(END, body).await.expect(200);
        assert_eq!(actions(&body), ["release", "power:shutdown"]);
        assert_eq!(commands(site.lab.sim(1), "power").last().unwrap().1, ["shutdown", "--delay=5"]);
    }

    async fn s1_3_start_and_end_refuse_in_the_words_of_the_contract(site) {
        for path in [START, END] {
            for body in [json!({"host": "lab-ws-01"}), json!({"reservationId": "", "reservation_id": null, "host": "x"})] {
                assert_eq!(site.post(path, body).await.expect(400)["error"], "reservationId and host are required");
            }
            let answer = site.post(path, order("0xa", "NoBody", json!({}))).await;
            assert_eq!(answer.expect(404)["error"], "host 'NoBody' not found");
        }
    }
}

//! `POST /api/reservations/start` and `/end`: the steps, their answers and their rows.

use host_sim::{Fault, PowerState};
use serde_json::{Value, json};
use store_support::each_backend;

use crate::harness::{HistoryRow, LIMIT, asleep, awake, commands, count, history, packets};
use crate::service::Service;

const START: &str = "/api/reservations/start";
const END: &str = "/api/reservations/end";

/// The row of one step has what its entry in the answer has.
fn row_is_the_step(row: &HistoryRow, step: &Value) {
    assert_eq!(step["action"], row.action);
    assert_eq!(
        (&step["status"], &step["success"]),
        (&json!(row.status), &json!(row.success))
    );
    assert_eq!(step["message"].as_str(), row.message.as_deref());
    assert_eq!(Some(&step["details"]), row.payload.as_ref());
}

each_backend! {
    async fn a_start_wakes_and_prepares_and_each_step_is_a_row(test) {
        let service = Service::start_on(&test, vec![asleep(1)]).await;
        let host = service.lab.sim(1);
        let order = json!({"reservationId": "0xaa", "host": "LAB-WS-01", "labId": 7, "guardGrace": "30"});
        let body = service.post(START, order).await.expect(200);
        assert_eq!(
            (&body["success"], &body["reservationId"], &body["host"], &body["labId"]),
            (&json!(true), &json!("0xaa"), &json!("LAB-WS-01"), &json!(7))
        );
        let steps = body["steps"].as_array().unwrap();
        let rows = history(test.database(), "0xaa").await;
        assert_eq!((steps.len(), rows.len()), (2, 2), "{body}");
        rows.iter().zip(steps).for_each(|(row, step)| row_is_the_step(row, step));
        assert!(rows.iter().all(|row| row.host == "lab-ws-01" && row.lab_id.as_deref() == Some("7")));

        let (wake, prepare) = (&rows[0], &rows[1]);
        assert_eq!((wake.action.as_str(), wake.status.as_str(), wake.response_code), ("wake", "completed", Some(200)));
        assert_eq!(wake.message.as_deref(), Some("Host reachable"));
        assert!(wake.duration_ms.is_some() && steps[0]["durationMs"].is_u64());
        let details = &steps[0]["details"];
        assert_eq!(details["pingTarget"], host.address().to_string());
        assert_eq!((&details["attemptsRequested"], &details["attemptsUsed"]), (&json!(3), &json!(1)));
        assert_eq!((&details["waitSeconds"], &details["port"]), (&json!(10), &json!(host.wol_port())));
        assert_eq!(details["broadcast"], host.address().to_string());
        assert!(details["mac"].is_string());

        assert_eq!((prepare.action.as_str(), prepare.response_code), ("prepare", Some(0)));
        assert_eq!(prepare.message.as_deref(), Some("Exit code 0"));
        let details = &steps[1]["details"];
        assert_eq!((&details["exitCode"], &details["stderr"]), (&json!(0), &json!("")));
        assert_eq!(details["stdout"], "Session prepared", "trimmed");
        assert_eq!(details["args"], json!(["--guard-grace=30"]));
        assert!(details["durationMs"].is_u64());
        assert_eq!(commands(host, "prepare-session")[0].1, ["--guard-grace=30"]);
        assert_eq!(count(test.database(), "SELECT COUNT(*) FROM lab_reservations").await, 0, "no status is touched");
        service.stop().await;
    }
}

each_backend! {
    async fn aliases_are_read_camel_case_first_and_ids_keep_their_type(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let order = json!({"reservation_id": 42, "hostName": "lab-ws-01", "lab_id": "L 1", "wake": false});
        let body = service.post(START, order).await.expect(200);
        assert_eq!((&body["reservationId"], &body["labId"]), (&json!(42), &json!("L 1")));
        let order = json!({"reservationId": "", "reservation_id": "0xsnake", "host": "lab-ws-01", "hostName": "nobody",
            "wake": "no"});
        let body = service.post(START, order).await.expect(200);
        assert_eq!((&body["reservationId"], &body["labId"]), (&json!("0xsnake"), &Value::Null));
        let order = json!({"reservationId": "0xcamel", "reservation_id": "0xsnake", "host": "lab-ws-01", "wake": 0,
            "prepare": false});
        let body = service.post(START, order).await.expect(200);
        assert_eq!((&body["reservationId"], &body["steps"]), (&json!("0xcamel"), &json!([])));
        for (id, rows) in [("42", 1), ("0xsnake", 1), ("0xcamel", 0)] {
            assert_eq!(history(test.database(), id).await.len(), rows, "{id}");
        }
        assert_eq!(packets(service.lab.sim(1)), []);
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prepare_arguments_replace_the_grace() {
    let service = Service::start(vec![awake(1)]).await;
    for args in [json!(["--no-guard", 5, true]), json!("--no-guard"), json!([])] {
        let order = json!({"reservationId": 1, "host": "lab-ws-01", "wake": false, "prepareArgs": args});
        service.post(START, order).await.expect(200);
    }
    let given: Vec<_> = commands(service.lab.sim(1), "prepare-session")
        .into_iter()
        .map(|(_, args)| args)
        .collect();
    assert_eq!(
        given,
        [vec!["--no-guard", "5", "true"], vec!["--no-guard"], vec![]]
    );
    service.stop().await;
}

each_backend! {
    async fn a_step_that_fails_ends_the_start_with_502_and_the_same_body(test) {
        let service = Service::start_on(&test, vec![awake(1), asleep(2)]).await;
        service.lab.sim(1).set_fault(Fault::ExitCode { command: "prepare-session".into(), code: 2 });
        let body = service.post(START, json!({"reservationId": "0xp", "host": "lab-ws-01"})).await.expect(502);
        assert_eq!(body["success"], false);
        let actions: Vec<_> = body["steps"].as_array().unwrap().iter().map(|step| &step["action"]).collect();
        assert_eq!(actions, ["wake", "prepare"]);
        let rows = history(test.database(), "0xp").await;
        row_is_the_step(&rows[1], &body["steps"][1]);
        assert_eq!((rows[1].status.as_str(), rows[1].response_code), ("failed", Some(2)));
        assert_eq!(rows[1].message.as_deref(), Some("Exit code 2"));

        // Unreachable: no exit code, no output, and a sentence instead.
        let order = json!({"reservationId": "0xu", "host": "lab-ws-02", "wake": false});
        let body = service.post(START, order).await.expect(502);
        let details = &body["steps"][0]["details"];
        assert_eq!((&details["exitCode"], &details["stdout"], &details["stderr"]), (&Value::Null, &json!(""), &json!("")));
        let rows = history(test.database(), "0xu").await;
        assert_eq!((rows.len(), rows[0].response_code, rows[0].success), (1, None, false));
        assert!(rows[0].message.as_ref().is_some_and(|message| !message.is_empty()));
        service.stop().await;
    }
}

each_backend! {
    async fn a_wake_that_fails_is_504_in_the_history_and_nothing_follows(test) {
        let lab = crate::harness::Lab::start(vec![asleep(1), awake(2)]).await.on(&test).with("OPS_WAKE_TIMEOUT", "5");
        // No card, no wake.
        lab.write_catalog(|entries| { entries[1].as_object_mut().unwrap().remove("mac"); });
        lab.sim(2).power_off();
        assert!(lab.sim(2).wait_for(PowerState::Off, LIMIT).await);
        lab.sim(1).set_fault(Fault::NeverBoots);
        let service = Service::start_in(lab).await;
        let body = service.post(START, json!({"reservationId": "0xw", "host": "lab-ws-01"})).await.expect(502);
        assert_eq!(body["steps"].as_array().unwrap().len(), 1);
        let rows = history(test.database(), "0xw").await;
        assert_eq!((rows.len(), rows[0].response_code, rows[0].status.as_str()), (1, Some(504), "failed"));
        row_is_the_step(&rows[0], &body["steps"][0]);
        assert_eq!(body["steps"][0]["reason"]["rung"], "tcp_port", "{body}");

        let body = service.post(START, json!({"reservationId": "0xm", "host": "lab-ws-02"})).await.expect(502);
        let step = &body["steps"][0];
        assert_eq!((&step["message"], &step["details"]), (&json!("MAC address not configured"), &json!({})));
        let rows = history(test.database(), "0xm").await;
        assert_eq!((rows[0].response_code, rows[0].duration_ms, &rows[0].payload), (None, None, &None));
        service.stop().await;
    }
}

each_backend! {
    async fn a_plain_end_releases_with_a_reboot(test) {
        let mut spec = awake(1);
        spec.station.student_follows_prepare = true;
        let service = Service::start_on(&test, vec![spec]).await;
        let host = service.lab.sim(1);
        let start = json!({"reservationId": "0xaa", "host": "lab-ws-01", "wake": false});
        service.post(START, start).await.expect(200);
        let body = service.post(END, json!({"reservationId": "0xaa", "host": "lab-ws-01"})).await.expect(200);
        assert_eq!((&body["success"], &body["labId"]), (&json!(true), &Value::Null));
        let rows = history(test.database(), "0xaa").await;
        assert_eq!(rows.len(), 2);
        row_is_the_step(&rows[1], &body["steps"][0]);
        assert_eq!((rows[1].action.as_str(), rows[1].response_code), ("release", Some(0)));
        assert_eq!(commands(host, "release-session")[0].1, ["--reboot"]);
        assert_eq!(body["steps"][0]["details"]["args"], json!(["--reboot"]));
        crate::harness::until_true("it reboots", || host.boots() == 2).await;
        service.stop().await;
    }
}

each_backend! {
    async fn power_comes_after_the_release_under_its_mode(test) {
        let mut spec = awake(1);
        spec.station.student_follows_prepare = true;
        let service = Service::start_on(&test, vec![spec, awake(2)]).await;
        let host = service.lab.sim(1);
        service.post(START, json!({"reservationId": "0xaa", "host": "lab-ws-01", "wake": false})).await.expect(200);
        let order = json!({"reservationId": "0xaa", "host": "lab-ws-01", "releaseArgs": [],
            "powerAction": {"mode": "hibernate", "args": ["--delay=0"]}});
        let body = service.post(END, order).await.expect(200);
        let rows = history(test.database(), "0xaa").await;
        let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["prepare", "release", "power:hibernate"]);
        row_is_the_step(&rows[2], &body["steps"][1]);
        assert_eq!(commands(host, "release-session")[0].1, [""; 0]);
        assert_eq!(commands(host, "power")[0].1, ["hibernate", "--delay=0"]);
        assert!(host.wait_for(PowerState::Off, LIMIT).await);
        assert!(host.is_hibernated());

        // Shut down is what is meant when no mode is named, and a release that is off is no step.
        let order = json!({"reservationId": "0xbb", "host": "lab-ws-02", "release": "off", "powerAction": {"args": []},
            "labId": "9"});
        service.post(END, order).await.expect(200);
        let rows = history(test.database(), "0xbb").await;
        assert_eq!((rows.len(), rows[0].action.as_str(), rows[0].lab_id.as_deref()), (1, "power:shutdown", Some("9")));
        for none in [json!(null), json!({})] {
            let order = json!({"reservationId": "0xcc", "host": "lab-ws-02", "release": false, "powerAction": none});
            assert_eq!(service.post(END, order).await.expect(200)["steps"], json!([]));
        }
        service.stop().await;
    }
}

each_backend! {
    async fn a_release_that_fails_leaves_the_power_on(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let host = service.lab.sim(1);
        host.set_fault(Fault::ExitCode { command: "release-session".into(), code: 3 });
        let order = json!({"reservationId": "0xaa", "host": "lab-ws-01", "powerAction": {"mode": "shutdown"}});
        let body = service.post(END, order).await.expect(502);
        assert_eq!(body["steps"].as_array().unwrap().len(), 1);
        assert_eq!(commands(host, "power"), []);
        assert_eq!(host.power(), PowerState::Ready);
        assert_eq!(history(test.database(), "0xaa").await[0].response_code, Some(3));
        service.stop().await;
    }
}

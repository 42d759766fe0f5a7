//! `POST /api/hosts/reload` and `SIGHUP`: the catalog read anew, whole or not at all.

use std::time::Duration;

use serde_json::{Value, json};
use store_support::each_backend;

use crate::API;
use crate::harness::{Lab, Process, awake, commands, count, migrate, until};
use crate::http::call;
use crate::service::Service;

const PATH: &str = "/api/hosts/reload";

fn names(answer: &Value, key: &str) -> Vec<String> {
    let names = answer[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key}: {answer}"));
    names
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_says_what_it_changed_and_counts_at_once() {
    let service = Service::start(vec![awake(1), awake(2), awake(3)]).await;
    service.lab.write_catalog(|entries| {
        entries.remove(1);
        entries[1]["winrm_pass"] = json!("another");
        let mut new = entries[0].clone();
        new["name"] = json!("lab-ws-09");
        new["labs"] = json!(["99"]);
        entries.push(new);
    });
    let answer = service.post(PATH, json!({})).await.expect(200);
    assert_eq!((&answer["reloaded"], &answer["hosts"]), (&json!(true), &json!(3)));
    assert_eq!(names(&answer, "added"), ["lab-ws-09"]);
    assert_eq!(names(&answer, "removed"), ["lab-ws-02"]);
    assert_eq!(names(&answer, "changed"), ["lab-ws-03"]);
    assert_eq!(
        (&answer["warnings"], &answer["announced"]),
        (&json!([]), &json!(true))
    );
    assert!(!answer.to_string().contains("another"));

    let poll = |host: &str| service.post("/api/heartbeat/poll", json!({"host": host}));
    assert_eq!(poll("lab-ws-02").await.status, 404);
    assert_eq!(poll("lab-ws-09").await.status, 200);
    assert_eq!(poll("lab-ws-03").await.expect(502)["code"], "unauthorized");
    let hosts = service.get("/api/hosts").await.expect(200);
    let shown: Vec<&str> = hosts["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host["name"].as_str().unwrap())
        .collect();
    assert_eq!(shown, ["lab-ws-01", "lab-ws-03", "lab-ws-09"]);

    let again = service.post_text(PATH, "").await.expect(200);
    assert_eq!(
        (names(&again, "added").len(), names(&again, "changed").len()),
        (0, 0)
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_file_is_refused_whole_with_every_problem_and_the_old_hosts_stay() {
    let service = Service::start(vec![awake(1), awake(2)]).await;
    service.lab.write_catalog(|entries| {
        entries[0]["winrm_port"] = json!("many");
        entries[0]["winrm_pass"] = json!("s3cret-of-the-file");
        entries[1]["address"] = json!("8.8.8.8");
        entries[1]["local_mode_flag_path"] = json!(r"C:\Data");
        let good = entries[0].clone();
        entries.push(good);
        entries[2]["name"] = json!("lab-ws-03");
        entries[2]["winrm_port"] = json!(5985);
    });
    let answer = service.post(PATH, json!({})).await.expect(500);
    assert_eq!(answer["error"], "Hosts configuration reload failed");
    assert_eq!(answer["code"], "catalog_invalid");
    let problems = answer["problems"].as_array().unwrap();
    let mut found: Vec<(&str, &str)> = problems
        .iter()
        .map(|problem| {
            (
                problem["host"].as_str().unwrap(),
                problem["key"].as_str().unwrap(),
            )
        })
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("lab-ws-01", "winrm_port"),
            ("lab-ws-02", "address"),
            ("lab-ws-02", "local_mode_flag_path")
        ]
    );
    assert!(!answer.to_string().contains("s3cret-of-the-file"));

    for broken in ["{", "[]"] {
        std::fs::write(service.lab.folder.path().join("hosts.json"), broken).unwrap();
        assert_eq!(
            service.post(PATH, json!({})).await.expect(500)["code"],
            "catalog_invalid"
        );
    }
    std::fs::remove_file(service.lab.folder.path().join("hosts.json")).unwrap();
    let gone = service.post(PATH, json!({})).await.expect(500);
    assert!(
        gone["problems"][0]["message"]
            .as_str()
            .unwrap()
            .ends_with("does not exist"),
        "{gone}"
    );

    assert_eq!(service.handle.catalog().current().hosts().len(), 2);
    let poll = service
        .post("/api/heartbeat/poll", json!({"host": "lab-ws-01"}))
        .await;
    assert_eq!(poll.status, 200);
    service.stop().await;
}

/// A prepare that lasts until the test lets go of it, and what the reload does to it.
async fn reload_during_a_prepare(change: impl FnOnce(&mut Vec<Value>)) -> (Service, crate::http::Answer) {
    let mut spec = awake(1);
    spec.station.durations.prepare = Duration::from_secs(3);
    let lab = Lab::start(vec![spec, awake(2)]).await;
    let gate = lab.gate(1);
    let service = Service::start_in(lab).await;
    let address = service.address();
    let order = json!({"reservationId": "0xaa", "host": "lab-ws-01", "wake": false, "guardGrace": 0});
    let start = tokio::spawn(async move {
        call(
            address,
            "POST",
            "/api/reservations/start",
            &[("content-type", "application/json")],
            order.to_string(),
        )
        .await
    });
    until("the prepare runs", || {
        let begun = !commands(service.lab.sim(1), "prepare-session").is_empty();
        std::future::ready(begun.then_some(()))
    })
    .await;
    gate.stall();
    service.lab.write_catalog(change);
    service.post(PATH, json!({})).await.expect(200);
    assert!(!start.is_finished(), "the reload came in the middle of it");
    gate.resume();
    let answer = start.await.unwrap();
    (service, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_under_way_ends_with_the_entry_it_began_with_when_its_host_is_removed() {
    let (service, answer) = reload_during_a_prepare(|entries| drop(entries.remove(0))).await;
    assert_eq!(answer.expect(200)["success"], true);
    let order = json!({"reservationId": "0xaa", "host": "lab-ws-01", "wake": false});
    assert_eq!(service.post("/api/reservations/start", order).await.status, 404);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_under_way_ends_at_the_old_address_and_the_next_one_goes_to_the_new() {
    let (service, answer) = reload_during_a_prepare(|entries| {
        for key in ["address", "winrm_user", "winrm_pass", "winrm_port"] {
            entries[0][key] = entries[1][key].clone();
        }
        entries.remove(1);
    })
    .await;
    assert_eq!(answer.expect(200)["success"], true);
    let order = json!({"reservationId": "0xbb", "host": "lab-ws-01", "wake": false, "guardGrace": 0});
    service.post("/api/reservations/start", order).await.expect(200);
    assert_eq!(commands(service.lab.sim(1), "prepare-session").len(), 1);
    assert_eq!(commands(service.lab.sim(2), "prepare-session").len(), 1);
    service.stop().await;
}

/// An entry that no host of the farm has; whoever polls it says so in its log.
fn another(entries: &mut Vec<Value>) {
    let mut new = entries[0].clone();
    new["name"] = json!("lab-ws-07");
    new["labs"] = json!(["77"]);
    entries.push(new);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hangup_reloads_and_says_so_in_the_log() {
    let lab = Lab::start(vec![awake(1)]).await;
    let mut api: Process = lab.run(API, &[]);
    api.says("the database is ready").await;
    lab.write_catalog(another);
    api.signal("HUP");
    api.says("the hosts were reloaded").await;
    assert!(api.said().contains("lab-ws-07"));
    std::fs::write(lab.folder.path().join("hosts.json"), "{").unwrap();
    api.signal("HUP");
    api.says("the hosts are not reloaded, those of before stay").await;
    let address = api.address().await;
    let hosts = call(address, "GET", "/api/hosts", &[], "").await.expect(200);
    assert_eq!(hosts["total"], 2);
    assert!(api.terminate().await.0.success());
}

each_backend! {
    async fn a_reload_asked_of_one_process_reaches_the_scheduler_of_another(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![awake(1)])
            .await
            .on(&test)
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "2");
        let mut sidecar = lab.run(API, &["--with-scheduler"]);
        let mut api = lab.run_with(API, &[("OPS_WORKER_NAME", "asked"), ("OPS_POLL_ENABLED", "false")]);
        sidecar.says("polling heartbeats").await;
        api.says("the database is ready").await;
        let address = api.address().await;
        lab.write_catalog(another);
        let answer = until("the reload is announced", || async {
            let json = [("content-type", "application/json")];
            let answer = call(address, "POST", PATH, &json, "{}").await.expect(200);
            (answer["announced"] == true).then_some(answer)
        })
        .await;
        assert_eq!(answer["hosts"], 2);
        sidecar.says("the hosts were reloaded").await;
        // Its poller takes the new host up; both entries lead to the same simulated machine.
        until("the new host is polled", || async {
            let sql = "SELECT COUNT(*) FROM ops_host_state WHERE host_name = 'lab-ws-07' AND last_success_at IS NOT NULL";
            (count(test.database(), sql).await == 1).then_some(())
        })
        .await;
        assert!(api.terminate().await.0.success());
        assert!(sidecar.terminate().await.0.success());
    }
}

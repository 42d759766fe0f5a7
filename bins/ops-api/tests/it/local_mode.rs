//! `POST /api/hosts/local-mode`: the file on the station, under the host's claim.

use reservation_engine::Store as _;
use serde_json::json;
use std::time::Duration;

use crate::harness::{Lab, asleep, awake};
use crate::service::Service;

const PATH: &str = "/api/hosts/local-mode";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_is_put_into_local_mode_and_taken_out() {
    let service = Service::start(vec![awake(1)]).await;
    let on = json!({"host": "LAB-WS-01", "enabled": true});
    let answer = service.post(PATH, on.clone()).await.expect(200);
    assert_eq!(
        answer,
        json!({"host": "LAB-WS-01", "enabled": true, "localModeEnabled": true, "changed": true, "verified": true})
    );
    assert_eq!(service.post(PATH, on).await.expect(200)["changed"], false);
    service.lab.sim(1).write_heartbeat();
    let poll = service
        .post("/api/heartbeat/poll", json!({"host": "lab-ws-01"}))
        .await;
    assert_eq!(poll.expect(200)["heartbeat"]["status"]["localModeEnabled"], true);
    // The false words count, as everywhere.
    let off = json!({"host": "lab-ws-01", "enabled": "no"});
    let answer = service.post(PATH, off).await.expect(200);
    assert_eq!(
        (&answer["enabled"], &answer["changed"]),
        (&json!(false), &json!(true))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_have_the_words_of_the_contract_and_reach_no_host() {
    let service = Service::start(vec![awake(1)]).await;
    for (body, status, error) in [
        (json!({"enabled": true}), 400, "host is required"),
        (json!({"host": "lab-ws-01"}), 400, "enabled is required"),
        (
            json!({"host": "NoSuch", "enabled": true}),
            404,
            "host 'NoSuch' not found",
        ),
    ] {
        assert_eq!(service.post(PATH, body).await.expect(status)["error"], error);
    }
    service
        .post(PATH, json!({"host": 7, "enabled": true}))
        .await
        .expect_field("host");
    assert_eq!(service.lab.sim(1).counts().requests, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_host_is_left_alone_and_a_silent_one_is_told() {
    let lab = Lab::start(vec![awake(1), asleep(2)])
        .await
        .with("OPS_HOST_WAIT", "0");
    let service = Service::start_in(lab).await;
    let site = service.handle.current().unwrap();
    let host = lab_model::HostName::parse("lab-ws-01").unwrap();
    let lease = Duration::from_secs(600);
    let claim = site
        .reservations
        .claim_host(&host, "somebody", lease)
        .await
        .unwrap()
        .unwrap();
    let body = json!({"host": "lab-ws-01", "enabled": true});
    let busy = service.post(PATH, body.clone()).await.expect(409);
    assert_eq!(
        (&busy["code"], &busy["holder"]),
        (&json!("host_busy"), &json!("somebody"))
    );
    assert_eq!(service.lab.sim(1).counts().requests, 0);
    site.reservations.give_back(&claim).await.unwrap();
    service.post(PATH, body).await.expect(200);

    let silent = service
        .post(PATH, json!({"host": "lab-ws-02", "enabled": true}))
        .await;
    assert!([502, 504].contains(&silent.status), "{silent:?}");
    assert_eq!(silent.json()["host"], "lab-ws-02");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_host_does_not_take_is_an_error() {
    let lab = Lab::start(vec![awake(1)]).await;
    lab.write_catalog(|entries| entries[0]["local_mode_flag_path"] = json!(r"Z:\gone\local-mode.flag"));
    let service = Service::start_in(lab).await;
    let answer = service
        .post(PATH, json!({"host": "lab-ws-01", "enabled": true}))
        .await
        .expect(502);
    assert_eq!(answer["code"], "local_mode_not_taken");
    service.stop().await;
}

//! `POST /api/wol`: packets, and whether something answers.

use host_sim::{PowerState, SimHost};
use serde_json::{Value, json};

use crate::harness::{LIMIT, asleep, until_true};
use crate::service::Service;

/// Hexadecimal, as an operator would copy it.
fn mac(host: &SimHost) -> String {
    host.mac().map(|byte| format!("{byte:02X}")).join("-")
}

/// Where the packets of a host go; `/api/wol` has these from the request alone.
fn to(host: &SimHost, more: Value) -> Value {
    let mut body = json!({"broadcast": host.address().to_string(), "port": host.wol_port()});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sleeping_host_is_woken_and_found_reachable() {
    let service = Service::start(vec![asleep(1)]).await;
    let host = service.lab.sim(1);
    let answer = service
        .post(
            "/api/wol",
            to(host, json!({"host": "LAB-ws-01", "ping_timeout": "30"})),
        )
        .await;
    let body = answer.expect(200);
    assert_eq!(body["success"], true);
    assert_eq!(body["attempts_used"], 1);
    assert_eq!(body["ping_target"], host.address().to_string());
    assert!(body["duration_ms"].is_u64());
    assert_eq!(body.as_object().unwrap().len(), 4);
    assert!(host.wait_for(PowerState::Ready, LIMIT).await);
    assert_eq!(host.counts().packets_valid, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_host_with_a_mac_is_woken_with_numbers_as_text_and_nobody_to_ask() {
    let service = Service::start(vec![asleep(1)]).await;
    let host = service.lab.sim(1);
    let port = host.wol_port().to_string();
    let request =
        json!({"host": "nobody", "mac": mac(host), "port": port, "attempts": "2", "ping_timeout": "0.05"});
    let body = service.post("/api/wol", to(host, request)).await.expect(200);
    assert_eq!(
        (&body["success"], &body["attempts_used"], &body["ping_target"]),
        (&json!(false), &json!(2), &Value::Null)
    );
    until_true("both packets arrived", || host.counts().packets_valid == 2).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_mac_of_the_request_wins_over_the_hosts() {
    let service = Service::start(vec![asleep(1), asleep(2)]).await;
    let (named, meant) = (service.lab.sim(1), service.lab.sim(2));
    let request = json!({"host": "lab-ws-01", "mac": mac(meant), "attempts": 1, "ping_timeout": 0});
    service.post("/api/wol", to(meant, request)).await.expect(200);
    until_true("the other host's card is meant", || {
        meant.counts().packets_valid == 1
    })
    .await;
    assert_eq!(named.counts().packets_valid, 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_does_not_answer_is_no_error() {
    let service = Service::start(vec![asleep(1)]).await;
    let host = service.lab.sim(1);
    host.set_fault(host_sim::Fault::NeverBoots);
    let request = json!({"host": "lab-ws-01", "attempts": 2, "ping_timeout": 0.2});
    let body = service.post("/api/wol", to(host, request)).await.expect(200);
    assert_eq!(
        (&body["success"], &body["attempts_used"]),
        (&json!(false), &json!(2))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_mac_there_is_nothing_to_wake() {
    let service = Service::start(vec![]).await;
    for body in [
        json!({}),
        json!({"host": "nobody"}),
        json!({"mac": ""}),
        json!({"mac": null}),
    ] {
        assert_eq!(
            service.post("/api/wol", body).await.expect(400)["error"],
            "mac is required"
        );
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_cannot_be_used_is_refused_by_name_and_no_packet_leaves() {
    let service = Service::start(vec![asleep(1)]).await;
    let host = service.lab.sim(1);
    let wrong = [
        ("mac", json!("not-a-mac")),
        ("mac", json!(17)),
        ("port", json!(70_000)),
        ("port", json!(0)),
        ("port", json!("nine")),
        ("attempts", json!(100_000)),
        ("attempts", json!("many")),
        ("attempts", json!([])),
        ("ping_timeout", json!(1e9)),
        ("ping_timeout", json!("soon")),
        ("ping_timeout", json!("NaN")),
        ("ping_timeout", json!("inf")),
        ("ping_timeout", json!(-1)),
        ("ping_target", json!("-f")),
        ("ping_target", json!("a b")),
        ("ping_target", json!("8.8.8.8")),
        ("broadcast", json!("8.8.8.8")),
        ("broadcast", json!("everywhere")),
        ("host", json!(["lab-ws-01"])),
        ("host", json!("x".repeat(300))),
    ];
    for (field, value) in wrong {
        let mut body = to(
            host,
            json!({"host": "lab-ws-01", "attempts": 1, "ping_timeout": 0}),
        );
        body[field] = value.clone();
        let answer = service.post("/api/wol", body).await;
        assert_eq!(answer.status, 400, "{field} {value}: {}", answer.text);
        assert_eq!(answer.json()["field"], field, "{value}: {}", answer.text);
    }
    let counts = host.counts();
    assert_eq!((counts.packets_valid, counts.packets_invalid), (0, 0));
    assert_eq!(host.power(), PowerState::Off);
    service.stop().await;
}

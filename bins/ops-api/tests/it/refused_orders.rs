//! Orders for reservations that are refused before anything reaches a host.

use serde_json::{Value, json};

use crate::harness::{asleep, awake, history};
use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_contract_words_is_worded_so() {
    let service = Service::start(vec![awake(1)]).await;
    for path in ["/api/reservations/start", "/api/reservations/end"] {
        for body in [
            json!({}),
            json!({"reservationId": "0xaa"}),
            json!({"host": "lab-ws-01"}),
            json!({"reservationId": "", "host": "lab-ws-01"}),
            json!({"reservationId": "0xaa", "host": null}),
        ] {
            let answer = service.post(path, body).await;
            assert_eq!(answer.expect(400)["error"], "reservationId and host are required");
        }
        let unknown = service
            .post(path, json!({"reservationId": "0xaa", "host": "NoBody"}))
            .await;
        assert_eq!(unknown.expect(404)["error"], "host 'NoBody' not found");
    }
    service.stop().await;
}

async fn refused(service: &Service, path: &str, field: &str, change: (&str, Value)) {
    let mut body = json!({"reservationId": "0xaa", "host": "lab-ws-01"});
    body[change.0] = change.1;
    let answer = service.post(path, body.clone()).await;
    assert_eq!(answer.status, 400, "{body}: {}", answer.text);
    assert_eq!(answer.json()["field"], field, "{body}: {}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_value_is_named_before_a_packet_or_a_command_leaves() {
    let service = Service::start(vec![awake(1), asleep(2)]).await;
    let long = "x".repeat(129);
    for path in ["/api/reservations/start", "/api/reservations/end"] {
        for (field, value) in [
            ("reservationId", json!(long)),
            ("reservationId", json!([1])),
            ("reservationId", json!({"a": 1})),
            ("reservationId", json!(true)),
            ("reservationId", json!(1.5)),
            ("host", json!(7)),
            ("host", json!(["lab-ws-01"])),
            ("host", json!(long)),
            ("labId", json!(long)),
            ("labId", json!([1])),
        ] {
            refused(&service, path, field, (field, value)).await;
        }
    }
    for (field, change) in [
        ("wakeOptions", ("wakeOptions", json!("fast"))),
        ("wakeOptions", ("wakeOptions", json!([1]))),
        ("wakeOptions.mac", ("wakeOptions", json!({"mac": "zz"}))),
        (
            "wakeOptions.attempts",
            ("wakeOptions", json!({"attempts": 100_000})),
        ),
        (
            "wakeOptions.ping_timeout",
            ("wakeOptions", json!({"ping_timeout": 1e9})),
        ),
        (
            "wakeOptions.ping_target",
            ("wakeOptions", json!({"ping_target": "-f"})),
        ),
        (
            "wakeOptions.broadcast",
            ("wakeOptions", json!({"broadcast": "nowhere"})),
        ),
        ("wakeOptions.port", ("wakeOptions", json!({"port": "nine"}))),
        ("guardGrace", ("guardGrace", json!("ninety"))),
        ("guardGrace", ("guardGrace", json!(-1))),
        ("prepareArgs[0]", ("prepareArgs", json!(["a\u{7}b"]))),
        ("prepareArgs[1]", ("prepareArgs", json!(["a", {}]))),
        ("prepareArgs[0]", ("prepareArgs", json!("& whoami"))),
    ] {
        refused(&service, "/api/reservations/start", field, change).await;
    }
    for (field, change) in [
        ("powerAction", ("powerAction", json!("shutdown"))),
        ("powerAction", ("powerAction", json!(["shutdown"]))),
        (
            "powerAction.mode",
            ("powerAction", json!({"mode": "x".repeat(27)})),
        ),
        ("powerAction.mode", ("powerAction", json!({"mode": 1}))),
        (
            "powerAction.args[0]",
            ("powerAction", json!({"mode": "shutdown", "args": [{}]})),
        ),
        ("releaseArgs[0]", ("releaseArgs", json!([[1]]))),
        ("releaseArgs[1]", ("releaseArgs", json!(["--reboot", "%TEMP%"]))),
    ] {
        refused(&service, "/api/reservations/end", field, change).await;
    }
    let counts = service.lab.sim(1).counts();
    assert_eq!(
        (counts.requests, counts.packets_valid, counts.packets_invalid),
        (0, 0, 0)
    );
    let site = service.handle.current().unwrap();
    assert_eq!(history(&site.database, "0xaa").await, []);
    service.stop().await;
}

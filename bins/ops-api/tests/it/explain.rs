//! `GET /api/reservations/{id}/explain` and `GET /api/hosts/{name}/explain`: what happens next, and why not yet.

use serde_json::{Value, json};
use store_support::each_backend;

use crate::harness::{Lab, awake, in_secs, reservations};
use crate::service::Service;

fn of(id: &str) -> String {
    format!("/api/reservations/{id}/explain")
}

each_backend! {
    async fn a_reservation_says_what_comes_next_and_what_that_waits_for(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let db = test.database();
        reservations::book(db, "0xaa", "1", in_secs(3600), in_secs(7200)).await;
        let body = service.get(&of("0xaa")).await.expect(200);
        assert_eq!((&body["reservationId"], &body["labId"]), (&json!("0xaa"), &json!("1")));
        assert_eq!((&body["status"], &body["host"]), (&json!("CONFIRMED"), &json!("lab-ws-01")));
        assert_eq!((&body["next"]["what"], &body["wait"]["code"]), (&json!("wake"), &json!("not_due")));
        assert_eq!(body["next"]["at"], body["wait"]["until"]);
        assert_eq!((&body["lastFailure"], &body["claim"]), (&Value::Null, &Value::Null));
        assert_eq!(body["operations"], json!([]));
        let lead = &body["lead"];
        assert_eq!((&lead["effectiveSecs"], &lead["capped"]), (&json!(120.0), &json!(false)));
        assert!(body["summary"].as_str().unwrap().starts_with("next: wake; "), "{body}");

        let host = service.get("/ops/api/hosts/LAB-WS-01/explain").await.expect(200);
        assert_eq!((&host["presence"], &host["nextFor"]), (&json!("here"), &json!("0xaa")));
        assert_eq!(host["next"], body["next"]);
        assert_eq!(host["reservations"][0]["reservationId"], "0xaa");
        service.stop().await;
    }
}

each_backend! {
    async fn a_lab_that_no_host_serves_says_so(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        reservations::book(test.database(), "0xbb", "99", in_secs(60), in_secs(7200)).await;
        let body = service.get(&of("0xbb")).await.expect(200);
        assert_eq!((&body["host"], &body["lead"]), (&Value::Null, &Value::Null));
        assert_eq!(body["next"]["what"], "find_host");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unknown_is_404_and_what_is_no_name_is_400() {
    let service = Service::start(vec![awake(1)]).await;
    let answer = service.get(&of("0xnobody")).await.expect(404);
    assert_eq!(
        (&answer["code"], &answer["error"]),
        (&json!("unknown_reservation"), &json!("Reservation not found"))
    );
    let answer = service.get("/api/hosts/lab-ws-77/explain").await.expect(404);
    assert_eq!(
        (&answer["code"], &answer["error"]),
        (
            &json!("unknown_host"),
            &json!("host 'lab-ws-77' not found in config")
        )
    );
    let long = "x".repeat(200);
    for path in [of(&long), format!("/api/hosts/{long}/explain")] {
        assert_eq!(service.get(&path).await.expect(400)["code"], "invalid_field");
    }
    let idle = service.get("/api/hosts/lab-ws-01/explain").await.expect(200);
    assert_eq!(
        (&idle["next"], &idle["summary"]),
        (&Value::Null, &json!("nothing is planned"))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_is_for_those_with_the_token() {
    let lab = Lab::start(vec![awake(1)]).await.with("OPS_SECRET", "let-me-in");
    let service = Service::start_in(lab).await;
    for path in [of("0xaa"), "/api/hosts/lab-ws-01/explain".to_owned()] {
        service.get(&path).await.expect(401);
    }
    service.stop().await;
}

//! `POST` and `DELETE /api/hosts/{name}/maintenance`, and where it is seen.

use serde_json::{Value, json};
use store_support::each_backend;

use crate::harness::{awake, in_secs, migrate, packets, reservations, until};
use crate::http::{Answer, call};
use crate::service::Service;

const PATH: &str = "/api/hosts/lab-ws-01/maintenance";

impl Service {
    async fn take(&self, path: &str, body: Value) -> Answer {
        let headers = [("content-type", "application/json")];
        call(self.address(), "POST", path, &headers, body.to_string()).await
    }

    async fn end_maintenance(&self, path: &str) -> (u16, Value) {
        let headers = [("content-type", "application/json")];
        let answer = call(self.address(), "DELETE", path, &headers, "").await;
        (answer.status, answer.json())
    }
}

each_backend! {
    async fn a_host_is_taken_and_given_back_and_its_reservation_waits_meanwhile(test) {
        migrate(test.database()).await;
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let record = service
            .take(PATH, json!({"reason": " new disk ", "until": "2099-01-01T00:00:00Z"}))
            .await
            .expect(400);
        assert_eq!((&record["code"], &record["field"]), (&json!("invalid_field"), &json!("until")));
        let record = service.take(PATH, json!({"reason": " new disk ", "owner": "ana"})).await.expect(200);
        assert_eq!(record["host"], "lab-ws-01");
        assert_eq!((&record["reason"], &record["owner"], &record["until"]), (&json!("new disk"), &json!("ana"), &Value::Null));
        let since = record["since"].as_str().unwrap();
        assert!(since.ends_with('Z') && since.len() == 24, "{since}");

        let until_at = in_secs(3600);
        let changed = service
            .take("/api/hosts/LAB-ws-01/maintenance", json!({"reason": "new fan", "until": until_at.to_rfc3339()}))
            .await
            .expect(200);
        assert_eq!((&changed["since"], &changed["reason"]), (&record["since"], &json!("new fan")));
        assert!(changed["owner"].is_string(), "the caller's name: {changed}");
        assert!(changed["until"].as_str().unwrap().ends_with('Z'));

        let scheduler = ops_scheduler::start(service.handle.clone());
        reservations::book(test.database(), "0xaa", "1", in_secs(30), in_secs(600)).await;
        let told = until("the reservation waits", || async {
            let told = service.get("/api/reservations/0xaa/explain").await.expect(200);
            (told["wait"]["code"] == "maintenance").then_some(told)
        })
        .await;
        assert_eq!(told["maintenance"]["reason"], "new fan");
        assert!(told["summary"].as_str().unwrap().contains("new fan"), "{told}");
        let told = service.get("/api/hosts/lab-ws-01/explain").await.expect(200);
        assert_eq!(told["maintenance"]["reason"], "new fan");
        assert!(packets(service.lab.sim(1)).is_empty());

        let (status, ended) = service.end_maintenance(PATH).await;
        assert_eq!((status, ended), (200, json!({"host": "lab-ws-01", "ended": true})));
        let (_, ended) = service.end_maintenance(PATH).await;
        assert_eq!(ended["ended"], false);
        until("the reservation is active", || async {
            (crate::harness::status(test.database(), "0xaa").await == "ACTIVE").then_some(())
        })
        .await;
        scheduler.stop().await;
        service.stop().await;
    }
}

each_backend! {
    async fn orders_are_carried_out_meanwhile_and_their_answers_name_the_maintenance(test) {
        let service = Service::start_on(&test, vec![awake(1), awake(2)]).await;
        let (address, port) = (service.lab.sim(1).address().to_string(), service.lab.sim(1).wol_port());
        let orders = [
            ("/api/winrm", json!({"host": "lab-ws-01", "command": "status-json"})),
            ("/api/winrm", json!({"host": "LAB-WS-01", "command": "release-session"})),
            ("/api/wol", json!({"host": "lab-ws-01", "broadcast": address, "port": port, "attempts": 1})),
            ("/api/reservations/start", json!({"host": "lab-ws-01", "reservationId": "0x1", "guardGrace": 0})),
            ("/api/reservations/end", json!({"host": "lab-ws-01", "reservationId": "0x1", "releaseArgs": []})),
        ];
        for (path, order) in &orders {
            let answer = service.post(path, order.clone()).await.expect(200);
            assert_eq!(answer.get("maintenance"), None, "{path} {answer}");
        }
        let record = service.take(PATH, json!({"reason": "new disk", "owner": "ana"})).await.expect(200);
        let named = json!({"reason": "new disk", "owner": "ana", "since": record["since"], "until": null});
        // The list is read once a second.
        until("an answer names the maintenance", || async {
            let answer = service.post(orders[0].0, orders[0].1.clone()).await.expect(200);
            answer.get("maintenance").is_some().then_some(())
        })
        .await;
        for (path, order) in &orders {
            let answer = service.post(path, order.clone()).await.expect(200);
            assert_eq!(answer["maintenance"], named, "{path} {answer}");
        }
        let other = json!({"host": "lab-ws-02", "command": "status-json"});
        let other = service.post("/api/winrm", other).await.expect(200);
        assert_eq!(other.get("maintenance"), None);
        let (status, _) = service.end_maintenance(PATH).await;
        assert_eq!(status, 200);
        until("no answer names it any more", || async {
            let answer = service.post(orders[0].0, orders[0].1.clone()).await.expect(200);
            answer.get("maintenance").is_none().then_some(())
        })
        .await;
        service.stop().await;
    }
}

each_backend! {
    async fn what_makes_no_sense_is_refused_with_its_field(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        for (body, field) in [
            (json!({}), "reason"),
            (json!({"reason": "  "}), "reason"),
            (json!({"reason": "x".repeat(257)}), "reason"),
            (json!({"reason": "a\nb"}), "reason"),
            (json!({"reason": 7}), "reason"),
            (json!({"reason": "x", "owner": "y".repeat(129)}), "owner"),
            (json!({"reason": "x", "until": "2020-01-01T00:00:00Z"}), "until"),
            (json!({"reason": "x", "until": "soon"}), "until"),
            (json!({"reason": "x", "until": 7}), "until"),
        ] {
            let refused = service.take(PATH, body.clone()).await.expect(400);
            assert_eq!(refused["field"], field, "{body} {refused}");
        }
        let unknown = service
            .take("/api/hosts/nowhere/maintenance", json!({"reason": "x"}))
            .await
            .expect(404);
        assert_eq!(unknown["code"], "unknown_host");
        let (status, unknown) = service.end_maintenance("/api/hosts/nowhere/maintenance").await;
        assert_eq!((status, &unknown["code"]), (404, &json!("unknown_host")));
        service.stop().await;
    }
}

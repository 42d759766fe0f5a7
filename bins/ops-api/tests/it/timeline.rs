//! `GET /api/reservations/timeline`: the story of one reservation.

use std::time::Duration;

use lab_model::{HostName, ReservationId};
use reservation_engine::{FailedTry, NewOperation, OperationKind, Reason, State, Step, Store as _};
use serde_json::{Value, json};
use store_support::{Database, each_backend};

use crate::harness::{Lab, awake, execute, in_secs, migrate, reservations};
use crate::service::Service;

const TIMELINE: &str = "/api/reservations/timeline";

/// A row of the history, `at` seconds into a minute.
async fn done(db: &Database, action: &str, success: bool, at: u32) {
    let sql = "INSERT INTO reservation_operations (reservation_id, lab_id, host, action, status, success, response_code, \
               duration_ms, payload, message, created_at) VALUES ('0xaa', '1', 'lab-ws-01', ?, ?, ?, 200, 12, ?, ?, ?)";
    let status = if success { "completed" } else { "failed" };
    let (message, stamp) = (format!("{action} at {at}"), format!("2026-03-01 09:00:{at:02}"));
    let payload = json!({"n": at}).to_string();
    let values = [
        action.into(),
        status.into(),
        success.into(),
        payload.into(),
        message.into(),
        stamp.into(),
    ];
    assert_eq!(execute(db, sql, values).await, 1);
}

each_backend! {
    async fn every_field_of_the_contract_is_there(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let db = test.database();
        let start = "2026-03-01T09:00:00Z".parse().unwrap();
        let end = "2026-03-01T10:00:00Z".parse().unwrap();
        reservations::book(db, "0xaa", "1", start, end).await;
        for (action, at) in [("wake", 1), ("wake", 2), ("prepare", 3), ("scheduler:start", 4), ("power:shutdown", 6)] {
            done(db, action, at != 1, at).await;
        }
        let path = format!("{TIMELINE}?reservationId=0xaa");
        let before = service.get(&path).await.expect(200);
        assert_eq!(before["heartbeat"], Value::Null);
        service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        let body = service.get(&path).await.expect(200);

        let reservation = &body["reservation"];
        let (from, to) = ("2026-03-01T09:00:00+00:00", "2026-03-01T10:00:00+00:00");
        assert_eq!((&reservation["reservationId"], &reservation["labId"]), (&json!("0xaa"), &json!("1")));
        assert_eq!((&reservation["status"], &reservation["walletAddress"]), (&json!("CONFIRMED"), &json!("0xde")));
        assert_eq!((&reservation["start"], &reservation["end"]), (&json!(from), &json!(to)));
        for key in ["createdAt", "updatedAt"] {
            assert!(reservation[key].as_str().unwrap().ends_with("+00:00"), "{reservation}");
        }
        assert_eq!((&body["host"]["name"], &body["host"]["labId"]), (&json!("lab-ws-01"), &json!("1")));
        assert_eq!(body["host"]["config"]["address"], service.lab.sim(1).address().to_string());

        let operations = body["operations"].as_array().unwrap();
        assert_eq!(operations.len(), 5);
        let first = json!({"action": "wake", "status": "failed", "success": false, "message": "wake at 1",
            "payload": {"n": 1}, "responseCode": 200, "durationMs": 12, "createdAt": "2026-03-01T09:00:01+00:00"});
        assert_eq!(operations[0], first);
        let phases = &body["phases"];
        assert_eq!(phases["wake"], operations[3], "scheduler:start counts as a wake, and the newest is shown");
        assert_eq!((&phases["prepare"], &phases["power"]), (&operations[2], &operations[4]));
        assert_eq!((&phases["release"], &phases["schedulerEnd"]), (&Value::Null, &Value::Null));

        let heartbeat = &body["heartbeat"];
        let flags = (&heartbeat["ready"], &heartbeat["localMode"], &heartbeat["localSession"]);
        assert_eq!(flags, (&json!(true), &json!(false), &json!(false)), "booleans");
        assert_eq!(heartbeat["lastPower"], json!({"timestamp": null, "mode": null}));
        assert_eq!(heartbeat["lastForcedLogoff"], json!({"timestamp": null, "user": null}));
        assert_eq!(heartbeat["raw"]["schemaVersion"], "1.0.0");
        assert!(heartbeat["timestamp"].as_str().unwrap().ends_with("+00:00"));
        let all = json!({"limit": 100, "offset": 0, "page": 1, "pageSize": 100, "returned": 5, "total": 5,
            "hasMore": false, "nextOffset": 5});
        assert_eq!(body["pagination"], all);
        service.stop().await;
    }
}

each_backend! {
    async fn a_step_that_is_at_work_is_told_before_there_is_a_row_of_it(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let (start, end) = (in_secs(3600), in_secs(7200));
        reservations::book(test.database(), "0xaa", "1", start, end).await;
        let path = format!("{TIMELINE}?reservationId=0xaa");
        assert_eq!(service.get(&path).await.expect(200).get("underWay"), None);

        let store = &service.handle.current().unwrap().reservations;
        let host = HostName::parse("lab-ws-01").unwrap();
        let claim = store.claim_host(&host, "gateway-1/3", Duration::from_secs(3600)).await.unwrap().unwrap();
        let new = NewOperation {
            key: "start:0xaa".to_owned(),
            kind: OperationKind::Start,
            reservation: ReservationId::parse("0xaa").unwrap(),
            lab: None,
            host,
            state: State::first(Step::Wake),
            due_at: start,
        };
        let mut operation = store.open_operation(&claim, new, start).await.unwrap();
        let since = "2026-03-01T08:58:41Z".parse().unwrap();
        let reason = Reason::new("wake_no_answer", "nothing answered").at_rung("ping");
        let last = Some(FailedTry { step: Step::Wake, reason, at: since });
        operation.state = State::Running { step: Step::Wake, attempt: 2, since, last };
        store.begin_attempt(&claim, &operation, Step::Wake, 2, since).await.unwrap();
        let body = service.get(&path).await.expect(200);
        assert_eq!(body["operations"], json!([]));
        assert_eq!(body["underWay"], "waking, attempt 2, since 2026-03-01T08:58:41Z, by gateway-1/3; \
            the last answer was: nothing answered (wake_no_answer at rung ping)");

        // Nobody is at it any more.
        store.give_back(&claim).await.unwrap();
        assert_eq!(service.get(&path).await.expect(200).get("underWay"), None);
        service.stop().await;
    }
}

each_backend! {
    async fn pages_follow_the_rules_of_the_contract(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![]).await.on(&test).with("OPS_TIMELINE_MAX_OPS", "4");
        let service = Service::start_in(lab.with("OPS_TIMELINE_DEFAULT_LIMIT", "3")).await;
        let db = test.database();
        reservations::book(db, "0xaa", "1", in_secs(0), in_secs(60)).await;
        for at in 1..=7 {
            done(db, "wake", true, at).await;
        }
        // limit and offset as asked for, then as they are, the page, how many come, and whether there are more.
        for (query, limit, offset, page, returned, more) in [
            ("", 3, 0, 1, 3, true),
            ("&limit=2", 2, 0, 1, 2, true),
            ("&limit=2&offset=2", 2, 2, 2, 2, true),
            ("&limit=2&offset=6", 2, 6, 4, 1, false),
            ("&limit=2&offset=5", 2, 5, 3, 2, false),
            ("&limit=0", 1, 0, 1, 1, true),
            ("&limit=-5", 1, 0, 1, 1, true),
            ("&limit=99999999999999999999999", 4, 0, 1, 4, true),
            ("&limit=many&offset=few", 3, 0, 1, 3, true),
            ("&limit=2.5", 3, 0, 1, 3, true),
            ("&offset=-3", 3, 0, 1, 3, true),
            ("&offset=7", 3, 7, 3, 0, false),
            ("&limit=4&offset=1000000000000", 4, 1_000_000_000_000_u64, 250_000_000_001_u64, 0, false),
        ] {
            let body = service.get(&format!("{TIMELINE}?reservation_id=0xaa{query}")).await.expect(200);
            let expected = json!({"limit": limit, "offset": offset, "page": page, "pageSize": limit,
                "returned": returned, "total": 7, "hasMore": more, "nextOffset": offset + returned});
            assert_eq!(body["pagination"], expected, "{query}");
            let shown = body["operations"].as_array().unwrap();
            assert_eq!(shown.len() as u64, returned, "{query}");
            if let Some(first) = shown.first() {
                assert_eq!(first["payload"]["n"], offset + 1, "{query}");
            }
            assert_eq!(body["phases"]["wake"]["payload"]["n"], 7, "phases look at the newest, whatever the page");
        }
        let beyond = format!("{TIMELINE}?reservationId=0xaa&offset=36893488147419103232");
        service.get(&beyond).await.expect_field("offset");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_that_is_not_named_or_not_there_is_refused() {
    let service = Service::start(vec![]).await;
    for query in ["", "?reservationId=", "?limit=5", "?reservationId=%20"] {
        let answer = service.get(&format!("{TIMELINE}{query}")).await;
        assert_eq!(
            answer.expect(400)["error"],
            "reservationId is required",
            "{query}"
        );
    }
    let answer = service.get(&format!("{TIMELINE}?reservationId=0xnone")).await;
    assert_eq!(answer.expect(404)["error"], "Reservation not found");
    let long = "x".repeat(200);
    service
        .get(&format!("{TIMELINE}?reservationId={long}"))
        .await
        .expect_field("reservationId");
    service.stop().await;
}

each_backend! {
    async fn a_lab_without_a_host_still_has_its_story_and_no_secret_is_in_any(test) {
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        lab.write_catalog(|entries| {
            entries[0]["room"] = json!("B-17");
            entries[0]["api_token"] = json!("canary-token");
        });
        migrate(test.database()).await;
        let service = Service::start_in(lab).await;
        reservations::book(test.database(), "0xaa", "1", in_secs(0), in_secs(60)).await;
        reservations::book(test.database(), "0xbb", "unknown", in_secs(0), in_secs(60)).await;
        let body = service.get(&format!("{TIMELINE}?reservationId=0xbb")).await.expect(200);
        assert_eq!(body["host"], json!({"name": null, "labId": "unknown", "config": null}));
        let answer = service.get(&format!("{TIMELINE}?reservationId=0xaa")).await;
        assert_eq!(answer.expect(200)["host"]["config"]["room"], "B-17", "the operator's own keys are shown");
        let spec = service.lab.sim(1).spec().clone();
        for secret in [spec.password.as_str(), spec.user.as_str(), "winrm_pass", "winrm_user", "canary-token"] {
            assert!(!answer.text.contains(secret), "{secret}");
        }
        service.stop().await;
    }
}

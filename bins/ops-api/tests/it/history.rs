//! `GET /api/hosts/{name}/history`, `GET /api/hosts/{name}/hours` and `GET /api/events`: what was.

use serde_json::{Value, json};
use store_support::{Database, each_backend};

use crate::harness::{awake, execute};
use crate::service::Service;

const HISTORY: &str = "/api/hosts/LAB-ws-01/history";
const HOURS: &str = "/api/hosts/lab-ws-01/hours";
const WINDOW: &str = "from=2026-03-01T09:00:00Z&to=2026-03-01T11:00:00Z";

async fn changed(db: &Database, field: &str, at: &str, value: &str) {
    let sql = "INSERT INTO ops_host_changes (host_name, at, field, new_value) VALUES ('lab-ws-01', ?, ?, ?)";
    let values = [format!("2026-03-01 {at}").into(), field.into(), value.into()];
    assert_eq!(execute(db, sql, values).await, 1);
}

async fn heard(db: &Database, at: &str) {
    let sql =
        "INSERT INTO ops_host_state (host_name, last_success_at, updated_at) VALUES ('lab-ws-01', ?, ?)";
    let at = format!("2026-03-01 {at}");
    assert_eq!(execute(db, sql, [at.clone().into(), at.into()]).await, 1);
}

async fn counted(db: &Database, hour: u32, polls: i64, failures: i64) {
    let sql = "INSERT INTO ops_host_hours (host_name, hour, polls, failures, ready_ms, known_ms, local_ms, boots, b2) \
               VALUES ('lab-ws-01', ?, ?, ?, 2700000, 3600000, 60000, 1, ?)";
    let values = [
        format!("2026-03-01 {hour:02}:00:00").into(),
        polls.into(),
        failures.into(),
        polls.into(),
    ];
    assert_eq!(execute(db, sql, values).await, 1);
}

async fn happened(db: &Database, host: i64, payload: &Value) {
    let sql = "INSERT INTO lab_host_events (host_id, kind, timestamp_utc, payload, created_at) \
               VALUES (?, 'session-guard', '2026-03-01 08:00:00', ?, '2026-03-01 08:00:20')";
    assert_eq!(
        execute(db, sql, [host.into(), payload.to_string().into()]).await,
        1
    );
}

async fn known(db: &Database) {
    for (id, name) in [(1, "lab-ws-01"), (2, "lab-ws-02")] {
        let sql = "INSERT INTO lab_hosts (id, name, address) VALUES (?, ?, '10.0.0.1')";
        assert_eq!(execute(db, sql, [id.into(), name.into()]).await, 1);
    }
}

each_backend! {
    async fn a_field_is_shown_step_by_step(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let db = test.database();
        for (field, at, value) in [
            ("ready", "07:00:00", "true"),
            ("ready", "09:30:00.5", "false"),
            ("ready", "10:00:00", "true"),
            ("boot", "09:10:00", "2026-03-01T09:09:00Z"),
        ] {
            changed(db, field, at, value).await;
        }
        heard(db, "10:30:00").await;
        let shown = service.get(&format!("{HISTORY}?field=ready&{WINDOW}&stepSecs=3600")).await.expect(200);
        let points = shown["points"].as_array().unwrap();
        assert_eq!((&shown["host"], &shown["field"], &shown["stepSecs"]), (&json!("lab-ws-01"), &json!("ready"), &json!(3600)));
        assert_eq!((&shown["from"], &shown["to"]), (&json!("2026-03-01T09:00:00.000Z"), &json!("2026-03-01T11:00:00.000Z")));
        assert_eq!(points.len(), 2);
        assert_eq!((&points[0]["at"], &points[0]["last"], &points[0]["changes"]), (&json!("2026-03-01T09:00:00.000Z"), &json!(false), &json!(1)));
        let share = points[0]["share"].as_f64().unwrap();
        assert!((share - 1_800.5 / 3_600.0).abs() < 1e-9, "{share}");
        assert_eq!((&points[1]["last"], points[1]["share"].as_f64()), (&json!(true), Some(1.0)));
        assert!((points[1]["knownSecs"].as_f64().unwrap() - 1_800.0).abs() < 0.01, "not beyond the last report");

        let boots = service.get(&format!("{HISTORY}?field=boot&{WINDOW}")).await.expect(200);
        assert_eq!((&boots["stepSecs"], boots["points"].as_array().unwrap().len()), (&json!(75), 96));
        assert_eq!(boots["points"][10]["last"], "2026-03-01T09:09:00Z");
        assert_eq!((&boots["points"][10]["share"], &boots["points"][0]["last"]), (&Value::Null, &Value::Null));
        // Without a window: the day until now, of which nothing is known.
        let today = service.get(&format!("/ops{HISTORY}?field=localMode")).await.expect(200);
        assert_eq!(today["stepSecs"], 900);
        assert!(today["points"].as_array().unwrap().iter().all(|point| point["last"].is_null()));
        service.stop().await;
    }

    async fn hours_are_shown_with_their_shares_and_quantiles(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let db = test.database();
        for (hour, polls, failures) in [(8, 60, 0), (9, 58, 2), (10, 0, 60), (11, 60, 0)] {
            counted(db, hour, polls, failures).await;
        }
        let shown = service.get(&format!("{HOURS}?{WINDOW}")).await.expect(200);
        let first = json!({"hour": "2026-03-01T09:00:00.000Z", "polls": 58, "failures": 2, "boots": 1, "knownSecs": 3600.0,
            "readyShare": 0.75, "localSecs": 60.0, "latencyMs": {"p50": 15.0, "p95": 19.5, "p99": 19.9}});
        assert_eq!(shown["hours"][0], first);
        assert_eq!((shown["hours"].as_array().unwrap().len(), &shown["hours"][1]["latencyMs"]), (2, &Value::Null));
        let long = service.get(&format!("{HOURS}?from=2024-01-01T00:00:00Z&to=2026-03-01T09:00:00Z")).await;
        long.expect_field("from");
        service.stop().await;
    }

    async fn events_are_followed_page_by_page(test) {
        let service = Service::start_on(&test, vec![awake(1), awake(2)]).await;
        let db = test.database();
        known(db).await;
        for n in 0..5 {
            happened(db, 1 + n % 2, &json!({"user": format!("LAB\\u{n}"), "event": "logoff"})).await;
        }
        happened(db, 1, &json!("plain")).await;
        let mut after = json!(0);
        let mut users = Vec::new();
        for more in [true, true, false] {
            let page = service.get(&format!("/api/events?after={after}&limit=2")).await.expect(200);
            assert_eq!(page["more"], more, "{page}");
            users.extend(page["events"].as_array().unwrap().iter().map(|event| event["payload"].clone()));
            after = page["next"].clone();
        }
        assert_eq!((users.len(), &users[3]["user"]), (6, &json!("LAB\\u3")));
        assert_eq!(users[5], json!({"value": "plain"}));
        let newest = service.get("/api/events?after=newest").await.expect(200);
        assert_eq!(newest, json!({"events": [], "next": after, "more": false}));
        happened(db, 2, &json!({"user": "later"})).await;
        let later = service.get(&format!("/api/events?host=lab-ws-02&after={after}")).await.expect(200);
        assert_eq!(later["events"][0]["payload"]["user"], "later", "{later}");
        let one = service.get("/api/events?host=LAB-WS-02").await.expect(200);
        let event = &one["events"][0];
        assert_eq!(one["events"].as_array().unwrap().len(), 3);
        assert_eq!((&event["host"], &event["kind"]), (&json!("lab-ws-02"), &json!("session-guard")));
        assert_eq!((&event["at"], &event["storedAt"]), (&json!("2026-03-01T08:00:00.000Z"), &json!("2026-03-01T08:00:20.000Z")));
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_is_refused_by_name() {
    let service = Service::start(vec![awake(1)]).await;
    for (query, field) in [
        ("?field=state", "field"),
        ("?field=local_mode", "field"),
        ("?field=ready&from=yesterday", "from"),
        ("?field=ready&to=2026-03-01", "to"),
        (
            "?field=ready&from=2026-03-02T00:00:00Z&to=2026-03-02T00:00:00Z",
            "to",
        ),
        ("?field=ready&stepSecs=0", "stepSecs"),
        ("?field=ready&stepSecs=1.5", "stepSecs"),
        ("?field=ready&stepSecs=1", "stepSecs"),
    ] {
        service
            .get(&format!("{HISTORY}{query}"))
            .await
            .expect_field(field);
    }
    let missing = service.get(HISTORY).await;
    assert_eq!(missing.expect(400)["error"], "field is required");
    for (query, field) in [
        ("after=-1", "after"),
        ("after=x", "after"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
    ] {
        service
            .get(&format!("/api/events?{query}"))
            .await
            .expect_field(field);
    }
    for path in [
        "/api/hosts/lab-ws-77/history?field=ready",
        "/api/hosts/lab-ws-77/hours",
        "/api/events?host=lab-ws-77",
    ] {
        assert_eq!(
            service.get(path).await.expect(404)["code"],
            "unknown_host",
            "{path}"
        );
    }
    service.stop().await;
}

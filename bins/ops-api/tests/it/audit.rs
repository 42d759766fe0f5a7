//! The audit trail: an entry for every change, before its effect, with its outcome.

use call_journal::{AuditFilter, AuditRecord};
use serde_json::{Value, json};

use crate::API;
use crate::harness::{Lab, Silence, asleep, awake, until};
use crate::http::call;
use crate::roles::token;
use crate::service::Service;

const SECRET: &str = "let-me-in-7f3a";

async fn guarded() -> Service {
    let lab = Lab::start(vec![awake(1), asleep(2)]).await;
    let file = lab.folder.path().join("tokens.json");
    let entries = vec![token("screen", "viewer", "v"), token("web", "operator", "o")];
    std::fs::write(&file, Value::Array(entries).to_string()).unwrap();
    let lab = lab.with("OPS_TOKENS_FILE", file.display().to_string());
    Service::start_in(lab.with("OPS_SECRET", SECRET)).await
}

async fn trail(service: &Service) -> Vec<AuditRecord> {
    let site = service.handle.current().unwrap();
    let page = site
        .calls
        .audit_page(&AuditFilter::default(), None, 500)
        .await
        .unwrap();
    page.rows
}

async fn post(service: &Service, path: &str, headers: &[(&str, &str)], body: Value) -> u16 {
    call(service.address(), "POST", path, headers, body.to_string())
        .await
        .status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_in_the_trail_with_who_what_from_where_and_its_outcome() {
    let service = guarded().await;
    let headers = [
        ("x-ops-token", "o"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-request-id", "call-1"),
    ];
    let order =
        json!({"host": "lab-ws-01", "command": "status-json", "password": "hunter2-hunter2", "args": []});
    let done = post(&service, "/ops/api/winrm", &headers, order).await;
    let order = json!({"hostName": "lab-ws-77", "reservationId": 42, "labId": "9"});
    assert_eq!(
        post(&service, "/api/reservations/start", &headers[..1], order).await,
        404
    );
    let trail = trail(&service).await;
    let [second, first] = &trail[..] else {
        panic!("{trail:#?}");
    };
    let entry = &first.entry;
    assert_eq!((&*entry.caller, &*entry.role), ("web", "operator"));
    assert_eq!((&*entry.from, &*entry.request_id), ("203.0.113.9", "call-1"));
    assert_eq!(
        (&*entry.action, entry.subject.as_deref()),
        ("POST /api/winrm", Some("lab-ws-01"))
    );
    assert_eq!(entry.detail, Some(json!({"command": "status-json"})));
    assert_eq!(first.status, Some(done));
    assert!(first.ended_at.unwrap() >= entry.at);

    assert_eq!(second.entry.from, "127.0.0.1");
    assert_eq!(second.entry.subject.as_deref(), Some("lab-ws-77"));
    assert_eq!(
        second.entry.detail,
        Some(json!({"labId": "9", "reservationId": 42}))
    );
    assert_eq!(
        (second.status, second.code.as_deref()),
        (Some(404), Some("unknown_host"))
    );
    let all = format!("{trail:?}");
    assert!(!all.contains("hunter2") && !all.contains(SECRET), "{all}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_entry_is_there_before_the_effect_and_the_outcome_although_the_caller_hung_up() {
    let service = guarded().await;
    let silence = Silence::new();
    let order = silence.wake();
    let address = service.address();
    let calling = tokio::spawn(async move {
        call(
            address,
            "POST",
            "/api/wol",
            &[("x-ops-token", "o")],
            order.to_string(),
        )
        .await
    });
    until("the change is noted", || async {
        let trail = trail(&service).await;
        (trail.len() == 1 && trail[0].status.is_none()).then_some(())
    })
    .await;
    assert!(!calling.is_finished());
    calling.abort();
    let _answering = silence.end().await;
    until("its outcome is noted", || async {
        (trail(&service).await[0].status == Some(200)).then_some(())
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_were_turned_away_are_in_the_trail_and_looking_is_not() {
    let service = guarded().await;
    assert_eq!(
        post(&service, "/api/wol", &[], json!({"host": "lab-ws-01"})).await,
        401
    );
    assert_eq!(
        post(&service, "/api/wol", &[("x-ops-token", "v")], json!({})).await,
        403
    );
    let cookie = [("cookie", "ops_token=o"), ("sec-fetch-site", "cross-site")];
    assert_eq!(post(&service, "/api/wol", &cookie, json!({})).await, 403);
    call(service.address(), "GET", "/api/workers", &[], "")
        .await
        .expect(401);
    call(
        service.address(),
        "GET",
        "/api/workers",
        &[("x-ops-token", "v")],
        "",
    )
    .await
    .expect(200);
    let mut trail = until("all three are noted", || async {
        let trail = trail(&service).await;
        let ended = trail.iter().filter(|record| record.status.is_some()).count();
        (ended == 3).then_some(trail)
    })
    .await;
    trail.sort_by_key(|record| record.code.clone());
    let seen: Vec<_> = trail
        .iter()
        .map(|record| {
            (
                &*record.entry.caller,
                record.status.unwrap(),
                record.code.as_deref().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("web", 403, "cross_site"),
        ("screen", 403, "role_too_small"),
        ("unknown", 401, "unauthorized"),
    ];
    assert_eq!(seen, expected);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn knocking_often_does_not_fill_the_trail() {
    let service = guarded().await;
    let began = tokio::time::Instant::now();
    for _ in 0..150 {
        assert_eq!(
            post(&service, "/api/wol", &[("x-ops-token", "wrong")], json!({})).await,
            401
        );
    }
    assert_eq!(
        post(&service, "/api/wol", &[("x-ops-token", "o")], json!({})).await,
        400
    );
    let trail = trail(&service).await;
    // Sixty at once, and one more for each second that it took.
    let most = 63 + began.elapsed().as_secs();
    assert!(
        trail.len() as u64 <= most,
        "{} of 151, {most} at most",
        trail.len()
    );
    let last = trail.iter().find(|record| record.entry.caller == "web");
    assert_eq!(
        last.unwrap().status,
        Some(400),
        "changes themselves are always noted"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_the_whole_entry_is_in_the_log_and_the_call_goes_on() {
    let lab = Lab::start(vec![asleep(1)]).await;
    // A file stands where the folder should be.
    std::fs::write(lab.folder.path().join("data"), "in the way").unwrap();
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    let headers = [("x-request-id", "call-7")];
    let body = json!({"host": "lab-ws-01", "attempts": "many"}).to_string();
    call(address, "POST", "/api/wol", &headers, body)
        .await
        .expect(400);
    let (_, said) = api.terminate().await;
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("not in the audit trail"))
        .collect();
    assert_eq!(lines.len(), 2, "the change and its outcome: {said}");
    for part in [
        "WARN",
        "call-7",
        "POST /api/wol",
        "lab-ws-01",
        "anybody",
        "127.0.0.1",
    ] {
        assert!(lines.iter().all(|line| line.contains(part)), "{part}: {lines:#?}");
    }
    assert!(
        lines[1].contains("status=400") && lines[1].contains("invalid_field"),
        "{}",
        lines[1]
    );
}

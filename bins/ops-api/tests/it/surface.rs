//! What all routes have in common: paths, methods, bodies.

use serde_json::json;

use crate::harness::awake;
use crate::http::call;
use crate::service::Service;

const POSTS: [&str; 5] = [
    "/api/wol",
    "/api/winrm",
    "/api/heartbeat/poll",
    "/api/reservations/start",
    "/api/reservations/end",
];
const GETS: [&str; 3] = ["/health", "/api/reservations/timeline", "/api/workers"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_and_wrong_methods_are_told_in_json() {
    let service = Service::start(vec![]).await;
    for prefix in ["", "/ops"] {
        for path in ["/", "/api", "/api/nothing", "/healthz", "/api/wol/x"] {
            let answer = service.get(&format!("{prefix}{path}")).await;
            assert_eq!(answer.status, 404, "{prefix}{path}: {}", answer.text);
            assert_eq!(answer.json()["code"], "not_found");
        }
        for (methods, paths) in [
            (["GET", "PUT", "DELETE"], &POSTS[..]),
            (["POST", "PUT", "DELETE"], &GETS[..]),
        ] {
            for (method, path) in methods.iter().flat_map(|m| paths.iter().map(move |p| (m, p))) {
                let answer = call(service.address(), method, &format!("{prefix}{path}"), &[], "{}").await;
                assert_eq!(answer.status, 405, "{method} {prefix}{path}: {}", answer.text);
                assert_eq!(answer.json()["code"], "method_not_allowed");
                assert!(answer.header("allow").is_some(), "{method} {prefix}{path}");
            }
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_there_with_and_without_the_gateways_prefix() {
    let service = Service::start(vec![awake(1)]).await;
    for prefix in ["", "/ops"] {
        service.get(&format!("{prefix}/health")).await.expect(200);
        assert_eq!(
            call(service.address(), "HEAD", &format!("{prefix}/health"), &[], "")
                .await
                .status,
            200
        );
        service
            .get(&format!("{prefix}/api/reservations/timeline"))
            .await
            .expect(400);
        for path in POSTS {
            // Each refuses an empty order in its own words, which shows that it is the right one.
            let answer = service.post(&format!("{prefix}{path}"), json!({})).await;
            let error = answer.expect(400)["error"].as_str().unwrap().to_owned();
            assert!(error.contains("required"), "{path}: {error}");
        }
    }
    let poll = json!({"host": "lab-ws-01"});
    service.post("/ops/api/heartbeat/poll", poll).await.expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_object_is_refused_and_a_broken_one_is_empty() {
    let service = Service::start(vec![]).await;
    for path in POSTS {
        for body in ["[1]", "[{}]", "\"text\"", "7", "true"] {
            service.post_text(path, body).await.expect_field("body");
        }
        for body in [
            "",
            "{",
            "null",
            "[]",
            "0",
            "\"\"",
            "not json",
            "{\"host\": \"lab-ws-01\"",
        ] {
            let answer = service.post_text(path, body).await;
            let answer = answer.expect(400);
            assert_eq!(answer["code"], "missing_field", "{path} {body:?}: {answer}");
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_json_whatever_it_is_called() {
    let service = Service::start(vec![awake(1)]).await;
    for kind in [
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=utf-8",
    ] {
        let headers = [("content-type", kind)];
        let body = "\u{feff}{\"host\": \"lab-ws-01\"}";
        call(service.address(), "POST", "/api/heartbeat/poll", &headers, body)
            .await
            .expect(200);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_beyond_all_need_is_refused_in_json() {
    let service = Service::start(vec![]).await;
    let body = json!({"host": "x".repeat(200_000)}).to_string();
    for path in POSTS {
        let answer = service.post_text(path, body.clone()).await;
        let refused = answer.expect(413);
        assert!(
            refused["code"].is_string() && refused["error"].is_string(),
            "{refused}"
        );
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_has_an_id_in_its_answer_in_its_error_and_in_the_log() {
    let lab = crate::harness::Lab::start(vec![]).await;
    let mut api = lab.run(crate::API, &[]);
    let address = api.address().await;
    api.says("the database is ready").await;
    let own = [("x-request-id", "web:2026.a-b_1")];
    let answer = call(address, "POST", "/ops/api/wol", &own, "{}").await;
    assert_eq!(answer.header("x-request-id"), Some("web:2026.a-b_1"));
    assert_eq!(answer.expect(400)["requestId"], "web:2026.a-b_1");
    let bad = [("x-request-id", "two words")];
    let answer = call(address, "GET", "/api/nothing", &bad, "").await;
    let id = answer.header("x-request-id").unwrap().to_owned();
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(answer.expect(404)["requestId"], *id);
    assert!(
        call(address, "GET", "/health", &[], "")
            .await
            .header("x-request-id")
            .is_some()
    );
    let foreign = [("x-request-id", "call-9"), ("origin", "https://evil.example")];
    call(address, "POST", "/api/wol%0aforged", &foreign, "{}")
        .await
        .expect(404);
    call(address, "POST", "/api/wol", &foreign, "{}")
        .await
        .expect(403);
    let (_, said) = api.terminate().await;
    let line = said.lines().find(|line| line.contains("refused a call")).unwrap();
    assert!(
        line.contains("request.id=\"call-9\"") && line.contains("caller=\"anybody\""),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_neither_kept_nor_framed_nor_guessed_at() {
    let service = Service::start(vec![]).await;
    for path in [
        "/health",
        "/api/workers",
        "/api/nothing",
        "/api/openapi.json",
        "/ops/api/docs/",
    ] {
        let answer = service.get(path).await;
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
    }
    service.stop().await;
}

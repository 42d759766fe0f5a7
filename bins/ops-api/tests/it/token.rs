//! Who may call.

use serde_json::json;

use crate::API;
use crate::harness::{Lab, awake};
use crate::http::call;
use crate::service::Service;

const SECRET: &str = "let-me-in-7f3a";

async fn guarded() -> Service {
    Service::start_in(Lab::start(vec![awake(1)]).await.with("OPS_SECRET", SECRET)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_opens_by_header_or_cookie_and_the_header_wins() {
    let service = guarded().await;
    let cookie = format!("theme=dark; ops_token={SECRET}; x=y");
    let wrong_cookie = format!("ops_token={SECRET}x");
    let other_cookie = format!("my_ops_token={SECRET}");
    for (headers, status) in [
        (vec![], 401),
        (vec![("x-ops-token", SECRET)], 200),
        (vec![("cookie", cookie.as_str())], 200),
        (
            vec![("x-ops-token", SECRET), ("cookie", wrong_cookie.as_str())],
            200,
        ),
        (vec![("x-ops-token", "wrong"), ("cookie", cookie.as_str())], 401),
        (vec![("x-ops-token", ""), ("cookie", cookie.as_str())], 401),
        (vec![("x-ops-token", "let-me-in-7f3")], 401),
        (vec![("cookie", wrong_cookie.as_str())], 401),
        (vec![("cookie", other_cookie.as_str())], 401),
        (vec![("authorization", SECRET)], 401),
    ] {
        let body = json!({"host": "lab-ws-01"}).to_string();
        let answer = call(service.address(), "POST", "/api/heartbeat/poll", &headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
        if status == 401 {
            assert_eq!(answer.json()["error"], "Unauthorized");
            assert!(!answer.text.contains(SECRET));
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_token_no_route_does_anything_but_health() {
    let service = guarded().await;
    for prefix in ["", "/ops"] {
        for path in [
            "wol",
            "winrm",
            "heartbeat/poll",
            "reservations/start",
            "reservations/end",
        ] {
            let body = json!({"host": "lab-ws-01", "command": "status", "reservationId": 1}).to_string();
            let answer = call(
                service.address(),
                "POST",
                &format!("{prefix}/api/{path}"),
                &[],
                body,
            )
            .await;
            assert_eq!(answer.expect(401)["code"], "unauthorized", "{path}");
        }
        service
            .get(&format!("{prefix}/api/reservations/timeline?reservationId=1"))
            .await
            .expect(401);
        service.get(&format!("{prefix}/health")).await.expect(200);
    }
    let counts = service.lab.sim(1).counts();
    assert_eq!((counts.requests, counts.packets_valid), (0, 0));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_listen_off_loopback_without_a_secret() {
    for bind in [Some("0.0.0.0"), Some("::"), None] {
        let lab = Lab::start(vec![]).await;
        let lab = match bind {
            Some(bind) => lab.with("OPS_BIND", bind),
            None => lab.without("OPS_BIND"),
        };
        let (ended, said) = lab.run(API, &[]).ended().await;
        assert_eq!(ended.code(), Some(2), "{said}");
        assert!(said.contains("OPS_SECRET") && said.contains("OPS_BIND"), "{said}");
        assert!(!said.contains("listening"), "{said}");
    }
    let lab = Lab::start(vec![])
        .await
        .with("OPS_BIND", "0.0.0.0")
        .with("OPS_SECRET", SECRET);
    let mut api = lab.run(API, &[]);
    let port = api.address().await.port();
    let address = ([127, 0, 0, 1], port).into();
    call(address, "POST", "/api/wol", &[], "{}").await.expect(401);
    assert_eq!(api.terminate().await.0.code(), Some(0));
}

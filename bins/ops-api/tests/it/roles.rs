//! Every route of the description is closed to those without a token and to those with too small a role.

use std::net::SocketAddr;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{LIMIT, Lab};
use crate::http::call;
use crate::service::Service;

const SECRET: &str = "let-me-in-7f3a";
/// What everybody may see: whether the service is well.
const OPEN: [&str; 2] = ["/health", "/health/live"];
const ROLES: [&str; 3] = ["viewer", "operator", "admin"];

/// One entry of a tokens file.
pub(crate) fn token(name: &str, role: &str, token: &str) -> Value {
    let digest = Sha256::digest(token);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"name": name, "role": role, "sha256": digest})
}

/// A lab whose callers are `viewer`, `operator` and `admin`, each with its name as its token.
async fn with_roles() -> Lab {
    let lab = Lab::start(vec![]).await;
    let file = lab.folder.path().join("tokens.json");
    let entries: Vec<_> = ROLES
        .iter()
        .map(|role| token(&format!("the-{role}"), role, role))
        .collect();
    std::fs::write(&file, Value::Array(entries).to_string()).unwrap();
    lab.with("OPS_TOKENS_FILE", file.display().to_string())
        .with("OPS_SECRET", SECRET)
}

/// The status of a call whose answer may never end.
async fn status(address: SocketAddr, method: &str, path: &str, token: Option<&str>) -> u16 {
    let token = token.map_or_else(String::new, |token| format!("x-ops-token: {token}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{token}content-type: application/json\r\ncontent-length: 2\r\n\
         connection: close\r\n\r\n{{}}"
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.contains(&b'\n') {
            let read = stream.read_buf(&mut head).await.unwrap();
            assert!(read > 0, "{method} {path}: closed without an answer");
        }
        let line = String::from_utf8_lossy(&head).into_owned();
        line.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let answer = tokio::time::timeout(LIMIT, exchange).await;
    answer.unwrap_or_else(|_| panic!("no answer of {method} {path}"))
}

/// Method, path with every parameter filled in, and role, of all operations.
async fn described(address: SocketAddr) -> Vec<(String, String, Option<String>)> {
    let answer = call(
        address,
        "GET",
        "/api/openapi.json",
        &[("x-ops-token", SECRET)],
        "",
    )
    .await;
    let document = answer.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let mut filled = path.clone();
        while let (Some(from), Some(to)) = (filled.find('{'), filled.find('}')) {
            filled.replace_range(from..=to, "4711");
        }
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-role"].as_str().map(str::to_owned);
            operations.push((method.to_uppercase(), filled.clone(), role));
        }
    }
    operations
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_is_closed_without_a_token_and_with_too_small_a_role() {
    let service = Service::start_in(with_roles().await).await;
    let address = service.address();
    let operations = described(address).await;
    assert!(operations.len() >= 15, "{operations:?}");
    let mut seen = [0, 0, 0];
    for (method, path, role) in &operations {
        let Some(role) = role else {
            assert_eq!(method, "GET", "{path} is open to all");
            assert!(OPEN.contains(&path.as_str()), "{path} is open to all");
            assert_eq!(status(address, method, path, None).await, 200);
            continue;
        };
        let at = ROLES.iter().position(|known| known == role).unwrap();
        seen[at] += 1;
        for prefix in ["", "/ops"] {
            let path = format!("{prefix}{path}");
            for wrong in [None, Some("wrong"), Some("")] {
                let denied = status(address, method, &path, wrong).await;
                assert_eq!(denied, 401, "{method} {path} with {wrong:?}");
            }
            for smaller in &ROLES[..at] {
                let denied = status(address, method, &path, Some(smaller)).await;
                assert_eq!(denied, 403, "{method} {path} as {smaller}");
            }
        }
        for great_enough in &ROLES[at..] {
            let answered = status(address, method, path, Some(great_enough)).await;
            assert!(
                !matches!(answered, 401 | 403 | 405),
                "{method} {path} as {great_enough}: {answered}"
            );
        }
    }
    assert!(seen.iter().all(|routes| *routes > 0), "{seen:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_has_every_route_that_is_registered() {
    let source = include_str!("../../src/routes/mod.rs");
    let mut registered = 0;
    for handlers in source.split("routes!(").skip(1) {
        let (handlers, _) = handlers.split_once(')').unwrap();
        registered += handlers.split(',').filter(|name| name.contains("::")).count();
    }
    let beside: Vec<_> = source.lines().filter(|line| line.contains(".route(")).collect();
    assert_eq!(beside, [""; 0], "a route beside the description has no role");
    let service = Service::start_in(with_roles().await).await;
    let operations = described(service.address()).await;
    assert_eq!(operations.len(), registered, "{operations:#?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_tells_the_refusals_of_every_guarded_route() {
    let service = Service::start_in(with_roles().await).await;
    let token = [("x-ops-token", "viewer")];
    let answer = call(service.address(), "GET", "/ops/api/openapi.json", &token, "").await;
    let document = answer.expect(200);
    let schema = "#/components/schemas/ErrorBody";
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if operation["x-role"].is_null() {
                continue;
            }
            for status in ["400", "401", "403", "429", "500", "503"] {
                let refusal = &operation["responses"][status];
                assert!(refusal.is_object(), "{method} {path} {status}");
            }
            let unauthorized = &operation["responses"]["401"]["content"]["application/json"]["schema"];
            assert_eq!(unauthorized["$ref"], schema, "{method} {path}");
        }
    }
    let error = &document["components"]["schemas"]["ErrorBody"]["properties"];
    for field in ["error", "code", "requestId", "field"] {
        assert!(error[field]["description"].is_string(), "{field}: {error}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_viewer_of_the_description_works_below_both_prefixes_and_brings_all_it_needs() {
    let service = Service::start_in(with_roles().await).await;
    let address = service.address();
    let get =
        |path: String| async move { call(address, "GET", &path, &[("x-ops-token", "viewer")], "").await };
    for prefix in ["", "/ops"] {
        let enter = get(format!("{prefix}/api/docs")).await;
        assert_eq!((enter.status, enter.header("location")), (308, Some("docs/")));
        let page = get(format!("{prefix}/api/docs/")).await;
        assert_eq!(
            (page.status, page.header("content-type")),
            (200, Some("text/html"))
        );
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            policy.contains("script-src 'self'") && !policy.contains("http"),
            "{policy}"
        );
        let mut files = 0;
        for link in page.text.split(['"', '\'']).filter(|link| link.starts_with("./")) {
            let name = link.trim_start_matches("./");
            let file = get(format!("{prefix}/api/docs/{name}")).await;
            assert_eq!(file.status, 200, "{link}");
            files += 1;
        }
        assert!(files >= 4, "{}", page.text);
        let start = get(format!("{prefix}/api/docs/swagger-initializer.js")).await;
        assert!(start.text.contains("../openapi.json"), "{}", start.text);
        assert_eq!(get(format!("{prefix}/api/docs/nothing.js")).await.status, 404);
    }
    service.stop().await;
}

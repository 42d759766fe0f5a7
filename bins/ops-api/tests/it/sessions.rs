//! Session cookies: for browsers, derived from the secret, with an end.

use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::harness::Lab;
use crate::http::{Answer, call};
use crate::roles::token;
use crate::service::Service;

const SECRET: &str = "correct horse battery staple";

async fn guarded() -> Service {
    let lab = Lab::start(vec![]).await.with("OPS_SECRET", SECRET);
    let file = lab.folder.path().join("tokens.json");
    let entries = vec![token("web", "operator", "o"), token("screen", "viewer", "v")];
    std::fs::write(&file, Value::Array(entries).to_string()).unwrap();
    Service::start_in(lab.with("OPS_TOKENS_FILE", file.display().to_string())).await
}

async fn ask(service: &Service, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
    call(service.address(), "POST", path, headers, body.to_string()).await
}

/// The cookie as a browser sends it back, and its attributes.
fn cookie(answer: &Answer) -> (String, String) {
    let set = answer.header("set-cookie").unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    (pair.to_owned(), attributes.to_owned())
}

/// A cookie as the proxy makes it, from nothing but the secret.
fn by_proxy(role: &str, until: i64) -> String {
    use base64::Engine as _;
    let mac = |key: &[u8], text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(text.as_bytes());
        mac.finalize().into_bytes()
    };
    let key = mac(SECRET.as_bytes(), "lab-ops cookie v1");
    let text = format!("v1.{role}.{until}");
    let code = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(mac(&key, &text));
    format!("ops_token={text}.{code}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_session_that_opened_it() {
    let service = guarded().await;
    // A session that is over before the stream is open tells nothing; a slow machine needs a longer one.
    for secs in [3, 15, 60] {
        let cookie = by_proxy("viewer", crate::harness::now().timestamp() + secs);
        let headers = [("cookie", cookie.as_str())];
        let stream = || call(service.address(), "GET", "/api/heartbeat/stream", &headers, "");
        // It comes back once the stream has ended.
        let answer = stream().await;
        if answer.status == 401 && secs < 60 {
            continue;
        }
        assert_eq!(answer.status, 200);
        assert!(answer.text.contains("event: hello"), "{}", answer.text);
        assert_eq!(stream().await.status, 401);
        break;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_exchanged_for_a_cookie_of_at_most_its_role() {
    let service = guarded().await;
    let answer = ask(&service, "/api/session", &[("x-ops-token", "o")], json!({})).await;
    assert_eq!(answer.expect(200)["role"], "operator");
    let (pair, attributes) = cookie(&answer);
    assert!(pair.starts_with("ops_token=v1.operator."), "{pair}");
    assert!(!answer.text.contains("v1."), "the cookie is in its header only");
    assert_eq!(attributes, "Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax");
    let browser = [("cookie", pair.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(ask(&service, "/api/wol", &browser, json!({})).await.status, 400);
    let cordon = ask(
        &service,
        "/api/workers/x/cordon",
        &browser,
        json!({"reason": "r"}),
    )
    .await;
    assert_eq!(cordon.expect(403)["code"], "role_too_small");

    let lesser = json!({"ttlSecs": 60, "role": "viewer"});
    let answer = ask(&service, "/ops/api/session", &[("x-ops-token", SECRET)], lesser).await;
    assert_eq!(answer.expect(200)["role"], "viewer");
    let (pair, attributes) = cookie(&answer);
    assert!(attributes.starts_with("Path=/ops/; Max-Age=60; "), "{attributes}");
    let looking = [("cookie", pair.as_str())];
    call(service.address(), "GET", "/api/workers", &looking, "")
        .await
        .expect(200);
    let answer = ask(
        &service,
        "/api/wol",
        &[looking[0], ("sec-fetch-site", "none")],
        json!({}),
    )
    .await;
    answer.expect(403);

    let greater = json!({"role": "admin"});
    let answer = ask(&service, "/api/session", &[("x-ops-token", "o")], greater).await;
    assert_eq!(answer.expect(403)["code"], "role_too_small");
    for (body, field) in [
        (json!({"ttlSecs": 59}), "ttlSecs"),
        (json!({"ttlSecs": 43_201}), "ttlSecs"),
        (json!({"role": "root"}), "role"),
    ] {
        ask(&service, "/api/session", &[("x-ops-token", "o")], body)
            .await
            .expect_field(field);
    }
    ask(&service, "/api/session", &[("x-ops-token", "v")], json!({}))
        .await
        .expect(403);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_cannot_prolong_itself() {
    let service = guarded().await;
    let short = json!({"ttlSecs": 60});
    let answer = ask(&service, "/api/session", &[("x-ops-token", "o")], short).await;
    let ends = answer.expect(200)["expiresAt"].clone();
    let (pair, _) = cookie(&answer);
    let browser = [("cookie", pair.as_str()), ("sec-fetch-site", "same-origin")];
    let again = ask(&service, "/api/session", &browser, json!({"ttlSecs": 43_200})).await;
    assert_eq!(again.expect(200)["expiresAt"], ends);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxys_cookie_is_taken_until_it_is_over_or_altered() {
    let service = guarded().await;
    let now = crate::harness::now().timestamp();
    let good = by_proxy("operator", now + 600);
    for (pair, status) in [
        (good.clone(), 200),
        (by_proxy("operator", now - 1), 401),
        (good.replace("operator", "admin"), 401),
        (
            good.replace(&(now + 600).to_string(), &(now + 6000).to_string()),
            401,
        ),
        (format!("{good}A"), 401),
        (by_proxy("root", now + 600), 401),
    ] {
        let answer = call(
            service.address(),
            "GET",
            "/api/workers",
            &[("cookie", &*pair)],
            "",
        )
        .await;
        assert_eq!(answer.status, status, "{pair}: {}", answer.text);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_there_are_no_sessions() {
    let service = Service::start(vec![]).await;
    let answer = service.post("/api/session", json!({})).await;
    assert_eq!(answer.expect(409)["code"], "sessions_off");
    service.stop().await;
}

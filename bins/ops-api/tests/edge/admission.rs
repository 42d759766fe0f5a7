//! `/ops/`: who gets in, by what, and what the API then sees.

use std::net::Ipv4Addr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::SECRET;
use crate::nginx::{self, Nginx};
use crate::raw::{FOREIGN, NEAR, Reply, ask};
use crate::recorder::Recorder;

const WITH_SECRET: [(&str, &str); 1] = [("OPS_SECRET", SECRET)];
/// Made by ops-api's own code from the secret of these tests; good until the year 2030.
const COOKIE: &str = "v1.operator.1893456000.sM3fprHdvytGHJNTyfCN1H65X-dPa4eLJCFTyT4ODDw";
/// The same until 2001.
const OVER: &str = "v1.operator.1000000000.Jdt9eTxVeq9QeLkSD7UKtY8Bwn5zaz6CpSmKJv3vrp4";

async fn get(nginx: &Nginx, from: Ipv4Addr, headers: &[&str]) -> Reply {
    ask(nginx.address(), from, "GET /ops/api/hosts", headers, "").await
}

fn token(value: &str) -> String {
    format!("X-Ops-Token: {value}")
}

fn cookie(value: &str) -> String {
    format!("Cookie: theme=dark; ops_token={value}; x=y")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the proxy's cookies end by the wall clock"
)]
fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_opens_by_header_or_cookie_and_everything_else_is_401() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &WITH_SECRET).await;
    let (text, mac) = COOKIE.rsplit_once('.').unwrap();
    let cases = [
        (vec![token(SECRET)], 202),
        (vec![cookie(COOKIE)], 202),
        (vec![token(SECRET), cookie("nonsense")], 202),
        (vec![], 401),
        (vec![token("wrong")], 401),
        (vec![token("")], 401),
        (vec![token(&SECRET[..SECRET.len() - 1])], 401),
        (vec![token(&format!("{SECRET}x"))], 401),
        (vec![token(&"x".repeat(7000))], 401),
        // The header is there, so the cookie is not looked at.
        (vec![token("wrong"), cookie(COOKIE)], 401),
        (vec![token(""), cookie(COOKIE)], 401),
        (vec![cookie(OVER)], 401),
        (vec![cookie(&format!("v1.admin.1893456000.{mac}"))], 401),
        (vec![cookie(&format!("v1.operator.1893456001.{mac}"))], 401),
        (
            vec![cookie(&format!("v1.operator.99999999999999999999.{mac}"))],
            401,
        ),
        (vec![cookie(&format!("{text}.{}", &mac[1..]))], 401),
        (vec![cookie(&format!("{text}."))], 401),
        (vec![cookie(text)], 401),
        (vec![cookie("")], 401),
        (
            vec![cookie(&format!("{COOKIE}%0d%0aX-Ops-Internal-Token: x"))],
            401,
        ),
        // Somebody planted a second one.
        (vec![cookie(COOKIE), "Cookie: ops_token=x".to_owned()], 401),
        (vec![format!("Cookie: my_ops_token={COOKIE}")], 401),
        (vec![format!("Authorization: Bearer {SECRET}")], 401),
    ];
    for (headers, status) in &cases {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let reply = get(&nginx, NEAR, &headers).await;
        assert_eq!(reply.status(), *status, "{headers:?}: {reply:?}");
        if *status == 401 {
            assert!(reply.body().contains(r#""code":"unauthorized""#), "{reply:?}");
            assert_eq!(reply.header("content-type"), Some("application/json"));
        }
    }
    let through = cases.iter().filter(|(_, status)| *status == 202).count();
    assert_eq!(
        upstream.take().len(),
        through,
        "nothing but what was let in reached the service"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_of_the_proxy_is_byte_for_byte_one_of_the_api_and_ends_when_it_says() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let changes = [("$lab_ops_cookie_secs 43200;", "$lab_ops_cookie_secs 15;")];
    let nginx = Nginx::start_changed(upstream.address(), &WITH_SECRET, &changes).await;
    let before = unix_now();
    let page = ask(nginx.address(), NEAR, "GET /lab-manager/", &[], "").await;
    let set = page.header("set-cookie").unwrap().to_owned();
    let value = set.split(';').next().unwrap().strip_prefix("ops_token=").unwrap();
    let parts: Vec<&str> = value.split('.').collect();
    assert_eq!(parts[..2], ["v1", "operator"], "{set}");
    let expiry: u64 = parts[2].parse().unwrap();
    assert!((before + 15..=unix_now() + 15).contains(&expiry), "{set}");
    assert_eq!(get(&nginx, NEAR, &[&cookie(value)]).await.status(), 202);
    while unix_now() <= expiry {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(get(&nginx, NEAR, &[&cookie(value)]).await.status(), 401);
    assert_eq!(upstream.take().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_address_gets_403_with_the_token_and_401_without() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &WITH_SECRET).await;
    let trusted = "X-Forwarded-For: 127.0.0.1";
    for (headers, status) in [
        (vec![token(SECRET)], 403),
        (vec![cookie(COOKIE)], 403),
        (
            vec![
                token(SECRET),
                trusted.to_owned(),
                "X-Real-IP: 127.0.0.1".to_owned(),
            ],
            403,
        ),
        (vec![token("wrong")], 401),
        (vec![], 401),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        let reply = get(&nginx, FOREIGN, &headers).await;
        assert_eq!(reply.status(), status, "{headers:?}: {reply:?}");
        assert_eq!(reply.header("set-cookie"), None);
    }
    let origin = format!("Origin: http://{}", nginx.address());
    let preflight = ask(nginx.address(), FOREIGN, "OPTIONS /ops/api/hosts", &[&origin], "").await;
    assert_eq!(preflight.status(), 403);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_every_call_is_503() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let missing = [("OPS_SECRET_FILE", "/nonexistent/secret")];
    for variables in [&[("OPS_SECRET", "")][..], &missing, &[]] {
        let nginx = Nginx::start(upstream.address(), variables).await;
        for headers in [vec![], vec![token("")], vec![token(SECRET)], vec![cookie(COOKIE)]] {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            assert_eq!(get(&nginx, NEAR, &headers).await.status(), 503, "{headers:?}");
        }
        let page = ask(nginx.address(), NEAR, "GET /lab-manager/", &[], "").await;
        assert_eq!((page.status(), page.header("set-cookie")), (200, None));
        if variables == missing {
            assert!(
                nginx.said().contains("OPS_SECRET_FILE: /nonexistent/secret"),
                "{}",
                nginx.said()
            );
        }
    }
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_come_from_files_as_well_and_stand_in_no_log() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (secret, internal) = (
        file("secret", &format!("{SECRET}\n")),
        file("internal", "from-the-proxy\r\n"),
    );
    let variables = [
        ("OPS_SECRET_FILE", secret.as_str()),
        ("OPS_INTERNAL_AUTH_TOKEN_FILE", internal.as_str()),
    ];
    let nginx = Nginx::start(upstream.address(), &variables).await;
    assert_eq!(get(&nginx, NEAR, &[&token(SECRET)]).await.status(), 202);
    let seen = upstream.take().remove(0);
    assert_eq!(seen.header("x-ops-internal-token"), Some("from-the-proxy"));
    let said = nginx.said();
    assert!(said.contains("/api/hosts"), "{said}");
    for secret in [SECRET, "from-the-proxy"] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_sees_only_headers_that_the_proxy_chose() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let variables = [("OPS_SECRET", SECRET), ("OPS_INTERNAL_AUTH_TOKEN", "internal")];
    let nginx = Nginx::start(upstream.address(), &variables).await;
    let forged = [
        "X-Ops-Internal-Token: forged",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Forwarded-Prefix: /evil",
        "Forwarded: for=10.0.0.1",
        "X-Real-IP: 10.0.0.1",
        "X-Invented: yes",
        "X-Ops-Role: admin",
        "X-HTTP-Method-Override: DELETE",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Prefer: respond-async",
        "Idempotency-Key: once",
        "X-Request-ID: mine-1",
        "Content-Type: application/json",
        "Cookie: a=b; other=c",
    ];
    let own = format!("Origin: http://{}", nginx.address());
    for (proof, internal, sent_token, sent_cookie) in [
        (token(SECRET), Some("internal"), Some(SECRET), None),
        // The internal token is an administrator's, the cookie an operator's.
        (cookie(COOKIE), None, None, Some(format!("ops_token={COOKIE}"))),
    ] {
        let mut headers = vec![proof.as_str(), own.as_str()];
        headers.extend(
            forged
                .iter()
                .filter(|line| !proof.starts_with("Cookie") || !line.starts_with("Cookie")),
        );
        let reply = ask(
            nginx.address(),
            NEAR,
            "POST /ops/api/wol?a=b%20c",
            &headers,
            r#"{"mac":1}"#,
        )
        .await;
        assert_eq!(reply.status(), 202, "{reply:?}");
        assert_eq!(reply.header("location"), Some("/ops/api/operations/7"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let seen = upstream.take().remove(0);
        assert!(
            seen.head.starts_with("POST /api/wol?a=b%20c HTTP/1.1\r\n"),
            "{}",
            seen.head
        );
        assert_eq!((seen.body.as_str(), seen.extra.as_str()), (r#"{"mac":1}"#, ""));
        let address = nginx.address().to_string();
        for (name, value) in [
            ("x-ops-internal-token", internal),
            ("x-ops-token", sent_token),
            ("cookie", sent_cookie.as_deref()),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-real-ip", Some("127.0.0.1")),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-prefix", Some("/ops")),
            ("x-forwarded-host", Some(address.as_str())),
            ("host", Some(address.as_str())),
            ("connection", Some("close")),
            ("prefer", Some("respond-async")),
            ("idempotency-key", Some("once")),
            ("x-request-id", Some("mine-1")),
            ("content-type", Some("application/json")),
            ("content-length", Some("9")),
            ("forwarded", None),
            ("x-invented", None),
            ("x-ops-role", None),
            ("x-http-method-override", None),
            ("upgrade", None),
            ("http2-settings", None),
            ("transfer-encoding", None),
        ] {
            assert_eq!(seen.header(name), value, "{name}: {}", seen.head);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_that_could_break_a_log_is_replaced() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &WITH_SECRET).await;
    for id in ["a b", "a\"b", "a\\b", &"x".repeat(129)] {
        let reply = get(&nginx, NEAR, &[&token(SECRET), &format!("X-Request-ID: {id}")]).await;
        assert_eq!(reply.status(), 202);
        let seen = upstream.take().remove(0);
        let sent = seen.header("x-request-id").unwrap();
        assert!(
            sent.len() == 32 && sent.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{sent}"
        );
        let refused = get(&nginx, NEAR, &[&format!("X-Request-ID: {id}")]).await;
        assert!(!refused.body().contains(id), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_can_neither_ask_first_nor_use_the_cookie() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &WITH_SECRET).await;
    let own = format!("Origin: http://{}", nginx.address());
    let near = format!("Origin: http://{}1", nginx.address());
    let foreign = "Origin: https://evil.example";
    let cookie = cookie(COOKIE);
    let token = token(SECRET);
    for (headers, status) in [
        (vec![cookie.as_str(), own.as_str()], 202),
        (vec![cookie.as_str()], 202),
        (
            vec![cookie.as_str(), own.as_str(), "Sec-Fetch-Site: same-origin"],
            202,
        ),
        (vec![cookie.as_str(), foreign], 403),
        (vec![cookie.as_str(), near.as_str()], 403),
        (vec![cookie.as_str(), "Origin: null"], 403),
        (vec![cookie.as_str(), "Sec-Fetch-Site: cross-site"], 403),
        (vec![cookie.as_str(), "Sec-Fetch-Site: same-site"], 403),
        // A token in a header is nothing that a browser adds by itself.
        (vec![token.as_str(), foreign], 202),
    ] {
        let reply = ask(nginx.address(), NEAR, "POST /ops/api/winrm", &headers, "{}").await;
        assert_eq!(reply.status(), status, "{headers:?}: {reply:?}");
        let allowed = reply.header("access-control-allow-origin");
        assert_eq!(
            allowed.is_some(),
            status == 202 && headers.contains(&own.as_str()),
            "{reply:?}"
        );
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    upstream.take();
    for (origin, shown) in [(own.as_str(), true), (foreign, false), ("X-None: 1", false)] {
        let reply = ask(nginx.address(), NEAR, "OPTIONS /ops/api/winrm", &[origin], "").await;
        assert_eq!(reply.status(), 204, "{reply:?}");
        assert_eq!(
            reply.header("access-control-allow-origin").is_some(),
            shown,
            "{reply:?}"
        );
    }
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_token_passes_until_its_end_and_keeps_its_role() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens.json");
    let digest = |token: &str| {
        let digest = sha2::Digest::finalize(sha2::Digest::chain_update(
            <sha2::Sha256 as sha2::Digest>::new(),
            token,
        ));
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    // The instant some minutes ahead or gone, as a clock so many hours east of us shows it.
    let soon = |hours: i32, minutes: i64| {
        let zone = chrono::FixedOffset::east_opt(hours * 3600).unwrap();
        let at = i64::try_from(unix_now()).unwrap() + 60 * minutes;
        let at = chrono::DateTime::from_timestamp(at, 0).unwrap();
        at.with_timezone(&zone).to_rfc3339()
    };
    let entries = serde_json::json!([
        {"name": "screen", "role": "viewer", "sha256": digest("one")},
        {"name": "web", "role": "operator", "sha256": digest("two"), "expiresAt": "2099-02-28T23:59:59.5Z"},
        {"name": "old", "role": "admin", "sha256": digest("three"), "expiresAt": "2024-02-29T00:00:00Z"},
        {"name": "east", "role": "viewer", "sha256": digest("seven"), "expiresAt": soon(9, 30)},
        {"name": "west", "role": "viewer", "sha256": digest("eight"), "expiresAt": soon(-9, -30)},
        {"name": "odder", "role": "viewer", "sha256": digest("nine"), "expiresAt": "2099-02-28T23:59:59+1:00"},
        {"name": "odd", "role": "admin", "sha256": digest("four"), "expiresAt": "tomorrow"},
        {"name": "short", "role": "admin", "sha256": &digest("five")[2..]},
    ]);
    std::fs::write(&path, serde_json::to_string_pretty(&entries).unwrap()).unwrap();
    let variables = [
        ("OPS_SECRET", SECRET),
        ("OPS_INTERNAL_AUTH_TOKEN", "internal"),
        ("OPS_TOKENS_FILE", path.to_str().unwrap()),
    ];
    let nginx = Nginx::start(upstream.address(), &variables).await;
    for (sent, status) in [
        ("one", 202),
        ("two", 202),
        ("three", 401),
        ("four", 401),
        ("five", 401),
        ("six", 401),
        ("seven", 202),
        ("eight", 401),
        ("nine", 401),
    ] {
        for proof in [token(sent), cookie(sent)] {
            let reply = get(&nginx, NEAR, &[&proof]).await;
            assert_eq!(reply.status(), status, "{proof}: {reply:?}");
        }
        let seen = upstream.take();
        assert_eq!(seen.len(), if status == 202 { 2 } else { 0 }, "{sent}");
        for seen in seen {
            assert_eq!(
                seen.header("x-ops-internal-token"),
                None,
                "it is an administrator's"
            );
        }
    }
}

//! Who may call.

use serde_json::json;

use crate::API;
use crate::harness::{Lab, awake, until};
use crate::http::call;
use crate::roles::token;
use crate::service::Service;
use tokio::task::JoinSet;

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
        (
            vec![("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")],
            200,
        ),
        (
            vec![("cookie", cookie.as_str()), ("content-type", "application/json")],
            200,
        ),
        (vec![("cookie", cookie.as_str())], 403),
        (vec![("authorization", "Bearer let-me-in-7f3a")], 200),
        (
            vec![("authorization", "Bearer wrong"), ("cookie", cookie.as_str())],
            401,
        ),
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
            assert!(answer.header("www-authenticate").is_some());
            assert_eq!(answer.json()["error"], "Unauthorized");
            assert!(!answer.text.contains(SECRET));
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_guesses_at_the_speed_of_the_line_and_the_proxy_is_never_shut_out() {
    let service = guarded().await;
    let status = async |path: &str, from: &str, token: &str| {
        let headers = [("x-forwarded-for", from), ("x-ops-token", token)];
        let answer = call(service.address(), "GET", path, &headers, "").await;
        let shows_details = answer.text.contains("\"checks\"");
        (answer.status, shows_details)
    };
    // Wrong tokens are forgiven one after the other, so the guessing goes on while it is looked at.
    let mut guessing: JoinSet<()> = JoinSet::new();
    for path in ["/api/hosts", "/health"].repeat(4) {
        let address = service.address();
        guessing.spawn(async move {
            let headers = [("x-forwarded-for", "203.0.113.9"), ("x-ops-token", "wrong")];
            for _ in 0..100_000 {
                let answer = call(address, "GET", path, &headers, "").await;
                assert!(!answer.text.contains("\"checks\""), "{}", answer.text);
            }
        });
    }
    until("even the right token is one too many", || async {
        (status("/api/hosts", "203.0.113.9", SECRET).await.0 == 429).then_some(())
    })
    .await;
    // `/health` tells a right token from a wrong one as well.
    until("it shows no details any more", || async {
        (!status("/health", "203.0.113.9", SECRET).await.1).then_some(())
    })
    .await;
    assert_eq!(guessing.try_join_next().map(|ended| ended.is_err()), None);
    guessing.shutdown().await;
    assert_eq!(status("/api/hosts", "203.0.113.10", SECRET).await.0, 200);
    assert!(status("/health", "203.0.113.10", SECRET).await.1);
    for _ in 0..150 {
        assert_eq!(status("/api/hosts", "127.0.0.1", "wrong").await.0, 401);
    }
    assert_eq!(status("/api/hosts", "127.0.0.1", SECRET).await.0, 200);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_of_any_kind_is_enough_to_listen_off_loopback() {
    let lab = Lab::start(vec![]).await.with("OPS_BIND", "0.0.0.0");
    let file = lab.folder.path().join("tokens.json");
    std::fs::write(&file, "[]").unwrap();
    let file = file.display().to_string();
    for (name, value) in [("OPS_INTERNAL_AUTH_TOKEN", "agreed"), ("OPS_TOKENS_FILE", &*file)] {
        let mut api = lab.run_with(API, &[(name, value)]);
        let address = ([127, 0, 0, 1], api.address().await.port()).into();
        call(address, "GET", "/api/workers", &[], "").await.expect(401);
        assert_eq!(api.terminate().await.0.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_problem_of_the_tokens_file_is_named_and_stops_the_start() {
    let lab = Lab::start(vec![]).await;
    let file = lab.folder.path().join("tokens.json");
    let text =
        r#"[{"name": "a", "role": "root", "sha256": ""}, {"name": "b", "role": "admin", "sha256": "12"}]"#;
    std::fs::write(&file, text).unwrap();
    let lab = lab.with("OPS_TOKENS_FILE", file.display().to_string());
    for arguments in [&["--check-config"][..], &[]] {
        let (ended, said) = lab.run(API, arguments).ended().await;
        assert_eq!(ended.code(), Some(2), "{said}");
        for part in [
            "OPS_TOKENS_FILE",
            "tokens.json entry [0]: ",
            "tokens.json entry [1]: sha256",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let lab = lab
        .with("OPS_INTERNAL_AUTH_HEADER", "Cookie")
        .with("OPS_TRUSTED_PROXIES", "inside");
    let lab = lab.with("OPS_ALLOWED_HOSTS", "a, b/c");
    let (ended, said) = lab.run(API, &["--check-config"]).ended().await;
    assert_eq!(ended.code(), Some(2), "{said}");
    for name in [
        "OPS_INTERNAL_AUTH_HEADER",
        "OPS_TRUSTED_PROXIES",
        "OPS_ALLOWED_HOSTS",
        "OPS_TOKENS_FILE",
    ] {
        assert!(said.contains(name), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tokens_file_is_read_again_on_a_hangup_and_a_bad_one_changes_nothing() {
    let lab = Lab::start(vec![]).await;
    let file = lab.folder.path().join("tokens.json");
    let write = |entries: Vec<serde_json::Value>| {
        std::fs::write(&file, serde_json::Value::Array(entries).to_string()).unwrap();
    };
    write(vec![token("one", "viewer", "1")]);
    let lab = lab.with("OPS_TOKENS_FILE", file.display().to_string());
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    api.says("the database is ready").await;
    let status = |token: &'static str| async move {
        call(address, "GET", "/api/workers", &[("x-ops-token", token)], "")
            .await
            .status
    };
    assert_eq!((status("1").await, status("2").await), (200, 401));
    write(vec![token("two", "viewer", "2")]);
    api.signal("HUP");
    api.says("read the tokens file again").await;
    assert_eq!((status("1").await, status("2").await), (401, 200));
    std::fs::write(&file, "[").unwrap();
    api.signal("HUP");
    api.says("the tokens stay as they are").await;
    assert_eq!((status("1").await, status("2").await), (401, 200));
    assert_eq!(api.terminate().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxys_own_token_is_taken_by_its_header_and_a_wrong_one_is_told_as_its_callers_know_it() {
    let lab = Lab::start(vec![]).await.with("OPS_INTERNAL_AUTH_TOKEN", "agreed");
    let service = Service::start_in(lab.with("OPS_SECRET", SECRET)).await;
    let get = |headers: Vec<(&'static str, &'static str)>| {
        let address = service.address();
        async move { call(address, "GET", "/api/workers", &headers, "").await }
    };
    get(vec![("x-ops-internal-token", "agreed")]).await.expect(200);
    let wrong = get(vec![("x-ops-internal-token", "guessed"), ("x-ops-token", SECRET)]).await;
    let body = wrong.expect(401);
    assert_eq!(
        (&body["success"], &body["error"]),
        (&json!(false), &json!("Unauthorized"))
    );
    get(vec![("x-ops-token", SECRET)]).await.expect(200);
    service.get("/health").await.expect(200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_pages_of_other_sites_and_other_names_are_turned_away() {
    let service = Service::start_in(Lab::start(vec![]).await.with("OPS_ALLOWED_HOSTS", "lab.example")).await;
    let ask = |method: &'static str, headers: String| {
        let address = service.address();
        async move {
            let path = if method == "GET" {
                "/api/workers"
            } else {
                "/api/wol"
            };
            let request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n");
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
                .await
                .unwrap();
            let mut said = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said)
                .await
                .unwrap();
            said
        }
    };
    for (method, headers, part) in [
        ("GET", "host: localhost\r\n", "200 OK"),
        ("GET", "host: lab.example:80\r\n", "200 OK"),
        ("GET", "host: rebound.example\r\n", "host_not_allowed"),
        ("GET", "", "host_not_allowed"),
        ("POST", "host: localhost\r\n", "mac is required"),
        ("POST", "host: rebound.example\r\n", "host_not_allowed"),
        (
            "POST",
            "host: localhost\r\norigin: https://evil.example\r\n",
            "cross_site",
        ),
        (
            "POST",
            "host: localhost\r\norigin: null\r\ncontent-type: application/json\r\n",
            "cross_site",
        ),
        (
            "POST",
            "host: localhost\r\nsec-fetch-site: cross-site\r\n",
            "cross_site",
        ),
        (
            "POST",
            "host: localhost\r\norigin: http://localhost\r\n",
            "mac is required",
        ),
    ] {
        let said = ask(method, headers.to_owned()).await;
        assert!(said.contains(part), "{method} {headers:?}: {said}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_made_by_the_program_opens_as_far_as_its_role_goes() {
    let lab = Lab::start(vec![]).await;
    let (ended, said) = lab.run(API, &["token", "new", "web", "operator"]).ended().await;
    assert_eq!(ended.code(), Some(0), "{said}");
    let made = said
        .lines()
        .find_map(|line| line.strip_prefix("token: "))
        .unwrap();
    let entry = &said[said.find('{').unwrap()..=said.rfind('}').unwrap()];
    assert!(!entry.contains(made), "only its digest is in the entry: {entry}");
    let file = lab.folder.path().join("tokens.json");
    std::fs::write(&file, format!("[{entry}]")).unwrap();
    let service = Service::start_in(lab.with("OPS_TOKENS_FILE", file.display().to_string())).await;
    let token = [("x-ops-token", made)];
    let address = service.address();
    call(address, "POST", "/api/wol", &token, "{}").await.expect(400);
    call(address, "POST", "/api/workers/x/cordon", &token, "{}")
        .await
        .expect(403);
    service.stop().await;
    let lab = Lab::start(vec![]).await;
    for wrong in [
        ["new", "web", "root"],
        ["new", "two words", "viewer"],
        ["new", "secret", "viewer"],
    ] {
        let (ended, said) = lab
            .run(API, &["token", wrong[0], wrong[1], wrong[2]])
            .ended()
            .await;
        assert_eq!(ended.code(), Some(2), "{wrong:?}: {said}");
        assert!(!said.contains("token: "), "{said}");
    }
}

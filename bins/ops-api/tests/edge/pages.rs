//! `/lab-manager/`, what is hidden, and what the public may see.

use crate::SECRET;
use crate::nginx::{self, Nginx};
use crate::raw::{FOREIGN, NEAR, ask};
use crate::recorder::Recorder;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_itself_finds_nothing_wrong_with_the_files() {
    if !nginx::is_here() {
        return;
    }
    let judged = nginx::judged().await;
    let said = String::from_utf8_lossy(&judged.stderr).into_owned();
    assert!(judged.status.success() && said.contains("syntax is ok"), "{said}");
    assert!(!said.contains("[warn]") && !said.contains("[error]"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_and_its_redirect_give_a_cookie_inside_and_nothing_outside() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &[("OPS_SECRET", SECRET)]).await;
    for (path, status, gives) in [
        ("/lab-manager", 301, true),
        ("/lab-manager/", 200, true),
        ("/lab-manager/index.html", 200, true),
        ("/lab-manager/app.js", 200, false),
        ("/lab-manager/deep", 301, false),
        ("/lab-manager/none.js", 404, false),
    ] {
        let inside = ask(nginx.address(), NEAR, &format!("GET {path}"), &[], "").await;
        assert_eq!(inside.status(), status, "{path}: {inside:?}");
        let set = inside.header("set-cookie");
        assert_eq!(set.is_some(), gives, "{path}: {inside:?}");
        if let Some(set) = set {
            let rest = set.split_once("; ").unwrap().1;
            assert_eq!(rest, "Max-Age=43200; Path=/ops/; HttpOnly; Secure; SameSite=Lax");
            assert_eq!(inside.header("cache-control"), Some("no-store"));
        }
        assert!(!inside.0.contains(SECRET), "{inside:?}");
        if status == 301 {
            assert_eq!(inside.header("location"), Some(format!("{path}/").as_str()));
        }
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let spoofed = ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1"];
            let outside = ask(
                nginx.address(),
                FOREIGN,
                &format!("{method} {path}"),
                &spoofed,
                "",
            )
            .await;
            assert_eq!(outside.status(), 403, "{method} {path}: {outside:?}");
            assert_eq!(outside.header("set-cookie"), None, "{method} {path}: {outside:?}");
            assert_eq!(outside.header("location"), None, "{method} {path}: {outside:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_unknown_paths_are_404_inside_and_say_nothing_outside() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &[("OPS_SECRET", SECRET)]).await;
    let token = format!("X-Ops-Token: {SECRET}");
    for path in [
        "/ops",
        "/ops/",
        "/ops/metrics",
        "/ops/ops/metrics",
        "/ops/ops/api/hosts",
        "/ops/x",
        "/ops/api",
    ] {
        let line = format!("GET {path}");
        assert_eq!(
            ask(nginx.address(), NEAR, &line, &[&token], "").await.status(),
            404,
            "{path}"
        );
        assert_eq!(
            ask(nginx.address(), NEAR, &line, &[], "").await.status(),
            401,
            "{path}"
        );
        assert_eq!(
            ask(nginx.address(), FOREIGN, &line, &[&token], "").await.status(),
            403,
            "{path}"
        );
    }
    for path in ["/metrics", "/api/hosts", "/", "/.lab-ops/health"] {
        let line = format!("GET {path}");
        assert_eq!(
            ask(nginx.address(), NEAR, &line, &[&token], "").await.status(),
            404,
            "{path}"
        );
    }
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_public_learns_whether_the_service_is_well_and_no_more() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &[("OPS_SECRET", SECRET)]).await;
    // The recorder answers 202, which is not what a healthy service says.
    let answer = ask(
        nginx.address(),
        FOREIGN,
        "GET /health",
        &["X-Ops-Token: x", "Cookie: a=b"],
        "",
    )
    .await;
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (503, Some("application/json"))
    );
    assert!(answer.0.contains(r#"{"status":"degraded"}"#), "{answer:?}");
    let seen = upstream.take().remove(0);
    assert!(seen.head.starts_with("GET /health HTTP/1.1\r\n"), "{}", seen.head);
    assert_eq!((seen.header("x-ops-token"), seen.header("cookie")), (None, None));
    // With the token, and from inside, the service's own answer.
    let line = "GET /ops/health";
    let token = format!("X-Ops-Token: {SECRET}");
    assert_eq!(
        ask(nginx.address(), NEAR, line, &[&token], "").await.status(),
        202
    );
    assert_eq!(ask(nginx.address(), NEAR, line, &[], "").await.status(), 401);
    assert_eq!(
        ask(nginx.address(), FOREIGN, line, &[&token], "").await.status(),
        403
    );
    assert_eq!(upstream.take().len(), 1);
}

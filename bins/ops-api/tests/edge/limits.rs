//! What the proxy refuses for its size, its number, or because nobody is behind it.

use std::net::SocketAddr;

use crate::SECRET;
use crate::nginx::{self, Nginx};
use crate::raw::{NEAR, ask};
use crate::recorder::Recorder;

const TOKEN: &str = "X-Ops-Token: correct horse battery staple";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_above_64_kib_is_413_and_one_of_64_kib_passes() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &[("OPS_SECRET", SECRET)]).await;
    let largest = "x".repeat(64 * 1024);
    let passes = ask(nginx.address(), NEAR, "POST /ops/api/winrm", &[TOKEN], &largest).await;
    assert_eq!(passes.status(), 202);
    assert_eq!(upstream.take().remove(0).body.len(), largest.len());
    let refused = ask(
        nginx.address(),
        NEAR,
        "POST /ops/api/winrm",
        &[TOKEN],
        &(largest + "x"),
    )
    .await;
    assert_eq!(refused.status(), 413, "{refused:?}");
    assert!(refused.body().contains(r#""code":"too_large""#), "{refused:?}");
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_in_a_hurry_gets_429_and_guesses_are_counted_as_well() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let changes = [("rate=50r/s", "rate=1r/m"), ("burst=100", "burst=4")];
    let nginx = Nginx::start_changed(upstream.address(), &[("OPS_SECRET", SECRET)], &changes).await;
    let mut statuses = Vec::new();
    for _ in 0..7 {
        let guess = ask(
            nginx.address(),
            NEAR,
            "GET /ops/api/hosts",
            &["X-Ops-Token: guess"],
            "",
        )
        .await;
        if guess.status() == 429 {
            assert_eq!(guess.header("retry-after"), Some("1"), "{guess:?}");
            assert!(
                guess.body().contains(r#""code":"too_many_requests""#),
                "{guess:?}"
            );
        }
        statuses.push(guess.status());
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429]);
    let right = ask(nginx.address(), NEAR, "GET /ops/api/hosts", &[TOKEN], "").await;
    assert_eq!(right.status(), 429);
    assert_eq!(upstream.take().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_service_behind_it_the_answer_is_502_in_json() {
    if !nginx::is_here() {
        return;
    }
    // A port that is held and not listened on.
    let held = tokio::net::TcpSocket::new_v4().unwrap();
    held.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let nginx = Nginx::start(held.local_addr().unwrap(), &[("OPS_SECRET", SECRET)]).await;
    let answer = ask(nginx.address(), NEAR, "GET /ops/api/hosts", &[TOKEN], "").await;
    assert_eq!(
        (answer.status(), answer.header("content-type")),
        (502, Some("application/json"))
    );
    assert!(answer.body().contains(r#""code":"unavailable""#), "{answer:?}");
    let public = ask(nginx.address(), NEAR, "GET /health", &[], "").await;
    assert_eq!(public.status(), 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_that_nobody_needs_are_refused() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &[("OPS_SECRET", SECRET)]).await;
    for method in ["TRACE", "PATCH", "PROPFIND", "BREW"] {
        let answer = ask(
            nginx.address(),
            NEAR,
            &format!("{method} /ops/api/hosts"),
            &[TOKEN],
            "",
        )
        .await;
        assert_eq!(answer.status(), 405, "{method}: {answer:?}");
    }
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE"] {
        let answer = ask(
            nginx.address(),
            NEAR,
            &format!("{method} /ops/api/hosts"),
            &[TOKEN],
            "",
        )
        .await;
        assert_eq!(answer.status(), 202, "{method}: {answer:?}");
    }
    assert_eq!(upstream.take().len(), 5);
}

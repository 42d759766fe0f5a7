//! The corpus in front of a service that writes everything down, and in front of the real one.

use std::time::Duration;

use tokio::time::Instant;

use crate::corpus::{Attempt, CORPUS};
use crate::harness::{Lab, awake};
use crate::nginx::{self, Nginx};
use crate::raw::{NEAR, Reply, ask, exchange};
use crate::recorder::{Recorder, Seen};
use crate::{API, SECRET};

const VARIABLES: [(&str, &str); 2] = [("OPS_SECRET", SECRET), ("OPS_INTERNAL_AUTH_TOKEN", "internal")];
/// The corpus has a few dozen requests in a hurry.
const UNHURRIED: [(&str, &str); 1] = [("rate=50r/s", "rate=5000r/s")];

/// A peer that says nothing for so long is waiting for us. On a machine on which an ordinary answer takes its time, so does
/// this.
async fn patience(nginx: &Nginx) -> Duration {
    let began = Instant::now();
    for _ in 0..5 {
        ask(nginx.address(), NEAR, "GET /health", &[], "").await.status();
    }
    Duration::from_secs(2) + 20 * began.elapsed()
}

/// Whether the statuses are those of the attempt; `own` knows those of the service itself.
fn is_answered(attempt: &Attempt, reply: &Reply, own: impl Fn(u16) -> bool) -> bool {
    let Some(wanted) = attempt.statuses else {
        return true;
    };
    let got = reply.statuses();
    // One status, of several that would do; else one for each request.
    let fits = |wanted: u16, got: u16| wanted == got || (wanted == 200 && own(got));
    let alternatives =
        attempt.arrives.is_empty() && got.len() == 1 && wanted.iter().any(|one| fits(*one, got[0]));
    let in_order =
        got.len() == wanted.len() && wanted.iter().zip(&got).all(|(wanted, got)| fits(*wanted, *got));
    alternatives || in_order
}

fn check_seen(name: &str, seen: &Seen) {
    let head = &seen.head;
    assert_eq!(seen.extra, "", "{name}: bytes behind the request: {head}");
    assert_eq!(seen.header("x-ops-token"), Some(SECRET), "{name}: {head}");
    assert_eq!(
        seen.header("x-ops-internal-token"),
        Some("internal"),
        "{name}: {head}"
    );
    assert_eq!(seen.header("connection"), Some("close"), "{name}: {head}");
    assert!(
        seen.all("transfer-encoding").is_empty() && seen.all("trailer").is_empty(),
        "{name}: {head}"
    );
    assert!(seen.all("content-length").len() <= 1, "{name}: {head}");
    let lines = head.replace("\r\n", "");
    assert!(!lines.contains('\r') && !lines.contains('\n'), "{name}: {head:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_only_what_was_let_in_arrives() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start_changed(upstream.address(), &VARIABLES, &UNHURRIED).await;
    let host = nginx.address().to_string();
    let patience = patience(&nginx).await;
    upstream.take();
    let mut odd = Vec::new();
    for attempt in CORPUS {
        let own = |status| status == 202;
        let reply = exchange(patience, nginx.address(), NEAR, attempt.bytes(SECRET, &host)).await;
        if !is_answered(attempt, &reply, own) {
            odd.push((attempt.name, reply.statuses()));
        }
        // Whatever was on its way has arrived once this has, since nginx has one thread.
        let token = format!("X-Ops-Token: {SECRET}");
        ask(nginx.address(), NEAR, "GET /ops/api/marker", &[&token], "").await;
        let mut seen = upstream.take();
        assert_eq!(seen.pop().unwrap().target(), "/api/marker");
        let targets: Vec<&str> = seen.iter().map(Seen::target).collect();
        if targets != attempt.arrives {
            odd.push((attempt.name, reply.statuses()));
        }
        for seen in &seen {
            check_seen(attempt.name, seen);
        }
        assert!(!reply.0.contains(SECRET), "{}", attempt.name);
    }
    assert_eq!(odd, vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_service_hears_of_no_attempt_without_a_token_and_does_nothing() {
    if !nginx::is_here() {
        return;
    }
    let lab = Lab::start(vec![awake(1)]).await.with("OPS_SECRET", SECRET);
    let mut api = lab.run(API, &[]);
    api.says("the database is ready").await;
    let nginx = Nginx::start_changed(api.address().await, &VARIABLES[..1], &UNHURRIED).await;
    let host = nginx.address().to_string();
    let patience = patience(&nginx).await;
    let before = lab.sim(1).effects().len();
    let mut odd = Vec::new();
    for attempt in CORPUS {
        // What a caller did wrong is the caller's fault, whoever says so.
        let own = |status| (200..500).contains(&status) && status != 401 && status != 403;
        let reply = exchange(patience, nginx.address(), NEAR, attempt.bytes(SECRET, &host)).await;
        if !is_answered(attempt, &reply, own) {
            odd.push((attempt.name, reply.statuses()));
        }
    }
    assert_eq!(odd, vec![]);
    let token = format!("X-Ops-Token: {SECRET}");
    let well = ask(nginx.address(), NEAR, "GET /ops/api/workers", &[&token], "").await;
    assert_eq!(well.status(), 200, "{well:?}");
    assert_eq!(lab.sim(1).effects().len(), before, "a host was spoken to");
    let (_, said) = api.terminate().await;
    assert!(!said.contains("without the right token"), "{said}");
}

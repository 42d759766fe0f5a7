//! Long calls and streams through the proxy.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::{LIMIT, Lab, awake};
use crate::nginx::{self, Nginx};
use crate::raw::{NEAR, ask, connect};
use crate::recorder::Recorder;
use crate::{API, SECRET};

const TOKEN: &str = "X-Ops-Token: correct horse battery staple";

async fn open(to: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(to, NEAR).await;
    let text = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\n{TOKEN}\r\nLast-Event-ID: 41\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn read_until(stream: &mut TcpStream, text: &mut String, part: &str) {
    let reading = async {
        let mut buffer = [0; 1024];
        while !text.contains(part) {
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(length > 0, "ended before {part:?}: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    tokio::time::timeout(LIMIT, reading)
        .await
        .expect("the event did not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_while_the_stream_is_still_open() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let nginx = Nginx::start(upstream.address(), &[("OPS_SECRET", SECRET)]).await;
    for (path, target) in [
        (
            "/ops/api/heartbeat/stream?host=lab-ws-01",
            "/api/heartbeat/stream?host=lab-ws-01",
        ),
        (
            "/ops/api/operations/6f9c-12/events",
            "/api/operations/6f9c-12/events",
        ),
    ] {
        let mut stream = open(nginx.address(), path).await;
        let mut text = String::new();
        // The service keeps the second event back, so only an unbuffered way brings the first.
        read_until(&mut stream, &mut text, "data: first").await;
        assert!(!text.contains("data: second"), "{text}");
        upstream.release();
        read_until(&mut stream, &mut text, "data: second").await;
        assert!(
            text.to_lowercase().contains("content-type: text/event-stream"),
            "{text}"
        );
        let seen = upstream.take().remove(0);
        assert_eq!(
            (seen.target(), seen.header("last-event-id")),
            (target, Some("41"))
        );
    }
    for odd in ["a%2fb", "a.b", "a..b", &"x".repeat(65)] {
        let line = format!("GET /ops/api/operations/{odd}/events");
        let reply = ask(nginx.address(), NEAR, &line, &[TOKEN], "");
        // As an ordinary path it would be answered whole, with its end.
        upstream.release();
        assert!([200, 400].contains(&reply.await.status()), "{odd}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_answer_is_504_where_no_host_is_waited_for() {
    if !nginx::is_here() {
        return;
    }
    let upstream = Recorder::start().await;
    let changes = [("proxy_read_timeout 30s;", "proxy_read_timeout 1s;")];
    let nginx = Nginx::start_changed(upstream.address(), &[("OPS_SECRET", SECRET)], &changes).await;
    let reply = ask(nginx.address(), NEAR, "GET /ops/api/slow", &[TOKEN], "").await;
    assert_eq!(reply.status(), 504, "{reply:?}");
    assert!(reply.body().contains(r#""code":"timeout""#), "{reply:?}");
    assert_eq!(upstream.take().len(), 1, "it is not tried twice");
    upstream.release();
}

#[test]
fn calls_that_wait_for_a_host_have_the_long_time() {
    let conf = include_str!("../../../../deploy/openresty/lab-ops.locations.conf");
    for path in [
        "wol",
        "winrm",
        "heartbeat/poll",
        "hosts/local-mode",
        "reservations/start",
        "reservations/end",
    ] {
        let (_, location) = conf
            .split_once(&format!("location = /ops/api/{path} {{"))
            .unwrap_or_else(|| panic!("{path} has no location of its own"));
        let (location, _) = location.split_once('}').unwrap();
        assert!(
            location.contains("proxy_read_timeout 330s;"),
            "{path}: {location}"
        );
        assert!(
            location.contains(&format!("proxy_pass http://lab_ops_api/api/{path};")),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_a_minute_comes_back_through_the_proxy() {
    if !nginx::is_here() {
        return;
    }
    let mut host = awake(1);
    host.station.durations.guard = Duration::from_secs(62);
    let lab = Lab::start(vec![host]).await.with("OPS_SECRET", SECRET);
    let mut api = lab.run(API, &[]);
    api.says("the database is ready").await;
    let nginx = Nginx::start(api.address().await, &[("OPS_SECRET", SECRET)]).await;
    let began = Instant::now();
    let body = r#"{"host": "lab-ws-01", "command": "session", "args": ["guard", "--grace=0"]}"#;
    let headers = [TOKEN, "Content-Type: application/json"];
    let exchange = async {
        let mut stream = connect(nginx.address(), NEAR).await;
        let head = format!(
            "POST /ops/api/winrm HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n{}\r\n",
            headers.join("\r\n")
        );
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(2 * LIMIT, exchange)
        .await
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let json: Value = serde_json::from_str(
        body.trim_start_matches(|c| c != '{')
            .trim_end_matches(|c| c != '}'),
    )
    .unwrap();
    assert_eq!(json["exit_code"], 0, "{json}");
    assert!(began.elapsed() >= Duration::from_secs(62), "{json}");
    api.terminate().await;
}

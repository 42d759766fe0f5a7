//! How much callers may take, and that nobody is kept waiting by those who take too much.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{LIMIT, Lab, Silence, asleep, until};
use crate::http::call;
use crate::roles::token;
use crate::service::Service;

async fn with(settings: &[(&str, &str)]) -> Service {
    let mut lab = Lab::start(vec![asleep(1)]).await;
    for (name, value) in settings {
        lab = lab.with(name, *value);
    }
    Service::start_in(lab).await
}

/// All that comes until the service hangs up.
async fn to_the_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let reading = stream.read_to_end(&mut said);
    let ended = tokio::time::timeout(LIMIT, reading).await;
    // A reset is an end as well.
    let _ = ended.expect("the connection was not closed");
    String::from_utf8_lossy(&said).into_owned()
}

async fn opened(address: SocketAddr, begin: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(begin.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_sends_nothing_or_half_a_header_is_closed() {
    let service = with(&[("OPS_HTTP_HEADER_TIMEOUT", "1")]).await;
    for begin in [
        "",
        "GET /hea",
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx-more: ",
    ] {
        let mut stream = opened(service.address(), begin).await;
        let said = to_the_end(&mut stream).await;
        assert!(!said.contains("200 OK"), "{begin:?}: {said}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_trickles_in_is_not_waited_for() {
    let service = with(&[("OPS_HTTP_HEADER_TIMEOUT", "1")]).await;
    let mut stream = opened(service.address(), "GET /health HTTP/1.1\r\nhost: localhost\r\n").await;
    let mut sent = 0;
    let trickling = async {
        while stream.write_all(b"x-a: b\r\n").await.is_ok() && sent < 300 {
            sent += 1;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        sent
    };
    assert!(
        tokio::time::timeout(LIMIT, trickling).await.unwrap() < 300,
        "it was closed"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_outlives_the_time_for_a_header_between_two_calls_and_is_closed_when_idle() {
    let service = with(&[("OPS_HTTP_HEADER_TIMEOUT", "3"), ("OPS_HTTP_IDLE_TIMEOUT", "15")]).await;
    let ask = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut stream = opened(service.address(), ask).await;
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("hosts_loaded") {
        assert!(stream.read_buf(&mut said).await.unwrap() > 0);
    }
    // Longer than a header may take, shorter than a connection may be idle.
    tokio::time::sleep(std::time::Duration::from_millis(4500)).await;
    stream.write_all(ask.as_bytes()).await.unwrap();
    assert!(
        to_the_end(&mut stream).await.contains("200 OK"),
        "a second answer, then the end"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_arrive_ends_in_408_and_one_too_long_in_413() {
    let service = with(&[
        ("OPS_HTTP_BODY_TIMEOUT", "1"),
        ("OPS_HTTP_MAX_BODY_BYTES", "2000"),
    ])
    .await;
    for framing in [
        "content-length: 100\r\n\r\n{",
        "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ] {
        let begin = format!("POST /api/wol HTTP/1.1\r\nhost: localhost\r\n{framing}");
        let mut stream = opened(service.address(), &begin).await;
        let said = to_the_end(&mut stream).await;
        assert!(
            said.starts_with("HTTP/1.1 408 ") && said.contains("body_timeout"),
            "{said}"
        );
    }
    for length in [1900, 2100] {
        let body = json!({"host": "", "more": "x".repeat(length - 30)}).to_string();
        let status = if length < 2000 { 400 } else { 413 };
        service.post_text("/api/wol", body.clone()).await.expect(status);
        let chunked = format!(
            "POST /api/wol HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n\
             {:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        let mut stream = opened(service.address(), &chunked).await;
        let said = to_the_end(&mut stream).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_connections_than_there_are_places_wait_until_one_is_closed() {
    let service = with(&[
        ("OPS_HTTP_MAX_CONNECTIONS", "2"),
        ("OPS_HTTP_HEADER_TIMEOUT", "60"),
    ])
    .await;
    let address = service.address();
    let first = TcpStream::connect(address).await.unwrap();
    let _second = TcpStream::connect(address).await.unwrap();
    let third = tokio::spawn(async move { call(address, "GET", "/health", &[], "").await.status });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!third.is_finished(), "there is no place for it yet");
    drop(first);
    assert_eq!(tokio::time::timeout(LIMIT, third).await.unwrap().unwrap(), 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_beyond_the_limit_are_told_to_come_back_and_keep_nobody_from_looking() {
    let service = with(&[("OPS_MAX_OPERATIONS", "1")]).await;
    let address = service.address();
    let silence = Silence::new();
    let slow = silence.wake();
    let slow = tokio::spawn(async move {
        loop {
            let answer = call(address, "POST", "/api/wol", &[], slow.to_string()).await;
            // The place may be taken by one of those below that ask whether it is.
            if answer.status != 429 {
                return answer.status;
            }
        }
    });
    let refused = until("there is no place left", || async {
        let answer = call(address, "POST", "/api/wol", &[], "{}").await;
        (answer.status == 429).then_some(answer)
    })
    .await;
    let body = refused.json();
    assert_eq!(body["code"], "too_many_operations");
    assert!(body["requestId"].is_string() && refused.header("retry-after").is_some());
    for path in ["/health", "/api/workers", "/api/openapi.json"] {
        assert_eq!(call(address, "GET", path, &[], "").await.status, 200, "{path}");
    }
    assert!(!slow.is_finished(), "all that while the first was under way");
    let _answering = silence.end().await;
    assert_eq!(slow.await.unwrap(), 200);
    until("its place is free again", || async {
        (call(address, "POST", "/api/wol", &[], "{}").await.status == 400).then_some(())
    })
    .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_has_a_rate_of_its_own_and_health_has_none() {
    let lab = Lab::start(vec![]).await.with("OPS_RATE_PER_MINUTE", "5");
    let file = lab.folder.path().join("tokens.json");
    let entries = vec![token("one", "viewer", "1"), token("two", "viewer", "2")];
    std::fs::write(&file, Value::Array(entries).to_string()).unwrap();
    let service = Service::start_in(lab.with("OPS_TOKENS_FILE", file.display().to_string())).await;
    let as_caller = |token: &'static str| {
        let address = service.address();
        async move { call(address, "GET", "/api/workers", &[("x-ops-token", token)], "").await }
    };
    let mut allowed = 0;
    // One more is allowed every twelve seconds, while this goes on.
    let refused = loop {
        let answer = as_caller("1").await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 200);
        allowed += 1;
        assert!(allowed < 100, "there is no end of it");
    };
    assert!(allowed >= 5, "{allowed}");
    assert_eq!(refused.expect(429)["code"], "too_many_requests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=12).contains(&wait), "one call in twelve seconds, not {wait}");
    assert_eq!(as_caller("2").await.status, 200);
    for _ in 0..20 {
        service.get("/health").await.expect(200);
    }
    service.stop().await;
}

//! The scheduler's own listener for monitoring.

use std::net::SocketAddr;

use chrono::{TimeDelta, Utc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::SCHEDULER;
use crate::harness::{Lab, Process, awake, migrate, reservations, until};

async fn get(address: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn address(process: &mut Process) -> SocketAddr {
    process.says("listening for metrics address=").await;
    let said = process.said();
    let after = said.split("listening for metrics address=").nth(1).unwrap();
    after.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    reason = "the reservation begins by the clock of the program under test"
)]
async fn a_scheduler_shows_how_punctual_it_was_and_only_to_whom_it_knows() {
    store_support::test_support::on_sqlite(|test| async move {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let lab = lab
            .with("OPS_METRICS_PORT", "0")
            .with("OPS_SECRET", "the api's")
            .with("OPS_METRICS_TOKEN", "s3cret")
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1");
        let now = Utc::now();
        reservations::book(
            db,
            "0xa1",
            "1",
            now + TimeDelta::seconds(90),
            now + TimeDelta::hours(1),
        )
        .await;
        let mut scheduler = lab.run(SCHEDULER, &[]);
        let address = address(&mut scheduler).await;
        let known = "authorization: Bearer s3cret\r\n";
        assert_eq!(get(address, "/metrics", "").await.0, 401);
        assert_eq!(
            get(address, "/metrics", "authorization: Bearer the api's\r\n")
                .await
                .0,
            401
        );
        assert_eq!(get(address, "/elsewhere", known).await.0, 404);
        assert_eq!(get(address, "/health/live", "").await.0, 200);
        let text = until("the reservation was ready in time", || async {
            let (status, text) = get(address, "/metrics", known).await;
            assert_eq!(status, 200);
            text.contains("labops_reservations_started_on_time_total 1")
                .then_some(text)
        })
        .await;
        let has = |line: &str| assert!(text.lines().any(|found| found == line), "{line} in {text}");
        has("labops_reservations_started_late_total 0");
        has("labops_reservation_ready_margin_seconds_count 1");
        has(r#"labops_reservation_ready_margin_seconds_bucket{le="0"} 0"#);
        has(r#"labops_dispatch_lateness_seconds_count{kind="start"} 1"#);
        // The first poll of a host has a place of its own within the interval: the reservation may have been faster.
        until("a poll is counted", || async {
            let (_, text) = get(address, "/metrics", known).await;
            text.contains(r#"labops_polls_total{outcome="ok"}"#).then_some(())
        })
        .await;
        let healthy = || async {
            let (status, body) = get(address, "/health", known).await;
            (status == 200 && body.contains("\"checks\"")).then_some(())
        };
        until("it is healthy and says why", healthy).await;
        let (_, bare) = get(address, "/health", "").await;
        assert!(!bare.contains("checks"), "{bare}");
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn off_loopback_it_does_not_listen_without_a_token() {
    let lab = Lab::start(vec![]).await;
    let lab = lab
        .with("OPS_METRICS_PORT", "0")
        .with("OPS_METRICS_BIND", "0.0.0.0");
    let (status, said) = lab.run(SCHEDULER, &[]).ended().await;
    assert_eq!(status.code(), Some(2), "{said}");
    assert!(said.contains("OPS_METRICS_TOKEN"), "{said}");
}

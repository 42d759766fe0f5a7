//! Reading heartbeats and events.

use std::time::Duration;

use host_sim::Fault;
use lab_model::HostName;
use station_control::{EventsRead, StationError};

use crate::bench::{Bench, LIMIT, awake, until, words};

#[tokio::test]
async fn a_steady_poll_is_three_requests_on_one_connection_and_one_shell() {
    let bench = Bench::start(awake()).await;
    let sim = bench.sim();
    let poll = || {
        bench
            .control
            .read_heartbeat(bench.name(), EventsRead::IfChanged, LIMIT)
    };
    poll().await.unwrap();
    // Type 1, type 3, Create, Command, Receive, Signal.
    until("the first command is signalled", || async {
        sim.counts().requests == 6
    })
    .await;
    for _ in 0..20 {
        let reading = poll().await.unwrap();
        assert_eq!(reading.heartbeat.ready, Some(true));
        assert!(reading.last_event.is_none());
    }
    until("the last command is signalled", || async {
        sim.counts().requests >= 66
    })
    .await;
    let counts = sim.counts();
    assert_eq!(counts.requests, 66);
    assert_eq!(
        (counts.connections, counts.handshakes, counts.shells_created),
        (1, 1, 1)
    );
    let stats = bench.control.stats(bench.name()).unwrap();
    assert_eq!(
        (stats.connections, stats.shells_created, stats.commands),
        (1, 1, 21)
    );
    bench.end().await;
}

#[tokio::test]
async fn the_document_comes_without_its_byte_order_mark() {
    let bench = Bench::start(awake()).await;
    let reading = bench
        .control
        .read_heartbeat(bench.name(), EventsRead::No, LIMIT)
        .await
        .unwrap();
    assert!(reading.document.starts_with('{'), "{:.20}", reading.document);
    let parsed: serde_json::Value = serde_json::from_str(&reading.document).unwrap();
    assert_eq!(parsed, reading.heartbeat.raw);
    assert_eq!(reading.heartbeat.host.as_deref(), Some("LAB-WS-01"));
    bench.end().await;
}

#[tokio::test]
async fn a_heartbeat_that_is_no_document_is_told_from_one_that_is_missing() {
    let bench = Bench::start(awake()).await;
    let read = || bench.control.read_heartbeat(bench.name(), EventsRead::Yes, LIMIT);
    bench.sim().set_fault(Fault::GarbledHeartbeat);
    let error = read().await.unwrap_err();
    assert!(
        matches!(error, StationError::HeartbeatUnreadable { .. }),
        "{error:?}"
    );
    assert_eq!(error.code(), "heartbeat_unreadable");
    bench.sim().clear_faults();
    bench.sim().set_fault(Fault::NoHeartbeat);
    let error = read().await.unwrap_err();
    assert!(
        matches!(&error, StationError::FileMissing { path, .. } if path.ends_with("heartbeat.json")),
        "{error:?}"
    );
    bench.sim().clear_faults();
    assert_eq!(read().await.unwrap().heartbeat.ready, Some(true));
    bench.end().await;
}

#[tokio::test]
async fn a_file_that_is_missing_for_a_moment_is_read_again() {
    let bench = Bench::start(awake()).await;
    let sim = bench.sim().clone();
    sim.set_fault(Fault::NoHeartbeat);
    let back = tokio::spawn(async move {
        while sim.counts().commands == 0 {
            tokio::task::yield_now().await;
        }
        // The first read finds nothing; the second comes a quarter of a second later.
        tokio::time::sleep(Duration::from_millis(30)).await;
        sim.clear_faults();
    });
    let reading = bench
        .control
        .read_heartbeat(bench.name(), EventsRead::No, LIMIT)
        .await
        .unwrap();
    back.await.unwrap();
    assert_eq!(reading.heartbeat.ready, Some(true));
    bench.end().await;
}

#[tokio::test]
async fn events_are_read_when_asked_for_or_when_there_is_a_new_one() {
    let bench = Bench::start(awake()).await;
    let read = |events| bench.control.read_heartbeat(bench.name(), events, LIMIT);
    assert!(
        read(EventsRead::Yes).await.unwrap().last_event.is_none(),
        "there is no file yet"
    );
    bench.sim().log_on("teacher");
    bench
        .control
        .run(bench.name(), "session", &words("guard --grace=30"), Some(LIMIT))
        .await
        .unwrap();
    assert!(read(EventsRead::No).await.unwrap().last_event.is_none());
    let event = read(EventsRead::IfChanged)
        .await
        .unwrap()
        .last_event
        .expect("a new event");
    assert_eq!(event.user.as_deref(), Some("teacher"));
    let commands = bench.sim().counts().commands;
    assert!(
        read(EventsRead::IfChanged).await.unwrap().last_event.is_none(),
        "already read"
    );
    assert_eq!(bench.sim().counts().commands, commands + 1);
    assert!(read(EventsRead::Yes).await.unwrap().last_event.is_some());
    bench.end().await;
}

#[tokio::test]
async fn a_host_that_is_not_in_the_catalog_is_named() {
    let bench = Bench::start(awake()).await;
    let name = HostName::parse("nobody").unwrap();
    let error = bench
        .control
        .read_heartbeat(&name, EventsRead::No, LIMIT)
        .await
        .unwrap_err();
    assert_eq!((error.code(), error.is_host_problem()), ("unknown_host", false));
    assert_eq!(error.to_string(), "host nobody is not in the catalog");
    bench.end().await;
}

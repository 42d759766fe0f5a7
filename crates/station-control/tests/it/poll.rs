//! Polling: what it costs, and what it makes of a heartbeat. What it reads of the event file is in `event_file`.

use std::time::Duration;

use host_sim::{EffectKind, HostSpec, PowerState, SimHost};
use labstation_commands::{Event, EventBatch, EventCursor};
use serde_json::{Map, Value, json};
use station_control::{EventsAsk, HeartbeatReading, PollAsk, Settings, StationError};

use crate::bench::{Bench, LIMIT, awake, entry, settings, until};

pub(crate) const HEARTBEAT: &str = r"C:\LabStation\test\heartbeat.json";
pub(crate) const EVENTS: &str = r"C:\LabStation\test\events.jsonl";
pub(crate) const FIRST: EventsAsk = EventsAsk::FirstSight {
    look_back: Duration::ZERO,
};

/// An entry whose two files the test writes itself.
pub(crate) fn own_files(sim: &SimHost) -> Map<String, Value> {
    let mut entry = entry(sim);
    entry.insert("heartbeat_path".into(), json!(HEARTBEAT));
    entry.insert("events_path".into(), json!(EVENTS));
    entry
}

pub(crate) fn stamp(second: usize) -> String {
    format!(
        "2026-03-01T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A heartbeat that speaks of the log-off of that second.
pub(crate) fn heartbeat(second: usize) -> String {
    let logoff = match second {
        0 => json!([]),
        _ => json!({"timestamp": stamp(second), "user": "student"}),
    };
    json!({
        "timestamp": stamp(second),
        "schemaVersion": "1.0.0",
        "host": "LAB-WS-01",
        "summary": {"ready": true, "issues": []},
        "operations": {"lastForcedLogoff": logoff},
    })
    .to_string()
}

pub(crate) fn event(second: usize) -> String {
    format!(
        "{{\"timestamp\":\"{}\",\"user\":\"student\",\"n\":{second}}}\r\n",
        stamp(second)
    )
}

pub(crate) fn numbers(events: &[Event]) -> Vec<u64> {
    events
        .iter()
        .map(|event| event.raw["n"].as_u64().unwrap())
        .collect()
}

pub(crate) async fn bench_of_own_files(spec: HostSpec, settings: Settings) -> Bench {
    let bench = Bench::start_with(spec, settings, own_files).await;
    bench.sim().write_file(HEARTBEAT, heartbeat(0));
    bench
}

pub(crate) async fn poll(bench: &Bench, events: EventsAsk) -> Result<HeartbeatReading, StationError> {
    bench.control.poll(bench.name(), PollAsk { events }, LIMIT).await
}

pub(crate) async fn batch(bench: &Bench, events: EventsAsk) -> Option<EventBatch> {
    let reading = poll(bench, events).await.unwrap();
    assert!(reading.events_failed.is_none(), "{:?}", reading.events_failed);
    reading.events
}

pub(crate) async fn first_sight(bench: &Bench) -> EventCursor {
    batch(bench, FIRST).await.expect("the place where to begin").to
}

/// How often a program was started.
pub(crate) fn starts(sim: &SimHost, word: &str) -> usize {
    let effects = sim.effects().into_iter();
    effects
        .filter(|effect| matches!(&effect.what, EffectKind::Command { argv, .. } if argv.iter().any(|w| w.contains(word))))
        .count()
}

/// How often a whole file was printed.
pub(crate) fn reads(sim: &SimHost) -> usize {
    let effects = sim.effects().into_iter();
    effects
        .filter(|effect| matches!(&effect.what, EffectKind::Command { program, .. } if program == "type"))
        .count()
}

#[tokio::test]
async fn a_poll_in_the_steady_state_is_three_requests_and_no_powershell() {
    let bench = Bench::start(awake()).await;
    let sim = bench.sim();
    let first = poll(&bench, FIRST).await.unwrap();
    let place = first.events.expect("a place to begin").to;
    assert_eq!((place.offset, place.anchor), (0, None), "there is no file yet");
    let booted_at = first.booted_at.expect("asked on the new connection");
    let real = sim.booted_at().unwrap();
    assert!(
        (booted_at - real).abs() < chrono::TimeDelta::seconds(60),
        "{booted_at} {real}"
    );
    // Two of the handshake, Create; two commands of three; Get.
    until("the first poll is over", || async { sim.counts().requests == 10 }).await;
    for _ in 0..20 {
        let reading = poll(&bench, EventsAsk::From(place)).await.unwrap();
        assert_eq!(reading.heartbeat.ready, Some(true));
        assert!(reading.events.is_none() && reading.booted_at.is_none());
    }
    until("the last poll is over", || async { sim.counts().requests >= 70 }).await;
    let counts = sim.counts();
    assert_eq!(
        (
            counts.requests,
            counts.connections,
            counts.handshakes,
            counts.shells_created
        ),
        (70, 1, 1, 1)
    );
    assert_eq!((starts(sim, "powershell"), starts(sim, "curl.exe")), (0, 1));
    bench.end().await;
}

#[tokio::test]
async fn the_boot_time_is_asked_for_once_on_each_new_connection() {
    let bench = Bench::start(awake()).await;
    let place = first_sight(&bench).await;
    assert!(
        poll(&bench, EventsAsk::From(place))
            .await
            .unwrap()
            .booted_at
            .is_none()
    );
    bench.pull_the_plug().await;
    bench.sim().power_on();
    assert!(bench.sim().wait_for(PowerState::Ready, LIMIT).await);
    let reading = poll(&bench, EventsAsk::From(place)).await.unwrap();
    let (asked, real) = (
        reading.booted_at.expect("a new connection"),
        bench.sim().booted_at().unwrap(),
    );
    assert!(
        (asked - real).abs() < chrono::TimeDelta::seconds(60),
        "{asked} {real}"
    );
    assert!(
        poll(&bench, EventsAsk::From(place))
            .await
            .unwrap()
            .booted_at
            .is_none()
    );
    bench.end().await;
}

#[tokio::test]
async fn whatever_stands_in_a_heartbeat_it_is_read_or_refused_by_name() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let read = async |bytes: Vec<u8>| {
        bench.sim().write_file(HEARTBEAT, bytes);
        poll(&bench, EventsAsk::No).await
    };
    let with = |rest: &str| format!("{{\"summary\":{{\"ready\":true}},{rest}}}").into_bytes();
    let odd = [
        with(r#""summary":{"ready":false},"summary":{"ready":true}"#),
        with(r#""host":"\ud83d""#),
        with("\"host\":\"a\\u0000b\0c\u{1}\""),
        with(r#""operations":[],"status":[],"wake":[]"#),
        with(r#""wake":{"armedCount":true,"nicPower":{"wolReady":true}}"#),
        [b"\xef\xbb\xbf", with("\"x\":1").as_slice(), b"\0\0\0"].concat(),
        with(&format!("\"host\":\"{}\"", "x".repeat(1 << 20))),
        b"{\"summary\":{\"ready\":true},\"host\":\"\xc3\xff\"}".to_vec(),
    ];
    for (at, bytes) in odd.into_iter().enumerate() {
        let reading = read(bytes).await.unwrap();
        assert_eq!(reading.heartbeat.ready, Some(true), "case {at}");
        let strict: Value = serde_json::from_str(&reading.document).unwrap();
        assert_eq!(strict, reading.heartbeat.raw, "case {at}");
    }
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    for bytes in [deep, b"[1]".to_vec(), b"true".to_vec(), b"\xff\xfe{".to_vec()] {
        let error = read(bytes).await.unwrap_err();
        assert_eq!(error.code(), "heartbeat_unreadable", "{error:?}");
    }
    assert_eq!(read(b"[]".to_vec()).await.unwrap().heartbeat.ready, None);
    bench.end().await;
}

#[tokio::test]
async fn a_heartbeat_without_measure_is_fetched_once_and_then_only_measured() {
    let bench = bench_of_own_files(awake(), settings()).await;
    bench.sim().write_file(HEARTBEAT, vec![b'x'; (4 << 20) + 1]);
    for _ in 0..3 {
        let error = poll(&bench, EventsAsk::No).await.unwrap_err();
        assert!(error.sentence().contains("4194305 bytes"), "{}", error.sentence());
        bench.sim().write_file(HEARTBEAT, vec![b'x'; (4 << 20) + 1]);
    }
    bench.sim().write_file(HEARTBEAT, vec![b'x'; 64 << 20]);
    let error = poll(&bench, EventsAsk::No).await.unwrap_err();
    assert_eq!(error.code(), "heartbeat_unreadable");
    assert!(
        error.sentence().contains("67108864 bytes"),
        "{}",
        error.sentence()
    );
    assert_eq!((reads(bench.sim()), starts(bench.sim(), "curl.exe")), (1, 3));
    bench.sim().write_file(HEARTBEAT, heartbeat(1));
    for _ in 0..2 {
        assert_eq!(
            poll(&bench, EventsAsk::No).await.unwrap().heartbeat.ready,
            Some(true)
        );
    }
    assert_eq!((reads(bench.sim()), starts(bench.sim(), "curl.exe")), (3, 4));
    bench.end().await;
}

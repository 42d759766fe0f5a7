//! Polling: what it costs, and that every event is told exactly once.

use std::time::Duration;

use host_sim::{At, EffectKind, Fault, HostSpec, PowerState, Program, SimHost, Step};
use labstation_commands::{Event, EventBatch, EventCursor, Resync};
use serde_json::{Map, Value, json};
use station_control::{EventsAsk, HeartbeatReading, PollAsk, Settings, StationControl, StationError};

use crate::bench::{Bench, LIMIT, awake, catalog, entry, settings, until, words};

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

async fn poll(bench: &Bench, events: EventsAsk) -> Result<HeartbeatReading, StationError> {
    bench.control.poll(bench.name(), PollAsk { events }, LIMIT).await
}

async fn batch(bench: &Bench, events: EventsAsk) -> Option<EventBatch> {
    let reading = poll(bench, events).await.unwrap();
    assert!(reading.events_failed.is_none(), "{:?}", reading.events_failed);
    reading.events
}

async fn first_sight(bench: &Bench) -> EventCursor {
    batch(bench, FIRST).await.expect("the place where to begin").to
}

/// How often a program was started.
fn starts(sim: &SimHost, word: &str) -> usize {
    let effects = sim.effects().into_iter();
    effects
        .filter(|effect| matches!(&effect.what, EffectKind::Command { argv, .. } if argv.iter().any(|w| w.contains(word))))
        .count()
}

/// How often a whole file was printed.
fn reads(sim: &SimHost) -> usize {
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
    assert_eq!(place, EventCursor::START, "there is no file yet");
    let booted_at = first.booted_at.expect("asked on the new connection");
    let real = sim.booted_at().unwrap();
    assert!(
        (booted_at - real).abs() < chrono::TimeDelta::seconds(5),
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
async fn an_event_is_read_when_the_heartbeat_speaks_of_it_and_once() {
    let bench = Bench::start(awake()).await;
    let mut place = first_sight(&bench).await;
    for user in ["teacher", "guest"] {
        bench.sim().log_on(user);
        bench
            .control
            .run(bench.name(), "session", &words("guard --grace=30"), Some(LIMIT))
            .await
            .unwrap();
        let found = batch(&bench, EventsAsk::From(place)).await.expect("an event");
        assert_eq!(
            (found.from, found.events.len(), found.resync, found.more),
            (Some(place), 1, None, false)
        );
        assert_eq!(found.events[0].user.as_deref(), Some(user));
        place = found.to;
        let looks = starts(bench.sim(), "curl.exe");
        assert!(batch(&bench, EventsAsk::From(place)).await.is_none());
        assert_eq!(starts(bench.sim(), "curl.exe"), looks, "nothing new, no look");
    }
    bench.end().await;
}

#[tokio::test]
async fn a_poll_from_a_place_that_was_not_kept_reads_again() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let place = first_sight(&bench).await;
    bench.sim().write_file(EVENTS, event(1));
    bench.sim().write_file(HEARTBEAT, heartbeat(1));
    let found = batch(&bench, EventsAsk::From(place)).await.unwrap();
    // The store was away: the same place once more.
    assert_eq!(batch(&bench, EventsAsk::From(place)).await.unwrap(), found);
    assert!(batch(&bench, EventsAsk::From(found.to)).await.is_none());
    assert!(batch(&bench, EventsAsk::No).await.is_none());
    bench.end().await;
}

#[tokio::test]
async fn an_event_that_comes_after_its_heartbeat_is_looked_for_and_not_for_ever() {
    let bench = bench_of_own_files(awake(), settings()).await;
    bench.sim().write_file(EVENTS, event(1));
    let place = first_sight(&bench).await;
    bench.sim().write_file(HEARTBEAT, heartbeat(2));
    assert!(batch(&bench, EventsAsk::From(place)).await.is_none());
    bench.sim().write_file(EVENTS, event(1) + &event(2));
    let found = batch(&bench, EventsAsk::From(place))
        .await
        .expect("found by the second look");
    assert_eq!(numbers(&found.events), [2]);
    let looks = starts(bench.sim(), "curl.exe");
    bench.sim().write_file(HEARTBEAT, heartbeat(3));
    for _ in 0..10 {
        assert!(batch(&bench, EventsAsk::From(found.to)).await.is_none());
    }
    assert_eq!(
        starts(bench.sim(), "curl.exe") - looks,
        3,
        "an event that never comes"
    );
    bench.end().await;
}

#[tokio::test]
async fn first_sight_begins_at_the_end_or_so_far_back_as_is_wanted() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let text: String = (1..=100).map(|minute| event(minute * 60)).collect();
    bench.sim().write_file(EVENTS, text.clone());
    bench.sim().write_file(HEARTBEAT, heartbeat(6_000));
    let end = batch(&bench, FIRST).await.unwrap();
    assert_eq!(
        (end.from, end.events.len(), end.to.offset),
        (None, 0, text.len() as u64)
    );
    let ask = |seconds| EventsAsk::FirstSight {
        look_back: Duration::from_secs(seconds),
    };
    // By the station's clock, which the test's heartbeat does not go by; the operating system tells it.
    let all = batch(&bench, ask(3_000_000_000)).await.unwrap();
    assert_eq!((all.events.len(), all.to, all.from), (100, end.to, None));
    assert_eq!(batch(&bench, ask(60)).await.unwrap().events.len(), 0);
    bench.end().await;
}

#[tokio::test]
async fn rotation_truncation_and_a_trimmed_head_are_seen() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let write = |events: &str, second| {
        bench.sim().write_file(EVENTS, events);
        bench.sim().write_file(HEARTBEAT, heartbeat(second));
    };
    let lines = |range: std::ops::Range<usize>| range.map(event).collect::<String>();
    write(&lines(1..5), 4);
    let place = first_sight(&bench).await;
    // The head is cut off, and the file is shorter than before.
    write(&lines(4..6), 5);
    let trimmed = batch(&bench, EventsAsk::From(place)).await.unwrap();
    assert_eq!(
        (numbers(&trimmed.events), trimmed.resync),
        (vec![5], Some(Resync::Truncated))
    );
    // A new file, longer than the old one.
    write(&lines(6..20), 19);
    let replaced = batch(&bench, EventsAsk::From(trimmed.to)).await.unwrap();
    assert_eq!(
        (numbers(&replaced.events), replaced.resync, replaced.from),
        ((6..20).collect(), Some(Resync::Replaced), Some(trimmed.to))
    );
    // A new file, shorter than the old one.
    write(&lines(20..22), 21);
    let shorter = batch(&bench, EventsAsk::From(replaced.to)).await.unwrap();
    assert_eq!(
        (numbers(&shorter.events), shorter.resync),
        (vec![20, 21], Some(Resync::Truncated))
    );
    // No file for a while: the place is kept.
    bench.sim().remove_file(EVENTS);
    bench.sim().write_file(HEARTBEAT, heartbeat(22));
    assert!(batch(&bench, EventsAsk::From(shorter.to)).await.is_none());
    write(&lines(20..23), 22);
    let back = batch(&bench, EventsAsk::From(shorter.to)).await.unwrap();
    assert_eq!((numbers(&back.events), back.resync), (vec![22], None));
    bench.end().await;
}

#[tokio::test]
async fn a_long_file_is_read_piece_by_piece() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let mut place = first_sight(&bench).await;
    let pad = "x".repeat(900);
    let lines: String = (1..2_000)
        .map(|n| format!("{{\"n\":{n},\"pad\":\"{pad}\"}}\n"))
        .collect();
    assert!(lines.len() > 3 << 19);
    bench.sim().write_file(EVENTS, lines);
    bench.sim().write_file(HEARTBEAT, heartbeat(1));
    let (mut seen, mut pieces) = (Vec::new(), 0);
    while let Some(found) = batch(&bench, EventsAsk::From(place)).await {
        assert!(found.events.len() < 1_200);
        seen.extend(numbers(&found.events));
        place = found.to;
        pieces += 1;
        assert!(pieces < 10);
    }
    assert_eq!((seen, pieces), ((1..2_000).collect(), 2));
    bench.end().await;
}

#[tokio::test]
async fn of_a_long_file_seen_first_the_rest_too_may_have_been_stored_by_somebody_else() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let pad = "x".repeat(9_900);
    let lines: String = (1..250)
        .map(|n| format!("{{\"timestamp\":\"{}\",\"n\":{n},\"pad\":\"{pad}\"}}\n", stamp(n)))
        .collect();
    bench.sim().write_file(EVENTS, lines);
    bench.sim().write_file(HEARTBEAT, heartbeat(249));
    let look_back = Duration::from_secs(3_000_000_000);
    let begun = batch(&bench, EventsAsk::FirstSight { look_back }).await.unwrap();
    let (mut place, mut seen, mut pieces) = (begun.to, begun.events.len(), 0);
    while let Some(found) = batch(&bench, EventsAsk::From(place)).await {
        assert_eq!(found.resync, Some(Resync::Replaced), "{place:?}");
        (place, seen, pieces) = (found.to, seen + found.events.len(), pieces + 1);
        assert!(pieces < 10);
    }
    assert_eq!((seen, pieces), (249, 2));
    bench.end().await;
}

#[tokio::test]
async fn a_host_without_curl_is_read_whole_and_asked_for_it_once() {
    let mut spec = awake();
    let refusal = b"'curl.exe' is not recognized as an internal or external command".to_vec();
    spec.station.programs = vec![Program::new("curl.exe", [Step::Err(refusal), Step::Exit(1)])];
    let bench = bench_of_own_files(spec, settings()).await;
    bench.sim().write_file(EVENTS, event(1));
    let mut place = first_sight(&bench).await;
    for second in 2..6 {
        let text: String = (1..=second).map(event).collect();
        bench.sim().write_file(EVENTS, text);
        bench.sim().write_file(HEARTBEAT, heartbeat(second));
        let found = batch(&bench, EventsAsk::From(place)).await.unwrap();
        assert_eq!(numbers(&found.events), [second as u64]);
        place = found.to;
    }
    assert_eq!(starts(bench.sim(), "curl.exe"), 1);
    bench.end().await;
}

#[tokio::test]
async fn a_file_too_long_to_be_read_whole_is_said_so_and_costs_no_heartbeat() {
    let mut spec = awake();
    spec.station.programs = vec![Program::new("curl.exe", [Step::Exit(9009)])];
    let settings = Settings {
        max_output: 16 * 1024,
        ..settings()
    };
    let bench = bench_of_own_files(spec, settings).await;
    bench
        .sim()
        .write_file(EVENTS, (1..1_000).map(event).collect::<String>());
    let reading = poll(&bench, FIRST).await.unwrap();
    assert_eq!(reading.heartbeat.ready, Some(true));
    assert!(reading.events.is_none());
    let failed = reading.events_failed.expect("a reason");
    assert_eq!(failed.code(), "events_too_long");
    assert!(failed.sentence().contains("16384"), "{}", failed.sentence());
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
        (asked - real).abs() < chrono::TimeDelta::seconds(5),
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

#[tokio::test]
async fn every_event_is_told_once_over_lost_connections_takeovers_and_stores_that_fail() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let sim = bench.sim();
    let other = StationControl::new(
        station_control::SharedCatalog::new(catalog(vec![own_files(sim)])),
        settings(),
        std::sync::Arc::new(lab_model::SystemClock),
    );
    let (mut kept, mut stored, mut written) = (None, Vec::new(), 0);
    let mut text = String::from("\u{feff}");
    // The same turns every time: what fails, who polls, and where the line is torn.
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut turn = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut failures = 0;
    for _ in 0..80 {
        if turn(2) == 0 {
            written += 1;
            let line = event(written);
            let torn = usize::try_from(turn(line.len() as u64)).unwrap();
            sim.write_file(EVENTS, format!("{text}{}", &line[..torn]));
            text.push_str(&line);
            if turn(3) > 0 {
                sim.write_file(EVENTS, text.clone());
            }
            sim.write_file(HEARTBEAT, heartbeat(written));
        }
        let fault = [
            At::Command,
            At::CommandAnswer,
            At::Receive,
            At::ReceiveAnswer,
            At::Signal,
        ];
        if turn(3) == 0 {
            sim.set_fault_times(Fault::Reset(fault[turn(5) as usize]), 1 + turn(2) as u32);
        }
        let control = if turn(2) == 0 { &bench.control } else { &other };
        let events = kept.map_or(
            EventsAsk::FirstSight {
                look_back: Duration::from_secs(1 << 32),
            },
            EventsAsk::From,
        );
        match control.poll(bench.name(), PollAsk { events }, LIMIT).await {
            Ok(reading) => {
                failures += usize::from(reading.events_failed.is_some());
                if let Some(batch) = reading.events
                    && turn(4) > 0
                {
                    assert_eq!((batch.from, batch.resync), (kept, None));
                    stored.extend(numbers(&batch.events));
                    kept = Some(batch.to);
                }
            }
            Err(_) => failures += 1,
        }
    }
    sim.clear_faults();
    sim.write_file(EVENTS, text);
    sim.write_file(HEARTBEAT, heartbeat(written + 1));
    let last = batch(&bench, EventsAsk::From(kept.unwrap())).await;
    stored.extend(last.map(|batch| numbers(&batch.events)).unwrap_or_default());
    assert_eq!(stored, (1..=written as u64).collect::<Vec<_>>());
    assert!(failures > 3, "the faults struck {failures} times");
    other.close(LIMIT).await;
    bench.end_with_shells(8).await;
}

//! What polls read of a station's event file: every event once, and only when there may be one.

use std::time::Duration;

use host_sim::{At, Fault, Program, Step};
use labstation_commands::Resync;
use station_control::{EventsAsk, PollAsk, Settings, StationControl};

use crate::bench::{Bench, LIMIT, awake, catalog, settings, words};
use crate::poll::{
    EVENTS, FIRST, HEARTBEAT, batch, bench_of_own_files, event, first_sight, heartbeat, numbers, own_files,
    poll, reads, stamp, starts,
};

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
    assert_eq!(
        (all.events.len(), all.to.anchor, all.from),
        (100, end.to.anchor, None)
    );
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
    // As much as was read of the file before it may come again.
    assert_eq!(
        (numbers(&back.events), back.resync),
        (vec![22], Some(Resync::Replaced))
    );
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
        assert!(
            place.offset < place.repeats_until,
            "whoever reads on has to know: {place:?}"
        );
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

/// A host without `curl.exe`, of whose files 16 KiB can be read.
async fn bench_without_curl() -> Bench {
    let mut spec = awake();
    spec.station.programs = vec![Program::new("curl.exe", [Step::Exit(9009)])];
    let settings = Settings {
        max_output: 16 * 1024,
        ..settings()
    };
    bench_of_own_files(spec, settings).await
}

#[tokio::test]
async fn a_file_too_long_to_be_read_whole_is_said_so_and_costs_no_heartbeat() {
    let bench = bench_without_curl().await;
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
async fn a_file_too_long_to_be_read_whole_is_fetched_once_and_told_of_at_every_poll() {
    let bench = bench_without_curl().await;
    let long = (1..1_000).map(event).collect::<String>();
    bench.sim().write_file(EVENTS, long);
    // The heartbeat is read by the same program.
    let fetched = |polls: usize| reads(bench.sim()) - polls;
    for second in 1..5 {
        bench.sim().write_file(HEARTBEAT, heartbeat(second));
        let reading = poll(&bench, FIRST).await.unwrap();
        assert_eq!(reading.events_failed.expect("a reason").code(), "events_too_long");
        let warnings = &reading.heartbeat.warnings;
        assert!(
            warnings.iter().any(|warning| warning.contains("no curl.exe")),
            "{warnings:?}"
        );
        assert_eq!((fetched(second), starts(bench.sim(), "curl.exe")), (1, 1));
    }
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

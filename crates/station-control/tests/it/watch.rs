//! Watching: what it costs, what ends it, and that nothing is told twice or not at all.

use std::sync::Arc;
use std::time::Duration;

use host_sim::{At, Farm, Fault, HostSpec, Program, Step, addresses};
use lab_model::{HostName, SystemClock};
use labstation_commands::Resync;
use station_control::{
    EventsAsk, EventsRead, HeartbeatReading, Settings, SharedCatalog, StationControl, Watch, WatchAsk,
};
use tokio::time::timeout;

use crate::bench::{Bench, LIMIT, awake, catalog, entry, quiet, settings, until, words};
use crate::poll::{EVENTS, FIRST, HEARTBEAT, bench_of_own_files, event, heartbeat, numbers};

fn quick(events: EventsAsk) -> WatchAsk {
    WatchAsk {
        every: Duration::from_millis(100),
        ..WatchAsk::new(events)
    }
}

/// With these no request is renewed while a test counts.
fn patient() -> Settings {
    Settings {
        operation_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(90),
        ..settings()
    }
}

async fn next(watch: &mut Watch) -> HeartbeatReading {
    timeout(LIMIT, watch.next()).await.expect("news").unwrap()
}

/// Until the station itself tells: what the poll found, and the first word of the script.
async fn live(watch: &mut Watch) -> HeartbeatReading {
    loop {
        let reading = next(watch).await;
        if watch.is_live() {
            return reading;
        }
    }
}

#[tokio::test]
async fn a_change_is_told_by_the_answer_to_the_one_request_that_waits() {
    let bench = Bench::start_with(awake(), patient(), entry).await;
    let sim = bench.sim();
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    assert_eq!(
        sim.counts().requests,
        0,
        "nothing is sent before it is waited for"
    );
    let first = next(&mut watch).await;
    assert!(first.events.is_some() && first.booted_at.is_some());
    let reading = live(&mut watch).await;
    assert_eq!(reading.heartbeat.local_mode, Some(false));
    // Two of the handshake, Create; two commands of three; Get; Command, an answered Receive and one that waits.
    until("a request waits", || async { sim.counts().requests == 13 }).await;
    let before = sim.counts();
    for change in 1..=6_u64 {
        sim.local_mode(change % 2 == 1);
        sim.write_heartbeat();
        let reading = next(&mut watch).await;
        assert_eq!(reading.heartbeat.local_mode, Some(change % 2 == 1));
        assert!(reading.events.is_none() && reading.booted_at.is_none());
        until("the next request waits", || async {
            sim.counts().requests == before.requests + change
        })
        .await;
    }
    let counts = sim.counts();
    assert_eq!((counts.open_connections, counts.commands), (1, before.commands));
    drop(watch);
    until("the script is ended", || async { sim.counts().open_shells == 0 }).await;
    bench.end().await;
}

#[tokio::test]
async fn events_are_told_as_they_are_written_and_once() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let sim = bench.sim();
    let mut text = format!("\u{feff}{}", event(1));
    sim.write_file(EVENTS, text.clone());
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    let mut place = next(&mut watch).await.events.unwrap().to;
    live(&mut watch).await;
    for number in 2..8 {
        let line = event(number);
        // Torn: nothing may come of it before it is whole.
        sim.write_file(EVENTS, format!("{text}{}", &line[..20]));
        text.push_str(&line);
        sim.write_file(HEARTBEAT, heartbeat(number));
        assert!(next(&mut watch).await.events.is_none());
        sim.write_file(EVENTS, text.clone());
        let reading = next(&mut watch).await;
        let batch = reading.events.expect("an event");
        assert_eq!(
            (numbers(&batch.events), batch.from),
            (vec![number as u64], Some(place))
        );
        assert_eq!(
            reading.heartbeat.ready,
            Some(true),
            "the last heartbeat comes with it"
        );
        place = batch.to;
    }
    assert_eq!(place.offset, text.len() as u64);
    drop(watch);
    bench.end().await;
}

#[tokio::test]
async fn a_file_that_is_replaced_or_cut_while_it_is_watched_is_gone_on_with() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let sim = bench.sim();
    let lines = |range: std::ops::Range<usize>| range.map(event).collect::<String>();
    sim.write_file(EVENTS, lines(1..10));
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    live(&mut watch).await;
    let steps = [
        (lines(10..12), vec![10, 11], Some(Resync::Truncated)),
        // As much as was read of the file before it may come again.
        (lines(10..14), vec![12, 13], Some(Resync::Replaced)),
        (lines(13..15), vec![14], Some(Resync::Truncated)),
        (lines(20..40), (20..40).collect(), Some(Resync::Replaced)),
    ];
    for (text, expected, resync) in steps {
        sim.write_file(EVENTS, text);
        let batch = next(&mut watch).await.events.expect("events");
        assert_eq!((numbers(&batch.events), batch.resync), (expected, resync));
    }
    drop(watch);
    bench.end().await;
}

#[tokio::test]
async fn a_silent_station_says_now_and_then_that_it_is_there() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let ask = WatchAsk {
        alive: Duration::from_secs(1),
        ..quick(EventsAsk::No)
    };
    let mut watch = bench.control.watch(bench.name(), ask);
    let first = live(&mut watch).await;
    let again = next(&mut watch).await;
    assert_eq!(again.heartbeat, first.heartbeat);
    assert!(again.observed_at > first.observed_at);
    drop(watch);
    bench.end().await;
}

#[tokio::test]
async fn commands_and_looks_go_on_beside_a_watch() {
    let bench = Bench::start(awake()).await;
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    live(&mut watch).await;
    bench.sim().log_on("teacher");
    let ran = bench
        .control
        .run(bench.name(), "session", &words("guard --grace=30"), Some(LIMIT))
        .await
        .unwrap();
    assert_eq!(ran.exit_code, 0);
    let mut users = Vec::new();
    while users.is_empty() {
        let events = next(&mut watch).await.events;
        users.extend(events.into_iter().flat_map(|batch| batch.events));
    }
    assert_eq!(users[0].user.as_deref(), Some("teacher"));
    let read = bench
        .control
        .read_heartbeat(bench.name(), EventsRead::Yes, LIMIT)
        .await;
    assert!(read.unwrap().last_event.is_some());
    assert_eq!(bench.sim().counts().max_commands_at_once, 2);
    let mut second = bench.control.watch(bench.name(), quick(EventsAsk::No));
    next(&mut second).await;
    assert_eq!(second.next().await.unwrap_err().code(), "watched_already");
    assert!(second.is_over());
    drop((watch, second));
    bench.end().await;
}

#[tokio::test]
async fn a_host_whose_powershell_is_blocked_or_says_nothing_cannot_be_watched() {
    let blocked = [
        Step::Err(b"This program is blocked by group policy.".to_vec()),
        Step::Exit(1),
    ];
    for steps in [blocked.to_vec(), vec![Step::Forever]] {
        let mut spec = awake();
        spec.station.programs = vec![Program::new("powershell.exe", steps)];
        let bench = Bench::start(spec).await;
        let ask = WatchAsk {
            first_word: Duration::from_secs(3),
            ..quick(FIRST)
        };
        let mut watch = bench.control.watch(bench.name(), ask);
        let place = next(&mut watch).await.events.unwrap().to;
        let error = timeout(LIMIT, watch.next()).await.unwrap().unwrap_err();
        assert_eq!(error.code(), "watch_unsupported", "{error:?}");
        assert!(watch.is_over());
        drop(watch);
        let ask = station_control::PollAsk {
            events: EventsAsk::From(place),
        };
        assert!(bench.control.poll(bench.name(), ask, LIMIT).await.is_ok());
        bench.end().await;
    }
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_read_does_not_end_a_watch() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let mut watch = bench.control.watch(bench.name(), quick(EventsAsk::No));
    live(&mut watch).await;
    bench.sim().write_file(HEARTBEAT, "{\"summary\":");
    let error = timeout(LIMIT, watch.next()).await.unwrap().unwrap_err();
    assert_eq!((error.code(), watch.is_over()), ("heartbeat_unreadable", false));
    bench.sim().write_file(HEARTBEAT, vec![b' '; 5 << 20]);
    let error = timeout(LIMIT, watch.next()).await.unwrap().unwrap_err();
    assert_eq!((error.code(), watch.is_over()), ("heartbeat_unreadable", false));
    bench.sim().write_file(HEARTBEAT, heartbeat(9));
    assert!(next(&mut watch).await.heartbeat.last_forced_logoff.is_some());
    bench.sim().remove_file(HEARTBEAT);
    let error = timeout(LIMIT, watch.next()).await.unwrap().unwrap_err();
    assert_eq!((error.code(), watch.is_over()), ("file_missing", true));
    bench.end().await;
}

#[tokio::test]
async fn nothing_is_lost_or_told_twice_when_watches_end_and_begin_anew() {
    let bench = bench_of_own_files(awake(), settings()).await;
    let sim = bench.sim();
    let (mut text, mut written, mut stored) = (String::new(), 0_usize, Vec::new());
    let mut events = FIRST;
    for round in 0..6 {
        let mut watch = bench.control.watch(bench.name(), quick(events));
        for _ in 0..3 {
            written += 1;
            text.push_str(&event(written));
            sim.write_file(EVENTS, text.clone());
            sim.write_file(HEARTBEAT, heartbeat(written));
            match round % 3 {
                1 => sim.set_fault_times(Fault::Reset(At::ReceiveAnswer), 1),
                2 => sim.set_fault_times(Fault::Reset(At::Receive), 2),
                _ => {}
            }
            let heard = timeout(LIMIT, watch.next()).await.unwrap();
            let Ok(reading) = heard else { break };
            if let Some(batch) = reading.events {
                // At first sight what was there before is not wanted.
                if batch.from.is_none() {
                    stored.extend(1..=written as u64);
                }
                stored.extend(numbers(&batch.events));
                events = EventsAsk::From(batch.to);
            }
        }
    }
    sim.clear_faults();
    let mut watch = bench.control.watch(bench.name(), quick(events));
    if let Some(batch) = next(&mut watch).await.events {
        stored.extend(numbers(&batch.events));
    }
    assert_eq!(stored, (1..=written as u64).collect::<Vec<_>>());
    drop(watch);
    bench.end_with_shells(8).await;
}

#[tokio::test]
async fn a_host_that_goes_off_ends_its_watch() {
    let bench = Bench::start(awake()).await;
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    live(&mut watch).await;
    bench.pull_the_plug().await;
    let error = timeout(LIMIT, watch.next()).await.unwrap().unwrap_err();
    assert!(error.is_host_problem() && watch.is_over(), "{error:?}");
    assert_eq!(error.effect(), station_control::Effect::None);
    bench.sim().power_on();
    assert!(bench.sim().wait_for(host_sim::PowerState::Ready, LIMIT).await);
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    live(&mut watch).await;
    drop(watch);
    bench.end().await;
}

#[tokio::test]
async fn a_watch_ends_when_the_entry_of_its_host_changes_or_the_control_takes_leave() {
    let bench = Bench::start(awake()).await;
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    live(&mut watch).await;
    bench.control.replace_catalog(catalog(Vec::new()));
    // A heartbeat may have been on its way.
    let error = timeout(LIMIT, async {
        while watch.next().await.is_ok() {}
        watch.next().await.unwrap_err()
    });
    let error = error.await.unwrap();
    assert_eq!((error.code(), error.is_host_problem()), ("watch_ended", false));
    until("the old script is ended", || async {
        bench.sim().counts().open_shells == 0
    })
    .await;
    bench.control.replace_catalog(catalog(vec![entry(bench.sim())]));
    let mut watch = bench.control.watch(bench.name(), quick(FIRST));
    live(&mut watch).await;
    let (_, ended) = tokio::join!(bench.control.close(LIMIT), watch.next());
    assert_eq!(ended.unwrap_err().code(), "watch_ended");
    until("the script is ended", || async {
        bench.sim().counts().open_shells == 0
    })
    .await;
    bench.end().await;
}

#[tokio::test]
async fn a_hundred_hosts_are_watched_at_once_with_one_request_each() {
    let specs: Vec<HostSpec> = addresses::block(100)
        .into_iter()
        .enumerate()
        .map(|(at, address)| {
            let [.., high, low] = address.octets();
            HostSpec::new(format!("lab-ws-{at:03}"), address, [2, 0, 0, 1, high, low]).awake()
        })
        .collect();
    let farm = Farm::start(specs, quiet()).await.unwrap();
    let entries = farm.hosts().iter().map(entry).collect();
    let control = StationControl::new(
        SharedCatalog::new(catalog(entries)),
        patient(),
        Arc::new(SystemClock),
    );
    let mut watches = Vec::new();
    for sim in farm.hosts() {
        let name = HostName::parse(sim.name()).unwrap();
        let mut watch = control.watch(&name, WatchAsk::new(FIRST));
        watches.push(tokio::spawn(async move {
            live(&mut watch).await;
            watch
        }));
    }
    let mut live_ones = Vec::new();
    for watch in watches {
        live_ones.push(watch.await.unwrap());
    }
    let before: Vec<_> = farm.hosts().iter().map(|sim| sim.counts()).collect();
    for sim in farm.hosts() {
        sim.local_mode(true);
        sim.write_heartbeat();
    }
    for watch in &mut live_ones {
        assert_eq!(next(watch).await.heartbeat.local_mode, Some(true));
    }
    for (sim, before) in farm.hosts().iter().zip(before) {
        let counts = sim.counts();
        // The request that waited and the next one; a few more where that took longer than a request may wait.
        let requests = counts.requests - before.requests;
        assert!(requests <= 6, "{requests} requests for one change");
        assert_eq!((counts.open_connections, counts.connections), (1, 1));
    }
    drop(live_ones);
    // What a busy machine could not end in the moment that the next call may be kept waiting is ended by that.
    control.close(LIMIT).await;
    for sim in farm.hosts() {
        until("its script is ended", || async { sim.counts().open_shells == 0 }).await;
    }
    farm.stop().await;
}

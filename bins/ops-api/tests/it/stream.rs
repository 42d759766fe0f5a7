//! `GET /api/heartbeat/stream`: one poll for any number of viewers, nothing missed, nobody held up.

use std::net::SocketAddr;
use std::time::Duration;

use host_sim::{EffectKind, Fault, SimHost};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::harness::{LIMIT, Lab, asleep, awake, until};
use crate::http::call;
use crate::service::Service;

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    id: Option<String>,
    kind: String,
    data: Value,
}

/// A connection that reads server-sent events, line by line as they come.
struct Stream {
    reader: BufReader<TcpStream>,
    head: String,
}

impl Stream {
    async fn open(address: SocketAddr, query: &str, last: Option<&str>) -> Self {
        Self::on(TcpStream::connect(address).await.unwrap(), query, last).await
    }

    async fn on(stream: TcpStream, query: &str, last: Option<&str>) -> Self {
        let mut stream = stream;
        let last = last
            .map(|id| format!("Last-Event-ID: {id}\r\n"))
            .unwrap_or_default();
        let request = format!("GET /api/heartbeat/stream{query} HTTP/1.1\r\nHost: localhost\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = timeout(LIMIT, reader.read_line(&mut head))
                .await
                .expect("a head in time")
                .unwrap();
            assert!(read > 0, "{head}");
        }
        Self { reader, head }
    }

    /// The next event; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        timeout(LIMIT, self.read()).await.expect("an event in time")
    }

    async fn read(&mut self) -> Option<Event> {
        let (mut id, mut kind, mut data) = (None, String::new(), String::new());
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line).await.unwrap_or(0) == 0 {
                return None;
            }
            let line = line.trim_end();
            if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
            } else if let Some(text) = line.strip_prefix("event: ") {
                kind = text.to_owned();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data = text.to_owned();
            } else if line.is_empty() && !kind.is_empty() && !data.is_empty() {
                let data = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                return Some(Event { id, kind, data });
            }
            // Anything else is the length of a chunk, the blank after it, or a comment.
        }
    }

    async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.kind == kind {
                return event;
            }
        }
    }
}

/// The number in the id of an event.
fn number(id: &str) -> u64 {
    id.rsplit('-').next().unwrap().parse().unwrap()
}

/// How often the heartbeat was read from a station.
fn reads(host: &SimHost) -> usize {
    let effects = host.effects().into_iter();
    effects
        .filter(|effect| {
            matches!(&effect.what, EffectKind::Command { command_line, .. }
                if command_line.starts_with("type") && command_line.contains("heartbeat.json"))
        })
        .count()
}

async fn a_service(specs: Vec<host_sim::HostSpec>, interval: &str) -> Service {
    let lab = Lab::start(specs)
        .await
        .with("OPS_HEARTBEAT_SSE_INTERVAL_SECONDS", interval)
        .with("OPS_MAX_STREAMS", "500")
        .with("OPS_MAX_STREAMS_PER_TOKEN", "500");
    Service::start_in(lab).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_with_a_hello_and_brings_heartbeats_verdicts_and_errors() {
    let service = a_service(vec![awake(1), asleep(2)], "1").await;
    let mut stream = Stream::open(
        service.address(),
        "?host=LAB-WS-01&host=lab-ws-02&host=lab-ws-01",
        None,
    )
    .await;
    let head = stream.head.to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && head.contains("content-type: text/event-stream"),
        "{head}"
    );
    assert!(
        head.contains("cache-control: no-store") && head.contains("x-accel-buffering: no"),
        "{head}"
    );
    let hello = stream.next().await.unwrap();
    assert_eq!((hello.kind.as_str(), &hello.id), ("hello", &None));
    assert_eq!(
        hello.data,
        json!({"intervalMs": 1000, "hosts": 2, "resumed": false})
    );

    // In whatever order they come: the hosts are asked side by side.
    let mut seen: Vec<Event> = Vec::new();
    let (heartbeat, error) = loop {
        seen.push(stream.next().await.expect("the stream goes on"));
        let find = |is_it: &dyn Fn(&Event) -> bool| seen.iter().find(|event| is_it(event)).cloned();
        let heartbeat = find(&|event| event.kind == "heartbeat");
        let error = find(&|event| event.kind == "error" && event.data["host"] == "lab-ws-02");
        let fresh = find(&|event| {
            event.kind == "liveness" && event.data["host"] == "lab-ws-01" && event.data["verdict"] == "fresh"
        });
        if let (Some(heartbeat), Some(error), Some(_)) = (heartbeat, error, fresh) {
            break (heartbeat, error);
        }
    };
    let poll = service
        .post("/api/heartbeat/poll", json!({"host": "lab-ws-01"}))
        .await
        .expect(200);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&heartbeat.data), keys(&poll), "the same answer as a poll's");
    assert_eq!(heartbeat.data["host"], "lab-ws-01");
    assert_eq!(keys(&heartbeat.data["heartbeat"]), keys(&poll["heartbeat"]));
    assert!(error.data["code"].is_string() && error.data["error"].is_string());

    service.lab.sim(1).set_fault(Fault::GarbledHeartbeat);
    loop {
        let event = stream.next_of("error").await;
        if event.data["host"] == "lab-ws-01" {
            assert_eq!(event.data["code"], "heartbeat_unreadable");
            break;
        }
    }
    service.stop().await;
    while let Some(event) = stream.next().await {
        assert_ne!(event.kind, "dropped");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_viewers_of_a_host_are_one_poll_per_interval() {
    let service = a_service(vec![awake(1)], "2").await;
    let began = Instant::now();
    let mut viewers = Vec::new();
    for _ in 0..50 {
        viewers.push(Stream::open(service.address(), "?host=lab-ws-01&include_events=no", None).await);
    }
    let mut all = Vec::new();
    for viewer in &mut viewers {
        let mut seen = Vec::new();
        for _ in 0..3 {
            let event = viewer.next_of("heartbeat").await;
            assert_eq!(event.data["last_event"], Value::Null);
            seen.push((number(&event.id.unwrap()), event.data["observed_at"].clone()));
        }
        assert!(seen.is_sorted_by_key(|(number, _)| *number), "{seen:?}");
        all.extend(seen);
    }
    // However many come, the station is asked by the clock, and each answer is one event for all of them.
    let asked = reads(service.lab.sim(1));
    let rounds = usize::try_from(began.elapsed().as_secs() / 2).unwrap() + 2;
    assert!(asked <= rounds, "{asked} reads in {rounds} rounds for 50 viewers");
    let numbers: std::collections::BTreeSet<u64> = all.iter().map(|(number, _)| *number).collect();
    let answers: std::collections::BTreeSet<&str> = all
        .iter()
        .map(|(_, observed_at)| observed_at.as_str().unwrap())
        .collect();
    assert_eq!(numbers.len(), answers.len(), "an answer is told under one number");
    assert!(
        (3..=asked).contains(&numbers.len()),
        "{asked} reads for {numbers:?}"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_somebody_else_polls_nothing_is_asked_of_the_station() {
    let service = a_service(vec![awake(1)], "3600").await;
    let poll = async || {
        let body = json!({"host": "lab-ws-01"});
        service.post("/api/heartbeat/poll", body).await.expect(200)
    };
    poll().await;
    let before = reads(service.lab.sim(1));
    let mut stream = Stream::open(service.address(), "?host=lab-ws-01", None).await;
    let first = stream.next_of("heartbeat").await;
    assert_eq!(
        (&first.data["duration_ms"], &first.data["persisted"]),
        (&Value::Null, &json!(true))
    );
    for _ in 0..3 {
        let polled = poll().await;
        let told = stream.next_of("heartbeat").await;
        assert_eq!(
            told.data["heartbeat"], polled["heartbeat"],
            "what was stored is told"
        );
    }
    assert_eq!(
        reads(service.lab.sim(1)),
        before + 3,
        "only those that this test asked for"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_the_same_is_told_with_the_stamps_of_the_last_and_one_without_a_row_as_what_it_is() {
    let service = a_service(vec![awake(1)], "3600").await;
    let site = service.handle.current().unwrap();
    let record = heartbeat_store::HostRecord {
        name: lab_model::HostName::parse("lab-ws-01").unwrap(),
        address: "127.0.0.1".to_owned(),
        mac: None,
    };
    let written = async |minute: u32, note: &str| {
        let stamp = format!("2026-03-01T09:{minute:02}:00Z");
        let text =
            json!({"schemaVersion": "1.0.0", "timestamp": stamp, "summary": {"ready": true}, "note": note});
        let text = text.to_string();
        let document = labstation_commands::parse_heartbeat(text.as_bytes()).unwrap();
        let now = crate::harness::now();
        let recorded = site.heartbeats.record(&record, &document, &text, now).await;
        (recorded.unwrap().kept, now)
    };
    let mut stream = None;
    let mut last = String::new();
    for minute in 0..3 {
        let (kept, now) = written(minute, "the same").await;
        assert_eq!(kept == heartbeat_store::Kept::Row, minute == 0, "{kept:?}");
        if stream.is_none() {
            stream = Some(Stream::open(service.address(), "?host=lab-ws-01", None).await);
        }
        let told = stream.as_mut().unwrap().next_of("heartbeat").await.data;
        let observed_at = told["observed_at"].as_str().unwrap().to_owned();
        assert_eq!(
            observed_at,
            now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
        );
        assert!(observed_at > last, "{observed_at} after {last}");
        last = observed_at;
        assert_eq!(told["reported_at"], format!("2026-03-01T09:{minute:02}:00.000Z"));
        assert_eq!(
            told["heartbeat"]["timestamp"], "2026-03-01T09:00:00Z",
            "the row's own"
        );
        assert_eq!(
            (&told["persisted"], &told["warnings"]),
            (&json!(true), &json!([]))
        );
    }
    let sql = "CREATE TRIGGER refuse BEFORE INSERT ON lab_host_heartbeat WHEN NEW.raw_json LIKE '%POISON%' \
        BEGIN SELECT RAISE(ABORT, 'poison'); END";
    site.database.connection().execute_unprepared(sql).await.unwrap();
    let (kept, _) = written(7, "POISON").await;
    assert!(matches!(kept, heartbeat_store::Kept::SetAside(_)), "{kept:?}");
    let told = stream.as_mut().unwrap().next_of("heartbeat").await.data;
    assert_eq!(
        (&told["persisted"], &told["heartbeat"]["note"]),
        (&json!(false), &json!("the same"))
    );
    assert!(
        told["warnings"][0].as_str().unwrap().contains("older document"),
        "{told}"
    );
    assert_eq!(
        told["reported_at"], "2026-03-01T09:00:00.000Z",
        "that of what is shown"
    );
    assert!(told["observed_at"].as_str().unwrap() < last.as_str(), "{told}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_misses_nothing() {
    let service = a_service(vec![awake(1), awake(2)], "1").await;
    let mut steady = Stream::open(service.address(), "", None).await;
    let mut before = Vec::new();
    {
        let mut first = Stream::open(service.address(), "", None).await;
        while before.len() < 3 {
            before.extend(first.next().await.unwrap().id);
        }
    }
    let last = before.last().unwrap().clone();
    // Away for a while, in which others go on.
    let mut newest = 0;
    while newest < number(&last) + 3 {
        newest = steady.next().await.unwrap().id.map_or(newest, |id| number(&id));
    }
    let mut back = Stream::open(service.address(), "", Some(&last)).await;
    assert_eq!(back.next().await.unwrap().data["resumed"], true);
    let mut numbers = Vec::new();
    while numbers.len() < 5 {
        numbers.push(number(&back.next().await.unwrap().id.unwrap()));
    }
    let expected: Vec<u64> = (number(&last) + 1..).take(5).collect();
    assert_eq!(numbers, expected, "each event after the last one, in order");

    let mut stranger = Stream::open(service.address(), "", Some("another-7")).await;
    assert_eq!(stranger.next().await.unwrap().data["resumed"], false);
    assert_eq!(stranger.next().await.unwrap().kind, "reset");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_that_does_not_read_holds_up_nobody() {
    // One poll, which is the first thing that both see.
    let service = a_service(vec![awake(1)], "3600").await;
    // A small window, so that the kernel does not read in the viewer's place.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let stalled = socket.connect(service.address()).await.unwrap();
    let mut stalled = Stream::on(stalled, "?host=lab-ws-01", None).await;
    let mut other = Stream::open(service.address(), "?host=lab-ws-01", None).await;
    other.next_of("heartbeat").await;
    // More than any buffer on the way takes, from a station that reports large documents.
    let site = service.handle.current().unwrap();
    let record = heartbeat_store::HostRecord {
        name: lab_model::HostName::parse("lab-ws-01").unwrap(),
        address: "127.0.0.1".to_owned(),
        mac: None,
    };
    let is_large = |event: &Event| event.data["heartbeat"]["number"].is_u64();
    let began = Instant::now();
    for number in 0..12 {
        let text = json!({"number": number, "ballast": "x".repeat(700_000)}).to_string();
        let document = labstation_commands::parse_heartbeat(text.as_bytes()).unwrap();
        let now = crate::harness::now();
        site.heartbeats
            .record(&record, &document, &text, now)
            .await
            .unwrap();
        let told = other.next_of("heartbeat").await.data;
        let number_told = &told["heartbeat"]["number"];
        assert_eq!(
            *number_told,
            json!(number),
            "who reads sees everything while the other stands still"
        );
    }
    let rest = timeout(LIMIT, async {
        let mut events = Vec::new();
        while let Some(event) = stalled.read().await {
            let over = event.kind == "dropped";
            events.push((is_large(&event), event.kind));
            if over {
                break;
            }
        }
        events
    })
    .await
    .unwrap();
    // Whoever takes nothing for half a minute is hung up on as well, wherever all that takes so long.
    let hung_up = began.elapsed() >= Duration::from_secs(30);
    assert!(rest.last().unwrap().1 == "dropped" || hung_up, "{rest:?}");
    assert!(rest.iter().filter(|(large, _)| *large).count() < 12, "{rest:?}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_end_at_once_when_the_service_stops_and_leave_no_poll_behind() {
    // A stream that is waited for would take all of the grace period.
    let lab = Lab::start(vec![awake(1)])
        .await
        .with("OPS_HEARTBEAT_SSE_INTERVAL_SECONDS", "1");
    let service = Service::start_in(lab.with("OPS_SHUTDOWN_GRACE", "300")).await;
    let mut stream = Stream::open(service.address(), "", None).await;
    stream.next_of("heartbeat").await;
    timeout(LIMIT, service.stop())
        .await
        .expect("it stops long before its grace is over");
    let mut rest = Vec::new();
    timeout(LIMIT, stream.reader.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_leaves_the_catalog_is_told_and_nobody_asks_it_any_more() {
    let service = a_service(vec![awake(1), awake(2)], "1").await;
    let mut stream = Stream::open(service.address(), "?host=lab-ws-02", None).await;
    stream.next_of("heartbeat").await;
    service.lab.write_catalog(|entries| drop(entries.remove(1)));
    service.post("/api/hosts/reload", json!({})).await.expect(200);
    loop {
        let event = stream.next_of("error").await;
        if event.data["code"] == "unknown_host" {
            break;
        }
    }
    let asked = reads(service.lab.sim(2));
    let mut other = Stream::open(service.address(), "?host=lab-ws-01", None).await;
    for _ in 0..5 {
        other.next_of("heartbeat").await;
    }
    let more = reads(service.lab.sim(2)) - asked;
    assert!(more <= 1, "beside a poll that was under way: {more} more");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_hosts_are_refused_and_nobody_is_polled_without_viewers() {
    let service = a_service(vec![awake(1)], "1").await;
    let refused = service.get("/api/heartbeat/stream?host=nosuch").await.expect(404);
    assert_eq!(refused["code"], "unknown_host");
    service
        .get("/api/heartbeat/stream?host=%0a%00")
        .await
        .expect_field("host");
    let post = call(service.address(), "POST", "/api/heartbeat/stream", &[], "").await;
    assert_eq!(post.status, 405);
    assert_eq!(service.lab.sim(1).counts().requests, 0);
    {
        let mut stream = Stream::open(service.address(), "", None).await;
        stream.next_of("heartbeat").await;
    }
    // Once nobody watches, the number of polls stands still.
    until("the polls have ended", || async {
        let before = reads(service.lab.sim(1));
        tokio::time::sleep(Duration::from_millis(2500)).await;
        (reads(service.lab.sim(1)) == before).then_some(())
    })
    .await;
    service.stop().await;
}

//! What is told of operations: while they happen, afterwards, and as lists.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use call_journal::AuditEntry;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use store_support::each_backend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::API;
use crate::harness::{LIMIT, Lab, awake, commands, execute, in_secs, migrate, now, reservations, until_true};
use crate::http::{Answer, call};
use crate::service::Service;

/// Reads a stream to its end, and says when its first event has come.
async fn follow(address: SocketAddr, path: String, shown: oneshot::Sender<()>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let (parts, mut body) = sender.send_request(request).await.unwrap().into_parts();
    let (mut text, mut shown) = (String::new(), Some(shown));
    while let Some(frame) = timeout(LIMIT, body.frame()).await.expect("more in time") {
        text += &String::from_utf8_lossy(&frame.unwrap().into_data().unwrap());
        if text.contains("event: operation")
            && let Some(shown) = shown.take()
        {
            shown.send(()).unwrap();
        }
    }
    driver.abort();
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text,
    }
}

/// The events of a stream that has ended: name, id, data.
fn events(answer: &Answer) -> Vec<(String, Option<i64>, Value)> {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/event-stream")),
        "{}",
        answer.text
    );
    let blocks = answer.text.split("\n\n").filter(|block| block.contains("event:"));
    let read = |block: &str| {
        let field = |name: &str| {
            let line = block
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|text| text.trim().to_owned())
        };
        let data = serde_json::from_str(&field("data").unwrap()).unwrap();
        (
            field("event").unwrap(),
            field("id").map(|id| id.parse().unwrap()),
            data,
        )
    };
    blocks.map(read).collect()
}

each_backend! {
    async fn a_stream_tells_each_change_and_the_end_and_viewers_cost_no_reads(test) {
        let mut spec = awake(1);
        spec.station.durations.prepare = Duration::from_secs(5);
        migrate(test.database()).await;
        let lab = Lab::start(vec![spec]).await.on(&test);
        let gate = lab.gate(1);
        let service = Service::start_in(lab).await;
        let address = service.address();
        let order = json!({"reservationId": "0xaa", "host": "lab-ws-01", "wake": false}).to_string();
        let taken = call(address, "POST", "/api/reservations/start?async=true", &[], order).await.expect(202);
        let path = format!("{}/events", taken["location"].as_str().unwrap());
        until_true("it is under way", || commands(service.lab.sim(1), "prepare-session").len() == 1).await;
        gate.stall();
        let site = service.handle.current().unwrap();
        let (before, began_at) = (site.database.traffic().statements, Instant::now());
        // Whoever comes first makes the reader; the others share it.
        let (shown, first_is_shown) = oneshot::channel();
        let first = tokio::spawn(follow(address, path.clone(), shown));
        timeout(LIMIT, first_is_shown).await.unwrap().unwrap();
        gate.resume();
        let viewers: Vec<_> = (0..15)
            .map(|_| {
                let path = path.clone();
                tokio::spawn(async move { call(address, "GET", &path, &[], "").await })
            })
            .collect();
        let mut told = vec![first.await.unwrap()];
        for viewer in viewers {
            told.push(viewer.await.unwrap());
        }
        let spent = site.database.traffic().statements - before;
        // One look a second is shared by all; each for itself would ask sixteen times as much.
        let seconds = began_at.elapsed().as_secs();
        assert!(spent < 40 + 8 * seconds, "{spent} statements in {seconds} s for 16 viewers");
        for answer in &told {
            let events = events(answer);
            let (last, changes) = events.split_last().unwrap();
            assert_eq!(last.0, "end");
            assert!(!changes.is_empty() && changes.iter().all(|event| event.0 == "operation"));
            let ids: Vec<i64> = changes.iter().map(|event| event.1.unwrap()).collect();
            assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
            let end = &changes.last().unwrap().2;
            assert_eq!((&end["state"], &end["steps"][0]["state"]), (&json!("succeeded"), &json!("done")));
            assert_eq!(end["answer"]["status"], 200);
        }
        let began = &events(&told[0])[0].2;
        assert_eq!(began["state"], "running");

        // Whoever saw the last event gets nothing but the end.
        let last = events(&told[0]).iter().rev().find_map(|event| event.1).unwrap().to_string();
        let again = call(address, "GET", &path, &[("last-event-id", &last)], "").await;
        let names: Vec<_> = events(&again).into_iter().map(|event| event.0).collect();
        assert_eq!(names, ["end"]);
        let whole = call(address, "GET", &path, &[], "").await;
        let names: Vec<_> = events(&whole).into_iter().map(|event| event.0).collect();
        assert_eq!(names, ["operation", "end"]);
        service.stop().await;
    }
}

each_backend! {
    async fn what_is_unknown_or_no_id_is_refused(test) {
        let service = Service::start_on(&test, vec![]).await;
        for path in ["/api/operations/17", "/api/operations/0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e"] {
            assert_eq!(service.get(path).await.expect(404)["code"], "unknown_operation");
            assert_eq!(service.get(&format!("{path}/events")).await.expect(404)["code"], "unknown_operation");
        }
        for id in ["x", "0", "-1", "1.5", "99999999999999999999"] {
            service.get(&format!("/api/operations/{id}")).await.expect_field("id");
        }
        service.stop().await;
    }
}

each_backend! {
    async fn the_newest_of_the_history_is_paged_as_the_timeline_is(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let db = test.database();
        for n in 0..25 {
            let sql = "INSERT INTO reservation_operations (reservation_id, host, action, status, success, created_at) \
                       VALUES (?, ?, 'wake', 'completed', TRUE, ?)";
            let stamp = format!("2026-03-01 09:00:{:02}", n / 2);
            let host = if n % 5 == 0 { "lab-ws-01" } else { "gone" };
            execute(db, sql, [format!("0x{}", n % 3).into(), host.into(), stamp.into()]).await;
        }
        let page = service.get("/api/operations/recent?limit=10&offset=10").await.expect(200);
        let expected = json!({"limit": 10, "offset": 10, "page": 2, "pageSize": 10, "returned": 10, "total": 25,
            "hasMore": true, "nextOffset": 20});
        assert_eq!(page["pagination"], expected);
        let ids = |page: &Value| -> Vec<i64> {
            page["operations"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
        };
        let first = service.get("/api/operations/recent?limit=10").await.expect(200);
        let all: Vec<i64> = ids(&first).into_iter().chain(ids(&page)).collect();
        assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "{all:?}");
        assert_eq!(first["operations"][0]["createdAt"], "2026-03-01T09:00:12.000Z");
        assert_eq!(first["operations"][0]["success"], true);
        for (query, total) in [("host=LAB-WS-01", 5), ("host=gone", 20), ("reservationId=0x1", 8), ("reservation_id=0x1&host=gone", 7), ("host=nobody", 0)] {
            let page = service.get(&format!("/api/operations/recent?{query}")).await.expect(200);
            assert_eq!(page["pagination"]["total"], total, "{query}");
            assert_eq!(ids(&page).len(), total, "{query}");
        }
        service.get("/api/operations/recent?host=a%0Ab").await.expect_field("host");
        service.stop().await;
    }
}

each_backend! {
    async fn reservations_are_listed_by_key_with_the_host_of_their_lab(test) {
        let service = Service::start_on(&test, vec![awake(1), awake(2)]).await;
        let db = test.database();
        for n in 0..6_i64 {
            let lab = ["1", "2", "none"][usize::try_from(n).unwrap() % 3];
            reservations::book(db, &format!("0x{n}"), lab, in_secs(n * 3600), in_secs(n * 3600 + 1800)).await;
        }
        reservations::cancel(db, "0x5").await;
        let ids = |page: &Value| -> Vec<String> {
            let rows = page["reservations"].as_array().unwrap();
            rows.iter().map(|row| row["reservationId"].as_str().unwrap().to_owned()).collect()
        };
        let mut seen = Vec::new();
        let mut path = "/api/reservations?limit=4".to_owned();
        for _ in 0..3 {
            let page = service.get(&path).await.expect(200);
            seen.extend(ids(&page));
            match page["next"].as_i64() {
                Some(next) => path = format!("/api/reservations?limit=4&after={next}"),
                None => break,
            }
        }
        assert_eq!(seen, ["0x5", "0x4", "0x3", "0x2", "0x1", "0x0"]);
        let whole = service.get("/api/reservations").await.expect(200);
        let hosts: Vec<_> = whole["reservations"].as_array().unwrap().iter().map(|row| row["host"].clone()).collect();
        assert_eq!(hosts[3..], [json!(null), json!("lab-ws-02"), json!("lab-ws-01")]);
        let from = (now() + chrono::TimeDelta::minutes(150)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let to = (now() + chrono::TimeDelta::minutes(210)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        for (query, found) in [
            ("host=LAB-WS-01".to_owned(), vec!["0x3", "0x0"]),
            ("labId=NONE".to_owned(), vec!["0x5", "0x2"]),
            ("host=lab-ws-01&labId=2".to_owned(), vec![]),
            ("status=cancelled".to_owned(), vec!["0x5"]),
            ("status=CONFIRMED,CANCELLED&labId=none".to_owned(), vec!["0x5", "0x2"]),
            (format!("from={from}&to={to}"), vec!["0x3"]),
        ] {
            let page = service.get(&format!("/api/reservations?{query}")).await.expect(200);
            assert_eq!(ids(&page), found, "{query}");
        }
        for (query, field) in [("status=DONE", "status"), ("from=yesterday", "from"), ("limit=0", "limit"), ("limit=501", "limit"), ("after=x", "after"), ("labId=%0A%01x", "labId")] {
            service.get(&format!("/api/reservations?{query}")).await.expect_field(field);
        }
        assert_eq!(service.get("/api/reservations?host=nobody").await.expect(404)["code"], "unknown_host");
        service.stop().await;
    }
}

each_backend! {
    async fn the_audit_trail_is_read_newest_first(test) {
        let service = Service::start_on(&test, vec![]).await;
        let site = service.handle.current().unwrap();
        for n in 0..5 {
            let entry = AuditEntry {
                at: now(),
                request_id: format!("req-{n}"),
                caller: "gateway".to_owned(),
                role: "operator".to_owned(),
                from: "192.0.2.7".to_owned(),
                action: "POST /api/wol".to_owned(),
                subject: Some(format!("0x{}", n % 2)),
                detail: None,
            };
            let id = site.calls.audit_begin(entry).await.unwrap();
            site.calls.audit_end(id, 200, None, now()).await.unwrap();
        }
        let page = service.get("/api/audit?limit=2&caller=gateway").await.expect(200);
        assert_eq!((&page["entries"][0]["requestId"], &page["entries"][0]["status"]), (&json!("req-4"), &json!(200)));
        let next = page["next"].as_i64().unwrap();
        let page = service.get(&format!("/api/audit?after={next}&subject=0x0")).await.expect(200);
        let requests: Vec<_> = page["entries"].as_array().unwrap().iter().map(|row| row["requestId"].clone()).collect();
        assert_eq!((requests, &page["next"]), (vec![json!("req-2"), json!("req-0")], &Value::Null));
        service.get("/api/audit?after=0").await.expect_field("after");
        service.stop().await;
    }
}

each_backend! {
    async fn a_viewer_of_an_operation_that_goes_on_elsewhere_does_not_keep_the_service_from_stopping(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![]).await.on(&test).with("OPS_SHUTDOWN_GRACE", "300");
        let mut api = lab.run(API, &[]);
        let address = api.address().await;
        api.says("the database is ready").await;
        let id = "0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e";
        let row = "INSERT INTO ops_calls (id, kind, caller, digest, state, worker, lease_until, created_at) \
                   VALUES (?, 'wol', 'c', '', 'running', 'api@other', 9999999999999, ?)";
        execute(test.database(), row, [id.into(), now().naive_utc().into()]).await;
        let ask = format!("GET /api/operations/{id}/events HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let mut viewer = TcpStream::connect(address).await.unwrap();
        viewer.write_all(ask.as_bytes()).await.unwrap();
        let mut told = Vec::new();
        while !String::from_utf8_lossy(&told).contains("event: operation") {
            assert!(viewer.read_buf(&mut told).await.unwrap() > 0);
        }
        let watching = tokio::spawn(async move {
            viewer.read_to_end(&mut told).await.unwrap();
            String::from_utf8_lossy(&told).into_owned()
        });
        assert_eq!(api.terminate().await.0.code(), Some(0), "long before its grace is over");
        assert!(!watching.await.unwrap().contains("event: end"));
    }
}

//! One flow per host: whoever comes second is told who is there.

use std::time::Duration;

use host_sim::{Fault, HostSpec};
use serde_json::{Value, json};
use store_support::each_backend;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::{Lab, awake, commands, history, in_secs, migrate, reservations, until, until_true};
use crate::http::call;
use crate::service::Service;

/// A host whose prepare takes its time.
fn slow(n: u8) -> HostSpec {
    let mut spec = awake(n);
    spec.station.durations.prepare = Duration::from_secs(4);
    spec
}

fn start(id: &str) -> Value {
    json!({"reservationId": id, "host": "lab-ws-01", "wake": false})
}

each_backend! {
    async fn a_second_start_is_told_who_has_the_host(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1)]).await.on(&test).with("OPS_HOST_WAIT", "0");
        let gate = lab.gate(1);
        let service = Service::start_in(lab.with("OPS_WORKER_NAME", "gateway-7")).await;
        let host = service.lab.sim(1);
        let address = service.address();
        let body = start("0xaa").to_string();
        let first = tokio::spawn(async move { call(address, "POST", "/api/reservations/start", &[], body).await });
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        gate.stall();

        for (path, body) in [
            ("/api/reservations/start", start("0xbb")),
            ("/api/reservations/end", json!({"reservationId": "0xaa", "host": "lab-ws-01"})),
            ("/api/winrm", json!({"host": "lab-ws-01", "command": "power", "args": ["shutdown"]})),
            ("/api/wol", json!({"host": "lab-ws-01", "ping_timeout": 0})),
        ] {
            let answer = service.post(path, body).await;
            let busy = answer.expect(409);
            assert_eq!((&busy["code"], &busy["host"]), (&json!("host_busy"), &json!("lab-ws-01")), "{path}");
            assert!(busy["holder"].as_str().unwrap().starts_with("gateway-7"), "{busy}");
            let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&after), "{after}");
        }
        gate.resume();
        first.await.unwrap().expect(200);
        assert_eq!(commands(host, "prepare-session").len(), 1);
        assert_eq!((commands(host, "release-session"), commands(host, "power")), (vec![], vec![]));
        assert_eq!(history(test.database(), "0xbb").await, []);
        service.stop().await;
    }
}

each_backend! {
    async fn a_call_that_may_wait_gets_the_host_after_the_other(test) {
        migrate(test.database()).await;
        let lab = Lab::start(vec![slow(1)]).await.on(&test).with("OPS_HOST_WAIT", "120");
        let service = Service::start_in(lab).await;
        let order = |id: &str| service.post("/api/reservations/start", start(id));
        let (one, two, three) = tokio::join!(order("0x1"), order("0x2"), order("0x3"));
        for answer in [one, two, three] {
            answer.expect(200);
        }
        let at: Vec<_> = commands(service.lab.sim(1), "prepare-session").into_iter().map(|(at, _)| at).collect();
        assert_eq!(at.len(), 3);
        let apart = chrono::TimeDelta::seconds(4);
        assert!(at.windows(2).all(|pair| pair[1] - pair[0] >= apart), "one after the other: {at:?}");
        service.stop().await;
    }
}

each_backend! {
    async fn a_caller_who_hangs_up_does_not_stop_the_work(test) {
        let service = Service::start_on(&test, vec![slow(1)]).await;
        let host = service.lab.sim(1);
        let body = start("0xaa").to_string();
        let request = format!(
            "POST /api/reservations/start HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut caller = TcpStream::connect(service.address()).await.unwrap();
        caller.write_all(request.as_bytes()).await.unwrap();
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        drop(caller);
        let db = test.database();
        let rows = until("the row is written", || async { Some(history(db, "0xaa").await).filter(|r| !r.is_empty()) }).await;
        assert_eq!((rows.len(), rows[0].action.as_str(), rows[0].success), (1, "prepare", true));
        // The host is free again.
        service.post("/api/reservations/start", start("0xbb")).await.expect(200);
        service.stop().await;
    }
}

each_backend! {
    async fn the_scheduler_and_callers_share_one_claim(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![slow(1)]).await.on(&test).with("OPS_HOST_WAIT", "0");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let gate = lab.gate(1);
        let service = Service::start_in(lab).await;
        let scheduler = ops_scheduler::start(service.handle.clone());
        let host = service.lab.sim(1);
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        gate.stall();
        let end = json!({"reservationId": "0xzz", "host": "lab-ws-01"});
        assert_eq!(service.post("/api/reservations/end", end).await.expect(409)["code"], "host_busy");
        gate.resume();
        until("it is active", || async { (crate::harness::status(db, "0xaa").await == "ACTIVE").then_some(()) }).await;
        assert_eq!(commands(host, "release-session"), []);
        scheduler.stop().await;
        service.stop().await;
    }
}

each_backend! {
    async fn looking_at_a_host_waits_for_nothing_that_is_done_on_it(test) {
        let service = Service::start_on(&test, vec![awake(1)]).await;
        let host = service.lab.sim(1);
        host.set_fault(Fault::CommandHangs { command: "prepare-session".into() });
        let address = service.address();
        let body = start("0xaa").to_string();
        let first = tokio::spawn(async move { call(address, "POST", "/api/reservations/start", &[], body).await });
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        service.post("/api/heartbeat/poll", json!({"host": "lab-ws-01"})).await.expect(200);
        assert_eq!(history(test.database(), "0xaa").await, [], "the prepare is still under way");
        for command in ["status-json", "status"] {
            let look = service.post("/api/winrm", json!({"host": "lab-ws-01", "command": command})).await;
            assert_eq!(look.expect(200)["exit_code"], 0);
            assert_eq!(history(test.database(), "0xaa").await, [], "the prepare is still under way");
        }
        // It would never end by itself.
        assert!(!first.is_finished());
        host.power_off();
        first.await.unwrap().expect(502);
        service.stop().await;
    }
}

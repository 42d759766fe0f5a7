//! Callers' orders whose process is killed under way: a scheduler finds out what became of them, and sends nothing.

use std::net::SocketAddr;
use std::time::Duration;

use host_sim::{EffectKind, HostSpec, PowerState, SimHost};
use serde_json::{Value, json};
use store_support::{Database, each_backend};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::API;
use crate::harness::{
    Journal, LIMIT, Lab, asleep, awake, commands, count, history, journal, migrate, packets, until,
    until_true,
};
use crate::http::call;

/// Hosts on which everything takes so long that it can be cut off.
fn slow(mut spec: HostSpec) -> HostSpec {
    let takes = Duration::from_secs(8);
    spec.station.durations.prepare = takes;
    spec.station.durations.release = takes;
    spec.station.durations.power = takes;
    spec.boot.port_open = takes..Duration::from_secs(9);
    spec
}

/// Asks for something whose answer will not come.
fn send(address: SocketAddr, path: &'static str, order: Value) {
    tokio::spawn(async move {
        let order = order.to_string();
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
        let request = format!("{head}content-length: {}\r\n\r\n{order}", order.len());
        let mut connection = TcpStream::connect(address).await.unwrap();
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // How the connection breaks off is none of this test.
        let _ = connection.read_to_end(&mut answer).await;
    });
}

fn rebooted_or_off(host: &SimHost) -> usize {
    let effects = host.effects().into_iter();
    let down = effects.filter(|effect| {
        matches!(
            effect.what,
            EffectKind::Rebooted { .. } | EffectKind::PoweredOff { .. }
        )
    });
    down.count()
}

/// Whether a command that was given has come to its end.
fn ended(host: &SimHost, word: &str) -> bool {
    host.effects().iter().any(|effect| {
        matches!(&effect.what, EffectKind::Command { command_line, exit_code: Some(_), .. } if command_line.contains(word))
    })
}

async fn settled(db: &Database, id: &str) -> Journal {
    until(&format!("{id} is settled"), || async {
        let found = journal(db, id).await.pop();
        found.filter(|operation| ["done", "needs_attention"].contains(&operation.state.as_str()))
    })
    .await
}

each_backend! {
    async fn orders_cut_off_by_a_kill_are_settled_by_a_scheduler_and_nothing_is_sent_twice(test) {
        let db = test.database();
        migrate(db).await;
        let specs = vec![slow(awake(1)), slow(asleep(2)), slow(awake(3)), slow(awake(4))];
        let lab = Lab::start(specs).await.on(&test);
        let mut api = lab.run_with(API, &[("OPS_WORKER_NAME", "victim")]);
        let address = api.address().await;
        api.says("the database is ready").await;
        send(address, "/api/reservations/start", json!({"reservationId": "0x1", "host": "lab-ws-01", "wake": false}));
        send(address, "/api/reservations/start", json!({"reservationId": "0x2", "host": "lab-ws-02", "wakeOptions": {"ping_timeout": 60}}));
        send(address, "/api/reservations/end", json!({"reservationId": "0x3", "host": "lab-ws-03"}));
        send(address, "/api/reservations/end",
            json!({"reservationId": "0x4", "host": "lab-ws-04", "release": false, "powerAction": {"mode": "shutdown"}}));
        let begun = |n, word| !commands(lab.sim(n), word).is_empty();
        until_true("all four are under way", || {
            begun(1, "prepare-session") && !packets(lab.sim(2)).is_empty() && begun(3, "release-session")
                && begun(4, "power")
        })
        .await;
        api.kill().await;
        let open = "SELECT COUNT(*) FROM ops_operations WHERE state = 'running'";
        assert_eq!(count(db, open).await, 4, "cut off in the middle");
        // What was sent goes on at the hosts; whoever looks while it does cannot say what becomes of it.
        until_true("the hosts are through with it", || {
            ended(lab.sim(1), "prepare-session") && lab.sim(2).power() == PowerState::Ready
                && ended(lab.sim(3), "release-session") && lab.sim(4).power() == PowerState::Off
        })
        .await;

        let mut scheduler = lab.run(API, &["--with-scheduler"]);
        let address = scheduler.address().await;
        let done = [settled(db, "0x1").await, settled(db, "0x2").await, settled(db, "0x3").await,
            settled(db, "0x4").await];
        let states: Vec<_> = done.iter().map(|operation| operation.state.as_str()).collect();
        assert_eq!(states, ["done", "needs_attention", "needs_attention", "done"], "{done:?}");
        for operation in &done[1..3] {
            assert_eq!(operation.details()["reason"]["code"], "interrupted", "{operation:?}");
        }
        let told = |n: usize| done[n].details()["reason"]["detail"].as_str().unwrap().to_owned();
        assert!(told(1).ends_with("the host answers now"), "{}", told(1));
        assert!(told(2).ends_with("the host shows that release took effect; nothing was done after it"), "{}", told(2));
        for (id, success) in [("0x1", true), ("0x2", false), ("0x3", false), ("0x4", true)] {
            let rows = history(db, id).await;
            assert_eq!((rows.len(), rows[0].success), (1, success), "{id}: {rows:?}");
        }
        // Nothing was sent but by the one that was killed.
        assert!(lab.sim(4).wait_for(PowerState::Off, LIMIT).await);
        let given = |n, word| commands(lab.sim(n), word).len();
        let sent = (given(1, "prepare-session"), given(3, "release-session"), given(4, "power"));
        assert_eq!(sent, (1, 1, 1));
        assert_eq!((packets(lab.sim(2)).len(), given(2, "prepare-session")), (1, 0));
        assert!([1, 2].iter().all(|n| rebooted_or_off(lab.sim(*n)) == 0));

        // The hosts are free again for whoever asks next.
        let order = json!({"reservationId": "0x5", "host": "lab-ws-02", "wake": false}).to_string();
        call(address, "POST", "/api/reservations/start", &[], order).await.expect(200);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}

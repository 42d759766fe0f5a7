//! A webhook that hangs keeps no reservation waiting, and one that works hears what went wrong.

use chrono::{TimeDelta, Utc};
use store_support::each_backend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Lab, asleep, awake, count, history, migrate, reservations, until};
use crate::running::{Running, has_status};

/// Of the host that fails; on a slow machine others may fail before they succeed.
const RAISED: &str =
    "SELECT COUNT(*) FROM ops_notices WHERE kind = 'repeated_failures' AND host = 'lab-ws-09'";

/// The body of the request that comes next.
async fn told(hook: &TcpListener) -> (TcpStream, serde_json::Value) {
    let (mut stream, _) = hook.accept().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse().unwrap() {
                return (stream, serde_json::from_str(body).unwrap());
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
}

each_backend! {
    async fn reservations_are_run_while_the_webhook_hangs(test) {
        const HOSTS: u8 = 4;
        let db = test.database();
        migrate(db).await;
        // Takes connections and never says a word.
        let hook = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", hook.local_addr().unwrap());
        let hosts = (1..=HOSTS).map(awake).chain([asleep(9)]).collect();
        let lab = Lab::start(hosts).await.on(&test).with("NOTIFICATION_WEBHOOK_URL", url);
        let lab = lab.with("OPS_ALERT_FAILURE_THRESHOLD", "2").with("OPS_WAKE_TIMEOUT", "5");
        lab.sim(9).set_fault(host_sim::Fault::NeverBoots);
        #[expect(clippy::disallowed_methods, reason = "reservations begin by the clock of the program under test")]
        let now = Utc::now();
        let end = now + TimeDelta::hours(1);
        reservations::book(db, "0x9", "9", now, end).await;
        for n in 1..=HOSTS {
            reservations::book(db, &format!("0x{n}"), &n.to_string(), now, end).await;
        }
        let running = Running::start(&lab);
        let (_held, _) = hook.accept().await.unwrap();
        for n in 1..=HOSTS {
            has_status(db, &format!("0x{n}"), "ACTIVE").await;
        }
        until("the alert is raised while nothing was delivered", || async {
            (count(db, RAISED).await == 1).then_some(())
        })
        .await;
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_notices WHERE state = 'delivered'").await, 0);
        let rows = history(db, "0x9").await;
        assert_eq!(rows.iter().filter(|row| row.action == "alert").count(), 1, "{rows:?}");
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_wake_is_told_to_the_webhook_with_its_rung() {
    store_support::test_support::on_sqlite(|test| async move {
        let db = test.database();
        migrate(db).await;
        let hook = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", hook.local_addr().unwrap());
        let lab = Lab::start(vec![asleep(1)]).await.on(&test);
        let lab = lab
            .with("NOTIFICATION_WEBHOOK_URLS", url)
            .with("OPS_WAKE_TIMEOUT", "5");
        lab.sim(1).set_fault(host_sim::Fault::NeverBoots);
        #[expect(
            clippy::disallowed_methods,
            reason = "reservations begin by the clock of the program under test"
        )]
        let now = Utc::now();
        reservations::book(db, "0x1", "1", now, now + TimeDelta::hours(1)).await;
        let running = Running::start(&lab);
        let (mut stream, told) = told(&hook).await;
        assert_eq!(
            (&told["kind"], &told["reservationId"]),
            (&"step_failed".into(), &"0x1".into()),
            "{told}"
        );
        assert_eq!(told["details"]["step"], "wake");
        assert!(told["reason"]["rung"].is_string(), "{told}");
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .unwrap();
        until("the history says that somebody was told", || async {
            history(db, "0x1")
                .await
                .iter()
                .any(|row| row.action == "notification" && row.success)
                .then_some(())
        })
        .await;
        running.stop().await;
    })
    .await;
}

//! Events of the session guard: each becomes one row, whatever becomes of schedulers and databases meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use host_sim::SimHost;
use sea_orm::ConnectionTrait as _;
use store_support::test_support::{TestDatabase, on_mysql};
use store_support::{Database, each_backend};
use tokio::time::Instant;

use crate::SCHEDULER;
use crate::harness::{Forwarder, Lab, awake, count, dsn, migrate, until};

/// No lease lasts longer.
const LEASE: Duration = Duration::from_secs(15);

/// Somebody is sent off: one line in the event file, and the heartbeat says so.
fn send_off(host: &SimHost, user: &str) {
    host.log_on(user);
    host.send_off(user);
    host.write_heartbeat();
}

/// Who was sent off according to the rows, in their order.
async fn stored(db: &Database) -> Vec<String> {
    let sql = "SELECT e.payload FROM lab_host_events e ORDER BY e.id";
    let rows = db
        .connection()
        .query_all_raw(db.statement(sql, []))
        .await
        .unwrap();
    let user = |row: &sea_orm::QueryResult| {
        let payload: serde_json::Value = row.try_get_by_index(0).unwrap();
        payload["user"].as_str().unwrap().to_owned()
    };
    rows.iter().map(user).collect()
}

async fn stored_all(db: &Database, users: &[String]) {
    let mut wanted = users.to_vec();
    wanted.sort();
    until(&format!("{} events are rows", wanted.len()), || async {
        let mut rows = stored(db).await;
        rows.sort();
        assert!(
            rows.windows(2).all(|pair| pair[0] != pair[1]),
            "stored twice: {rows:?}"
        );
        (rows == wanted).then_some(())
    })
    .await;
}

async fn has_cursors(db: &Database, hosts: i64) {
    until("the place in the event files is known", || async {
        (count(db, "SELECT COUNT(*) FROM ops_event_cursors").await == hosts).then_some(())
    })
    .await;
}

fn polling(lab: Lab) -> Lab {
    lab.with("OPS_RESERVATION_AUTOMATION", "no")
        .with("OPS_POLL_ENABLED", "true")
        .with("OPS_POLL_INTERVAL", "1")
}

each_backend! {
    async fn each_event_is_one_row_over_kills_at_any_moment(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![awake(1)]).await.on(&test));
        let host = lab.sim(1);
        send_off(host, "before");
        let mut scheduler = lab.run(SCHEDULER, &[]);
        has_cursors(db, 1).await;
        let mut users = Vec::new();
        for round in 0..3 {
            for n in 0..3 {
                users.push(format!("user-{round}-{n}"));
                send_off(host, &users[users.len() - 1]);
            }
            let polled = host.counts().commands + round;
            until("it is being read", || std::future::ready((host.counts().commands >= polled).then_some(()))).await;
            scheduler.kill().await;
            users.push(format!("while-away-{round}"));
            send_off(host, &users[users.len() - 1]);
            scheduler = lab.run(SCHEDULER, &[]);
        }
        stored_all(db, &users).await;
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        assert_eq!(stored(db).await.len(), users.len());
    }
}

each_backend! {
    async fn each_event_is_one_row_when_hosts_change_hands_between_two_schedulers(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start((1..=6).map(awake).collect()).await.on(&test)).without("OPS_WORKER_NAME");
        let mut first = lab.run(SCHEDULER, &[]);
        has_cursors(db, 6).await;
        let mut users = Vec::new();
        for round in 0..3 {
            let mut send_all = |when: &str| {
                for n in 1..=6 {
                    users.push(format!("{when}-{round}-{n}"));
                    send_off(lab.sim(n), &users[users.len() - 1]);
                }
            };
            send_all("alone");
            let mut second = lab.run(SCHEDULER, &[]);
            second.says("took shards").await;
            send_all("together");
            // One leaves in good order, one is killed.
            if round == 1 {
                first.kill().await;
            } else {
                assert_eq!(first.terminate().await.0.code(), Some(0));
            }
            send_all("after");
            first = second;
            stored_all(db, &users).await;
        }
        assert_eq!(first.terminate().await.0.code(), Some(0));
        assert_eq!(stored(db).await.len(), users.len());
    }
}

/// The test's database by way of a forwarder.
async fn by_way(test: &TestDatabase) -> (Forwarder, String) {
    let direct = dsn(test);
    let after_user = direct.rsplit_once('@').unwrap().1;
    let (server, _) = after_user.split_once('/').unwrap();
    let address: SocketAddr = tokio::net::lookup_host(server).await.unwrap().next().unwrap();
    let forwarder = Forwarder::to(address);
    let there = forwarder.address().to_string();
    (forwarder, direct.replace(server, &there))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_in_the_middle_loses_no_event_and_doubles_none() {
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let (mut forwarder, url) = by_way(&test).await;
        forwarder.open();
        let lab = polling(Lab::start(vec![awake(1), awake(2)]).await.with("MYSQL_DSN", url));
        let scheduler = lab.run(SCHEDULER, &[]);
        has_cursors(db, 2).await;
        let mut users = Vec::new();
        for round in 0..3 {
            users.push(format!("before-{round}"));
            send_off(lab.sim(1), &users[users.len() - 1]);
            // A statement may be under way.
            forwarder.close().await;
            users.push(format!("away-{round}"));
            send_off(lab.sim(2), &users[users.len() - 1]);
            // Reports pile up. On a machine too slow for so many the leases end, and with them the polls.
            let polled = lab.sim(1).counts().commands + 3;
            let leases_over = Instant::now() + LEASE;
            until("polls go on, or may not", || {
                let goes_on = lab.sim(1).counts().commands >= polled;
                std::future::ready((goes_on || Instant::now() > leases_over).then_some(()))
            })
            .await;
            forwarder.open();
            stored_all(db, &users).await;
        }
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    })
    .await;
}

//! Heartbeats of all hosts, healthy and sick.

use std::collections::BTreeMap;
use std::time::Duration;

use host_sim::{At, Fault};
use ops_scheduler::poll_host;
use sea_orm::{ConnectionTrait as _, FromQueryResult};
use station_control::EventsRead;
use store_support::{Database, each_backend};

use crate::harness::{Lab, asleep, awake, migrate, until, until_true};
use crate::running::Running;

#[derive(Debug, FromQueryResult)]
struct HostState {
    host_name: String,
    failures_in_row: i32,
    last_error_code: Option<String>,
    last_error: Option<String>,
}

async fn states(db: &Database) -> BTreeMap<String, HostState> {
    let sql = "SELECT host_name, failures_in_row, last_error_code, last_error FROM ops_host_state";
    let rows = HostState::find_by_statement(db.statement(sql, []))
        .all(db.connection())
        .await
        .unwrap();
    rows.into_iter().map(|row| (row.host_name.clone(), row)).collect()
}

/// How many heartbeats are stored of each host.
async fn stored(db: &Database) -> BTreeMap<String, i64> {
    let sql = "SELECT h.name, COUNT(*) FROM lab_hosts h JOIN lab_host_heartbeat b ON b.host_id = h.id GROUP BY h.name";
    let rows = db
        .connection()
        .query_all_raw(db.statement(sql, []))
        .await
        .unwrap();
    let read =
        |row: &sea_orm::QueryResult| (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
    rows.iter().map(read).collect()
}

each_backend! {
    async fn every_healthy_host_is_polled_whatever_the_sick_ones_do_and_those_say_why(test) {
        let db = test.database();
        migrate(db).await;
        let hosts = vec![awake(1), awake(2), awake(3), awake(4), awake(5), asleep(6)];
        let lab = Lab::start(hosts).await.on(&test).with("OPS_RESERVATION_AUTOMATION", "no");
        let lab = lab
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1")
            .with("OPS_POLL_DEADLINE", "600")
            .with("OPS_HEARTBEAT_STORE", "every");
        lab.sim(4).set_fault(Fault::Hang(At::Receive));
        lab.sim(5).set_fault(Fault::GarbledHeartbeat);
        let running = Running::start(&lab);
        // The one that hangs does so for ten minutes: nobody else may wait for it.
        until("three hosts were polled four times", || async {
            let stored = stored(db).await;
            let polled = |n: u8| stored.get(&format!("lab-ws-{n:02}")).is_some_and(|count| *count >= 4);
            (1..=3).all(polled).then_some(())
        })
        .await;
        assert_eq!(stored(db).await.keys().collect::<Vec<_>>(), ["lab-ws-01", "lab-ws-02", "lab-ws-03"]);

        let states = until("the failed polls are recorded", || async {
            let states = states(db).await;
            let failed = |n: &str| states.get(n).is_some_and(|state| state.failures_in_row >= 2);
            (failed("lab-ws-05") && failed("lab-ws-06")).then_some(states)
        })
        .await;
        assert_eq!(states["lab-ws-05"].last_error_code.as_deref(), Some("heartbeat_unreadable"));
        assert!(states["lab-ws-06"].last_error.as_deref().unwrap().contains("lab-ws-06"), "{states:?}");
        assert_eq!(states["lab-ws-01"].failures_in_row, 0);
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_that_hangs_is_given_up_at_its_deadline_and_recovers(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test).with("OPS_RESERVATION_AUTOMATION", "0");
        let lab = lab
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1")
            .with("OPS_POLL_DEADLINE", "8");
        lab.sim(1).set_fault(Fault::Hang(At::Receive));
        let running = Running::start(&lab);
        let failed = until("the poll is given up", || async {
            states(db).await.remove("lab-ws-01").filter(|state| state.failures_in_row >= 1)
        })
        .await;
        assert_eq!(failed.last_error_code.as_deref(), Some("deadline_expired"));
        lab.sim(1).clear_faults();
        until("the host is polled again", || async {
            states(db).await.remove("lab-ws-01").filter(|state| state.failures_in_row == 0)
        })
        .await;
        assert!(stored(db).await["lab-ws-01"] >= 1);
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_state_poll_is_three_requests_on_a_connection_and_a_shell_that_are_open() {
    const POLLS: u64 = 10;
    let lab = Lab::start(vec![awake(1)])
        .await
        .with("OPS_RESERVATION_AUTOMATION", "off");
    let running = Running::start(&lab);
    let site = running.site().await;
    let host = site.catalog.current().find("lab-ws-01").cloned().unwrap();
    let poll = || poll_host(&site, &host, EventsRead::IfChanged, Duration::from_secs(30));
    poll().await.unwrap();
    let sim = lab.sim(1);
    // The Signal that ends a command is not waited for. Create, Command, Receive, Signal, and the handshake before.
    until_true("the first poll is over", || sim.counts().requests >= 5).await;
    let before = sim.counts();
    for _ in 0..POLLS {
        assert!(poll().await.unwrap().persisted);
    }
    let wanted = before.requests + 3 * POLLS;
    until_true("the last Signal arrived", || sim.counts().requests >= wanted).await;
    let after = sim.counts();
    assert_eq!(after.requests, wanted);
    assert_eq!(after.commands - before.commands, POLLS);
    assert_eq!(
        (after.shells_created, after.handshakes),
        (before.shells_created, before.handshakes)
    );
    assert_eq!(after.connections, before.connections);
    running.stop().await;
}

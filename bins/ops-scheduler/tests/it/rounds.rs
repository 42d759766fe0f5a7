//! What a round of polls costs the hosts and the database: healthy ones, sick ones, ones that are off, ones that refuse.

use std::collections::BTreeMap;

use host_sim::{At, Fault, SimHost};
use sea_orm::FromQueryResult;
use store_support::{Database, each_backend};

use crate::SCHEDULER;
use crate::harness::{Lab, asleep, awake, count, migrate, until, until_true};
use crate::running::Running;

#[derive(Debug, FromQueryResult)]
struct HostState {
    host_name: String,
    failures_in_row: i32,
    last_error_code: Option<String>,
}

async fn state(db: &Database, host: &str) -> Option<HostState> {
    let sql = "SELECT host_name, failures_in_row, last_error_code FROM ops_host_state";
    let rows = HostState::find_by_statement(db.statement(sql, []))
        .all(db.connection())
        .await
        .unwrap();
    let mut rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.host_name.clone(), row)).collect();
    rows.remove(host)
}

/// Waits until so many polls of the host have failed in a row.
async fn failed(db: &Database, host: &str, times: i32) -> HostState {
    until(&format!("{times} polls of {host} have failed"), || async {
        state(db, host)
            .await
            .filter(|state| state.failures_in_row >= times)
    })
    .await
}

async fn heard(db: &Database, host: &str) {
    until(&format!("{host} is heard"), || async {
        let heard = format!(
            "SELECT COUNT(*) FROM ops_host_state WHERE host_name = '{host}' AND failures_in_row = 0 \
             AND last_error_code IS NULL AND last_success_at IS NOT NULL"
        );
        (count(db, &heard).await == 1).then_some(())
    })
    .await;
}

/// Polling once a second, nothing else.
fn polling(lab: Lab) -> Lab {
    lab.with("OPS_RESERVATION_AUTOMATION", "no")
        .with("OPS_POLL_ENABLED", "true")
        .with("OPS_POLL_INTERVAL", "1")
}

async fn polls(host: &SimHost, more: u64) {
    let wanted = host.counts().commands + more;
    until_true(&format!("{more} more polls of {}", host.name()), || {
        host.counts().commands >= wanted
    })
    .await;
}

each_backend! {
    async fn a_steady_round_is_three_requests_a_host_and_no_row_while_nothing_changes(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![awake(1), awake(2)]).await.on(&test));
        lab.sim(1).set_fault(Fault::StaleHeartbeat);
        let running = Running::start(&lab);
        let sim = lab.sim(1);
        heard(db, "lab-ws-01").await;
        polls(sim, 3).await;
        let rows = "SELECT COUNT(*) FROM lab_host_heartbeat b JOIN lab_hosts h ON h.id = b.host_id WHERE h.name = 'lab-ws-01'";
        let seen = "SELECT CAST(MAX(last_success_at) AS CHAR) AS at FROM ops_host_state WHERE host_name = 'lab-ws-01'";
        let last_seen = || async { last(db, seen).await };
        let (before, rows_before, seen_before) = (sim.counts(), count(db, rows).await, last_seen().await);
        polls(sim, 5).await;
        // What is under way while we look may be one request short of a whole poll, or one ahead.
        let after = sim.counts();
        let (requests, commands) = (after.requests - before.requests, after.commands - before.commands);
        assert!((3 * commands - 2..=3 * commands + 2).contains(&requests), "{requests} requests for {commands} polls");
        assert_eq!(
            (after.connections, after.handshakes, after.shells_created),
            (before.connections, before.handshakes, before.shells_created)
        );
        assert_eq!((count(db, rows).await, rows_before), (1, 1));
        until("it is seen all the same", || async { (last_seen().await != seen_before).then_some(()) }).await;
        // A change is a row.
        let sim = lab.sim(2);
        let rows = rows.replace("-01", "-02");
        sim.local_mode(true);
        sim.write_heartbeat();
        until("the change is a row", || async { (count(db, &rows).await >= 2).then_some(()) }).await;
        running.stop().await;
    }
}

async fn last(db: &Database, sql: &str) -> Option<String> {
    use sea_orm::ConnectionTrait as _;
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, []))
        .await
        .unwrap();
    row.and_then(|row| row.try_get_by_index(0).ok())
}

each_backend! {
    async fn an_unreachable_host_is_only_knocked_at_and_its_return_is_heard_by_the_next_look(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![awake(1)]).await.on(&test));
        let sim = lab.sim(1);
        let running = Running::start(&lab);
        heard(db, "lab-ws-01").await;
        sim.power_off();
        // What was under way has ended.
        failed(db, "lab-ws-01", 1).await;
        let before = sim.counts();
        let gone = failed(db, "lab-ws-01", 6).await;
        assert_eq!(gone.last_error_code.as_deref(), Some("connect"));
        assert_eq!(sim.counts().requests, before.requests);
        // It boots, and its port opens: whatever knocks next is answered, and a poll follows at once.
        sim.power_on();
        heard(db, "lab-ws-01").await;
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_that_hangs_at_the_door_costs_one_connection_in_an_interval_and_is_heard_when_it_recovers(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![awake(1)]).await.on(&test)).with("OPS_POLL_DEADLINE", "4");
        let sim = lab.sim(1);
        let running = Running::start(&lab);
        heard(db, "lab-ws-01").await;
        sim.set_fault(Fault::Hang(At::Connect));
        sim.set_fault(Fault::Hang(At::Command));
        let gone = failed(db, "lab-ws-01", 4).await;
        assert_eq!(gone.last_error_code.as_deref(), Some("deadline_expired"));
        let before = sim.counts().connections;
        let failures = failed(db, "lab-ws-01", gone.failures_in_row + 4).await.failures_in_row - gone.failures_in_row;
        let more = sim.counts().connections - before;
        assert!(more <= 2 * u64::from(failures.unsigned_abs()) + 2, "{more} connections for {failures} probes");
        sim.clear_faults();
        heard(db, "lab-ws-01").await;
        running.stop().await;
    }
}

each_backend! {
    async fn half_the_hosts_hang_and_the_others_are_polled_as_often_as_ever(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start((1..=16).map(awake).collect()).await.on(&test));
        // Four prompt and four slow places, and eight hosts that would hold one each for ten intervals.
        let lab = lab
            .with("OPS_POLL_MAX_IN_FLIGHT", "8")
            .with("OPS_POLL_INTERVAL", "3")
            .with("OPS_POLL_DEADLINE", "30");
        for n in 9..=16 {
            lab.sim(n).set_fault(Fault::Hang(At::Connect));
        }
        let running = Running::start(&lab);
        until_true("each of the others was polled four times", || {
            (1..=8).all(|n| lab.sim(n).counts().commands >= 4)
        })
        .await;
        let commands: Vec<u64> = (1..=8).map(|n| lab.sim(n).counts().commands).collect();
        let (least, most) = (commands.iter().min().unwrap(), commands.iter().max().unwrap());
        // Each once in an interval: whoever had to wait for another's deadline would be ten polls behind.
        assert!(most - least <= 3, "{commands:?}");
        let given_up = "SELECT COUNT(*) FROM ops_host_state WHERE failures_in_row > 0";
        until("one that hangs is given up", || async { (count(db, given_up).await > 0).then_some(()) }).await;
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_that_nobody_needs_and_that_is_off_makes_no_failure_and_no_request(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![asleep(1), awake(2)]).await.on(&test));
        let lab = lab.with("OPS_IDLE_POWER_ACTION", "shutdown").with("OPS_IDLE_POWER_AFTER", "3600");
        let running = Running::start(&lab);
        heard(db, "lab-ws-02").await;
        polls(lab.sim(2), 8).await;
        let off = until("it was looked at", || async {
            state(db, "lab-ws-01").await.filter(|state| state.last_error_code.as_deref() == Some("off"))
        })
        .await;
        assert_eq!(off.failures_in_row, 0, "{off:?}");
        assert_eq!(lab.sim(1).counts().requests, 0);
        // Somebody switches it on by hand.
        lab.sim(1).power_on();
        heard(db, "lab-ws-01").await;
        // And off again: still no failure.
        lab.sim(1).power_off();
        until("it is known to be off", || async {
            state(db, "lab-ws-01").await.filter(|state| state.last_error_code.is_some())
        })
        .await;
        polls(lab.sim(2), 4).await;
        assert_eq!(state(db, "lab-ws-01").await.unwrap().failures_in_row, 0);
        running.stop().await;
    }
}

each_backend! {
    async fn a_refused_password_is_offered_once_more_after_a_crash_and_not_after_the_next(test) {
        let db = test.database();
        migrate(db).await;
        let lab = polling(Lab::start(vec![awake(1), awake(2)]).await.on(&test));
        lab.write_catalog(|entries| entries[0]["winrm_pass"] = "not the one".into());
        let refused = lab.sim(1);
        let first = lab.run(SCHEDULER, &[]);
        let told = failed(db, "lab-ws-01", 1).await;
        assert_eq!(told.last_error_code.as_deref(), Some("unauthorized"));
        let offered = refused.counts().refused_credentials;
        polls(lab.sim(2), 5).await;
        first.kill().await;
        let second = lab.run(SCHEDULER, &[]);
        failed(db, "lab-ws-01", 2).await;
        second.kill().await;
        let third = lab.run(SCHEDULER, &[]);
        polls(lab.sim(2), 5).await;
        assert_eq!(refused.counts().refused_credentials, offered + 1);
        assert_eq!(third.terminate().await.0.code(), Some(0));
    }
}

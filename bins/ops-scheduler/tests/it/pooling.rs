//! Labs that several hosts serve: when the first host cannot be had, the reservation goes on on the next one.

use std::time::Duration;

use chrono::TimeDelta;
use host_sim::Fault;
use lab_model::HostName;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use store_support::test_support::on_mysql;
use store_support::{Database, each_backend};
use worker_registry::Shard;

use crate::SCHEDULER;
use crate::harness::{
    Lab, Process, asleep, commands, count, history, in_secs, migrate, packets, reservations, status, until,
    until_true,
};
use crate::running::{Running, has_state, has_status};

/// Two hosts for lab 1, of which the first never boots.
async fn with_a_dead_first_host(wake_timeout_secs: u32) -> Lab {
    let lab = Lab::start(vec![asleep(1), asleep(2)]).await;
    lab.sim(1).set_fault(Fault::NeverBoots);
    lab.write_catalog(|entries| {
        for entry in entries {
            entry["labs"] = json!([1]);
        }
    });
    lab.with("OPS_HOST_POOLING", "true")
        .with("OPS_WAKE_TIMEOUT", wake_timeout_secs.to_string())
        .with("OPS_RESERVATION_START_LEAD", "120")
}

fn payload_of<'a>(rows: &'a [crate::harness::HistoryRow], action: &str) -> &'a Value {
    let row = rows.iter().find(|row| row.action == action).unwrap();
    row.payload.as_ref().unwrap()
}

each_backend! {
    async fn a_host_that_never_boots_hands_over_and_the_student_finds_the_other_one_ready(test) {
        let db = test.database();
        migrate(db).await;
        // Long enough for a host that does boot.
        let lab = with_a_dead_first_host(12).await.on(&test);
        let start = in_secs(110);
        reservations::book(db, "0xaa", "1", start, in_secs(600)).await;
        let running = Running::start(&lab);
        until_true("the first host is woken", || !packets(lab.sim(1)).is_empty()).await;
        let before = running.explain("0xaa").await;
        assert_eq!(before["host"], "lab-ws-01", "{before}");

        has_status(db, "0xaa", "ACTIVE").await;
        let rows = history(db, "0xaa").await;
        let told: Vec<_> = rows.iter().map(|row| (row.host.as_str(), row.action.as_str(), row.success)).collect();
        let expected = [
            ("lab-ws-01", "wake", false),
            ("lab-ws-01", "scheduler:start", false),
            ("lab-ws-01", "handover", true),
            ("lab-ws-02", "wake", true),
            ("lab-ws-02", "prepare", true),
            ("lab-ws-02", "scheduler:start", true),
        ];
        assert_eq!(told, expected);
        assert!(rows[5].created_at <= start.naive_utc(), "ready before its start: {rows:?}");
        let payload = payload_of(&rows, "handover");
        assert_eq!((&payload["from"], &payload["to"]), (&json!("lab-ws-01"), &json!("lab-ws-02")));
        assert_eq!(payload["reason"]["rung"], "tcp_port");
        assert_eq!(commands(lab.sim(1), "prepare-session"), []);
        assert_eq!(commands(lab.sim(2), "prepare-session").len(), 1);
        let after = running.explain("0xaa").await;
        assert_eq!((&after["host"], &after["next"]["what"]), (&json!("lab-ws-02"), &json!("release")), "{after}");
        assert_eq!(after["operations"][0]["host"], "lab-ws-02");

        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        has_status(db, "0xaa", "COMPLETED").await;
        assert_eq!(commands(lab.sim(2), "release-session").len(), 1);
        assert_eq!(lab.sim(1).counts().commands, 0, "nothing was ever run on the dead one");
        running.stop().await;
    }
}

each_backend! {
    async fn when_no_host_of_the_lab_boots_the_reservation_says_why(test) {
        let db = test.database();
        migrate(db).await;
        let lab = with_a_dead_first_host(5).await.on(&test);
        lab.sim(2).set_fault(Fault::NeverBoots);
        reservations::book(db, "0xaa", "1", in_secs(2), in_secs(600)).await;
        let running = Running::start(&lab);
        until("both were tried", || async {
            let rows = history(db, "0xaa").await;
            let tried = |host: &str| rows.iter().any(|row| row.action == "wake" && row.host == host);
            (tried("lab-ws-01") && tried("lab-ws-02")).then_some(())
        })
        .await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let ended = has_state(db, "0xaa", "start", "needs_attention").await;
        assert_eq!(ended.details()["reason"]["rung"], "tcp_port");
        assert_eq!(status(db, "0xaa").await, "CONFIRMED");
        let told = running.explain("0xaa").await;
        let failure = &told["lastFailure"];
        assert_eq!((&failure["rung"], &failure["gaveUp"]), (&json!("tcp_port"), &json!(true)), "{told}");
        assert!(told["summary"].as_str().unwrap().contains("tcp_port"), "{told}");
        running.stop().await;
    }
}

/// Who holds the shards of the reservations: the holder of each shard's lease, by the shard's number.
async fn holders(db: &Database) -> Vec<(u8, String)> {
    let sql = format!(
        "SELECT name, holder FROM ops_leases WHERE name LIKE 'shard:resv:%' AND holder IS NOT NULL \
         AND lease_until > {}",
        db.backend().now_ms()
    );
    let rows = db
        .connection()
        .query_all_raw(db.statement(&sql, []))
        .await
        .unwrap();
    let read = |row: &sea_orm::QueryResult| {
        let name: String = row.try_get_by_index(0).unwrap();
        let number = name.rsplit(':').next().unwrap().parse().unwrap();
        (number, row.try_get_by_index(1).unwrap())
    };
    rows.iter().map(read).collect()
}

/// Two hosts that different schedulers see to, the lower number first.
async fn pair_of_two_schedulers(db: &Database, hosts: std::ops::RangeInclusive<u8>) -> (u8, u8) {
    let holders = until("two schedulers share the shards", || async {
        let holders = holders(db).await;
        let counts = |(_, one): &(u8, String)| holders.iter().filter(|(_, other)| one == other).count();
        (holders.len() == 64 && holders.iter().all(|one| counts(one) == 32)).then_some(holders)
    })
    .await;
    let holder_of = |n: u8| {
        let shard = Shard::of(&HostName::parse(&format!("lab-ws-{n:02}")).unwrap());
        let found = holders.iter().find(|(number, _)| *number == shard.number());
        found.unwrap().1.clone()
    };
    let first = *hosts.start();
    let other = hosts.into_iter().find(|n| holder_of(*n) != holder_of(first));
    (first, other.expect("twenty hosts have two holders"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_to_a_host_of_another_scheduler_does_not_wait_for_that_ones_next_look() {
    const SCAN: i64 = 20;
    on_mysql(|test| async move {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start((1..=20).map(asleep).collect()).await.on(&test);
        // Lab 100 + n is served by host 1, and else by host n.
        lab.write_catalog(|entries| {
            for (n, entry) in (1_u64..).zip(entries.iter_mut()) {
                entry["labs"] = json!([100 + n]);
            }
            entries[0]["labs"] = json!((101..=120).collect::<Vec<u64>>());
        });
        let lab = lab
            .without("OPS_WORKER_NAME")
            .with("OPS_HOST_POOLING", "true")
            .with("OPS_WAKE_TIMEOUT", "8")
            .with("OPS_RESERVATION_SCAN_INTERVAL", SCAN.to_string());
        lab.sim(1).set_fault(Fault::NeverBoots);
        let schedulers = [lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
        let (first, other) = pair_of_two_schedulers(db, 1..=20).await;
        let theirs = (100 + u32::from(other)).to_string();
        reservations::book(db, "0xaa", &theirs, in_secs(90), in_secs(600)).await;
        has_status(db, "0xaa", "ACTIVE").await;

        // Whoever gave the reservation away went on with it itself. Or else the other one did within the rest of its
        // time between two looks: the first wake ends after 8 s.
        let lines_of = format!("host.name=lab-ws-{other:02}");
        let went_on = schedulers.iter().map(Process::said).any(|said| {
            let goes_on = |line: &str| line.contains(&lines_of) && line.contains("step done");
            said.contains("handed over to another host") && said.lines().any(goes_on)
        });
        let woken = packets(lab.sim(other))[0].at - packets(lab.sim(first))[0].at;
        assert!(
            went_on || woken < TimeDelta::seconds(SCAN - 4),
            "the second host was woken {woken} after the first"
        );
        assert_eq!(commands(lab.sim(other), "prepare-session").len(), 1);
        // The claim keeps the two apart, also after the one that sees to the host has looked.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let wakes = format!(
            "SELECT COUNT(*) FROM ops_attempts a JOIN ops_operations o ON o.id = a.operation_id \
             WHERE a.step = 'wake' AND o.host = 'lab-ws-{other:02}' AND a.outcome = 'done'"
        );
        assert_eq!(count(db, &wakes).await, 1);
        for scheduler in schedulers {
            assert_eq!(scheduler.terminate().await.0.code(), Some(0));
        }
    })
    .await;
}

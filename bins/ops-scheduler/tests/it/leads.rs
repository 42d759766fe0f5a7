//! Hosts that boot slowly are woken earlier than the settings say, as far as the settings let them.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, TimeDelta, Utc};
use host_sim::{HostSpec, PowerState};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};
use store_support::{Database, each_backend};

use crate::harness::{LIMIT, Lab, asleep, count, in_secs, migrate, now, packets, reservations};
use crate::running::{Running, has_status};

const FLOOR: u32 = 2;
const MARGIN: u32 = 2;
const MOST: u32 = 5;
/// A boot of at least this, and the margin, are more than the most.
const SLOWEST: Duration = Duration::from_millis(3000);

fn booting_in(n: u8, takes: Duration) -> HostSpec {
    let mut spec = asleep(n);
    spec.boot.port_open = takes..takes + Duration::from_millis(100);
    spec
}

async fn stored_lead(db: &Database, n: u8) -> i64 {
    let sql = format!("SELECT COALESCE(MAX(lead_ms), 0) FROM ops_host_timings WHERE host = 'lab-ws-{n:02}'");
    count(db, &sql).await
}

/// When a reservation's start was due, as its row has it.
async fn due_at(db: &Database, id: &str) -> DateTime<Utc> {
    let sql = "SELECT due_at FROM ops_operations WHERE kind = 'start' AND reservation_id = ?";
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, [id.into()]))
        .await
        .unwrap();
    let due_at: NaiveDateTime = row.unwrap().try_get_by_index(0).unwrap();
    due_at.and_utc()
}

/// One reservation on each host that is woken for it, and goes off after it.
async fn a_cold_boot_of_each(lab: &Lab, db: &Database, round: u8) {
    let id = |n: u8| format!("0x{n}{round}");
    for n in [1, 2] {
        reservations::book(db, &id(n), &n.to_string(), in_secs(1), in_secs(600)).await;
    }
    for n in [1, 2] {
        has_status(db, &id(n), "ACTIVE").await;
        reservations::shift(db, &id(n), in_secs(-60), in_secs(0)).await;
    }
    for n in [1, 2] {
        has_status(db, &id(n), "COMPLETED").await;
        lab.sim(n).power_off();
        assert!(lab.sim(n).wait_for(PowerState::Off, LIMIT).await);
    }
}

fn is_told_as(told: &Value, lead_ms: i64, start: DateTime<Utc>) {
    let effective = told["lead"]["effectiveSecs"].as_f64().unwrap();
    assert_eq!(
        Duration::from_secs_f64(effective).as_micros(),
        u128::try_from(lead_ms * 1000).unwrap(),
        "{told}"
    );
    let next: DateTime<Utc> = told["next"]["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        (&told["next"]["what"], next),
        (&json!("wake"), start - TimeDelta::milliseconds(lead_ms)),
        "{told}"
    );
}

each_backend! {
    async fn slow_boots_raise_a_hosts_lead_up_to_the_cap_and_the_next_reservation_is_woken_by_it(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![booting_in(1, Duration::from_millis(500)), booting_in(2, SLOWEST)]).await.on(&test)
            .with("OPS_RESERVATION_START_LEAD", FLOOR.to_string())
            .with("OPS_RESERVATION_START_LEAD_MARGIN", MARGIN.to_string())
            .with("OPS_RESERVATION_START_LEAD_MAX", MOST.to_string());
        let running = Running::start(&lab);
        let mut rounds = 0;
        let (slow, slowest) = loop {
            rounds += 1;
            a_cold_boot_of_each(&lab, db, rounds).await;
            let leads = (stored_lead(db, 1).await, stored_lead(db, 2).await);
            // Three say something. What could not be stored at once is not stored later: one more then.
            if rounds >= 3 && leads.0.min(leads.1) > i64::from(FLOOR) * 1000 {
                break leads;
            }
            assert!(rounds < 6, "{leads:?} after {rounds} cold boots");
        };
        assert!((i64::from(MARGIN) * 1000 + 500..).contains(&slow), "{slow} ms");
        assert_eq!(slowest, i64::from(MOST) * 1000, "no more than configured");

        // Far away, so that what is told does not depend on how fast this test runs.
        let start = in_secs(600).trunc_subsecs(0);
        for n in [1, 2] {
            reservations::book(db, &format!("0x{n}z"), &n.to_string(), start, in_secs(1200)).await;
        }
        let told = running.explain("0x2z").await;
        assert_eq!((&told["lead"]["capped"], &told["lead"]["floorSecs"]), (&json!(true), &json!(2.0)), "{told}");
        assert!(told["lead"]["coldWakes"].as_u64() >= Some(3), "{told}");
        is_told_as(&told, slowest, start);
        if rounds == 3 {
            is_told_as(&running.explain("0x1z").await, slow, start);
        }

        let moved = now();
        let start = in_secs(i64::from(MOST) + 3).trunc_subsecs(0);
        for n in [1, 2] {
            reservations::shift(db, &format!("0x{n}z"), start, in_secs(1200)).await;
        }
        for (n, lead) in [(1, slow), (2, slowest)] {
            let id = format!("0x{n}z");
            has_status(db, &id, "ACTIVE").await;
            let due = due_at(db, &id).await;
            assert_eq!(due, start - TimeDelta::milliseconds(lead), "due by the lead of {lead} ms");
            let packets = packets(lab.sim(n));
            let woken = packets.iter().find(|packet| packet.at > moved).unwrap();
            assert!(woken.at >= due, "woken at {}, due at {due}", woken.at);
        }
        assert_eq!(lab.sim(2).power(), PowerState::Ready);
        running.stop().await;
    }
}

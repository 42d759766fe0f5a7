//! Hosts that boot slowly are woken earlier than the settings say, as far as the settings let them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use host_sim::{HostSpec, PowerState};
use serde_json::json;
use store_support::{Database, each_backend};

use crate::harness::{LIMIT, Lab, asleep, count, in_secs, migrate, packets, reservations};
use crate::running::{Running, has_status};

const FLOOR: u32 = 2;
const MARGIN: u32 = 4;
const MOST: u32 = 7;
/// A start is stored cut to a whole second, and a busy machine is late.
const LATE: TimeDelta = TimeDelta::milliseconds(1500);

fn booting_in(n: u8, millis: u64) -> HostSpec {
    let mut spec = asleep(n);
    let takes = Duration::from_millis(millis);
    spec.boot.port_open = takes..takes + Duration::from_millis(100);
    spec
}

async fn stored_lead(db: &Database, n: u8) -> i64 {
    let sql = format!("SELECT lead_ms FROM ops_host_timings WHERE host = 'lab-ws-{n:02}'");
    count(db, &sql).await
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

/// When a host got its last first packet, before an instant.
fn woken_before(lab: &Lab, n: u8, start: DateTime<Utc>) -> TimeDelta {
    let packets = packets(lab.sim(n));
    let since = start - TimeDelta::seconds(i64::from(MOST) + 3);
    let woken = packets.iter().find(|packet| packet.at > since).unwrap();
    start - woken.at
}

each_backend! {
    async fn slow_boots_raise_a_hosts_lead_up_to_the_cap_and_the_next_reservation_is_woken_by_it(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![booting_in(1, 800), booting_in(2, 4000)]).await.on(&test)
            .with("OPS_RESERVATION_START_LEAD", FLOOR.to_string())
            .with("OPS_RESERVATION_START_LEAD_MARGIN", MARGIN.to_string())
            .with("OPS_RESERVATION_START_LEAD_MAX", MOST.to_string());
        let running = Running::start(&lab);
        for round in 1..=3 {
            a_cold_boot_of_each(&lab, db, round).await;
        }
        let (slow, slowest) = (stored_lead(db, 1).await, stored_lead(db, 2).await);
        assert!((i64::from(MARGIN) * 1000 + 800..).contains(&slow), "{slow} ms");
        assert_eq!(slowest, i64::from(MOST) * 1000, "no more than configured");

        let start = in_secs(i64::from(MOST) + 4);
        for n in [1, 2] {
            reservations::book(db, &format!("0x{n}z"), &n.to_string(), start, in_secs(600)).await;
        }
        let told = running.explain("0x2z").await;
        assert_eq!((&told["lead"]["capped"], &told["lead"]["floorSecs"]), (&json!(true), &json!(2.0)), "{told}");
        assert_eq!((&told["lead"]["effectiveSecs"], &told["lead"]["coldWakes"]), (&json!(7.0), &json!(3)), "{told}");
        let told = running.explain("0x1z").await;
        let effective = told["lead"]["effectiveSecs"].as_f64().unwrap();
        assert_eq!(u64::try_from(slow).unwrap(), Duration::from_secs_f64(effective).as_millis() as u64, "{told}");

        for (n, lead) in [(1, slow), (2, slowest)] {
            has_status(db, &format!("0x{n}z"), "ACTIVE").await;
            let before = woken_before(&lab, n, start);
            let lead = TimeDelta::milliseconds(lead);
            assert!(before <= lead + LATE && before >= lead - LATE, "woken {before} before, with a lead of {lead}");
        }
        assert_eq!(lab.sim(2).power(), PowerState::Ready);
        running.stop().await;
    }
}

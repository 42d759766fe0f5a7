//! Sites that cannot have a whole class switched on at once.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{Lab, asleep, in_secs, migrate, now, packets, reservations, until};
use crate::running::{Running, has_status};

/// One host every three seconds.
const PER_MINUTE: u32 = 20;
const HOSTS: u8 = 6;

each_backend! {
    async fn a_class_is_woken_at_the_configured_rate_whoever_starts_first_before_the_others(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start((1..=HOSTS).map(asleep).collect()).await.on(&test);
        let lab = lab.with("OPS_WAKE_RATE_PER_MINUTE", PER_MINUTE.to_string());
        // All are due at once; the higher its number, the sooner a host is needed.
        for n in 1..=HOSTS {
            let start = in_secs(100 - 5 * i64::from(n));
            reservations::book(db, &format!("0x{n}"), &n.to_string(), start, in_secs(600)).await;
        }
        let begin = now();
        let running = Running::start(&lab);
        // Whoever comes first finds nobody else in the queue, and that may be any of them. A slow machine may wake the
        // second before all others have come.
        let waiting = until("the others wait for their turn", || async {
            let mut waiting = BTreeMap::new();
            for n in 1..=HOSTS {
                let told = running.explain(&format!("0x{n}")).await;
                if told["wait"]["code"] == "paced" {
                    waiting.insert(n, told);
                }
            }
            let woken = (1..=HOSTS).filter(|n| !packets(lab.sim(*n)).is_empty()).count();
            (waiting.len() + 1 == usize::from(HOSTS) || woken > 1).then_some(waiting)
        })
        .await;
        let seen = now();
        for told in waiting.values() {
            let detail = "the wake waits its turn, 20 hosts are woken in a minute";
            assert_eq!(told["wait"]["detail"], detail, "{told}");
            assert!(told["summary"].as_str().unwrap().contains("paced"), "{told}");
        }
        for n in 1..=HOSTS {
            has_status(db, &format!("0x{n}"), "ACTIVE").await;
        }
        let mut woken: Vec<_> = (1..=HOSTS).map(|n| (packets(lab.sim(n))[0].at, n)).collect();
        woken.sort_unstable();
        // Among those that were seen to wait together the deadline counts.
        let queued = woken.iter().filter(|(at, n)| *at > seen && waiting.contains_key(n));
        let queued: Vec<_> = queued.map(|(_, n)| *n).collect();
        assert!(queued.is_sorted_by(|one, next| one > next), "{woken:?}, of which {queued:?} waited");
        let pause = TimeDelta::minutes(1) / i32::try_from(PER_MINUTE).unwrap();
        // Never before its turn; how long after it is the machine's affair.
        for (before, (at, _)) in (0..).zip(&woken) {
            assert!(*at >= begin + pause * before, "number {before} after {begin}: {woken:?}");
        }
        running.stop().await;
    }
}

each_backend! {
    async fn a_wake_that_has_to_wait_its_turn_is_in_the_log_with_its_host(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start((1..=2).map(asleep).collect()).await.on(&test);
        // The second one has ten seconds to come after the first.
        let lab = lab.with("OPS_WAKE_RATE_PER_MINUTE", "6");
        for n in 1..=2 {
            reservations::book(db, &format!("0x{n}"), &n.to_string(), in_secs(60), in_secs(600)).await;
        }
        let mut scheduler = lab.run(SCHEDULER, &[]);
        scheduler.says("the wake waits its turn, 6 hosts are woken in a minute").await;
        let said = scheduler.said();
        let line = said.lines().find(|line| line.contains("waits its turn")).unwrap();
        assert!(line.contains("host.name=lab-ws-0") && line.contains("paced"), "{line}");
        for n in 1..=2 {
            has_status(db, &format!("0x{n}"), "ACTIVE").await;
        }
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}

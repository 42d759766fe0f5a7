//! Two copies of the scheduler on one database.

use std::time::Duration;

use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{Lab, asleep, commands, history, in_secs, migrate, reservations};
use crate::running::has_status;

each_backend! {
    async fn two_schedulers_share_six_reservations_and_prepare_each_host_once(test) {
        let db = test.database();
        migrate(db).await;
        let hosts = (1..=6).map(|n| {
            let mut spec = asleep(n);
            spec.station.durations.prepare = Duration::from_secs(1);
            spec
        });
        let lab = Lab::start(hosts.collect()).await.on(&test).without("OPS_WORKER_NAME");
        for n in 1..=6 {
            reservations::book(db, &format!("0x{n}"), &n.to_string(), in_secs(60), in_secs(600)).await;
        }
        let schedulers = [lab.run(SCHEDULER, &[]), lab.run(SCHEDULER, &[])];
        for n in 1..=6 {
            has_status(db, &format!("0x{n}"), "ACTIVE").await;
        }
        for n in 1..=6 {
            reservations::shift(db, &format!("0x{n}"), in_secs(-60), in_secs(0)).await;
        }
        for n in 1..=6 {
            has_status(db, &format!("0x{n}"), "COMPLETED").await;
        }
        for scheduler in schedulers {
            let (ended, said) = scheduler.terminate().await;
            assert_eq!(ended.code(), Some(0), "{said}");
        }
        for n in 1..=6 {
            let host = lab.sim(n);
            let steps = (commands(host, "prepare-session").len(), commands(host, "release-session").len());
            assert_eq!(steps, (1, 1), "host {n}: {:?}", host.effects());
            let actions: Vec<_> = history(db, &format!("0x{n}")).await.into_iter().map(|row| row.action).collect();
            assert_eq!(actions, ["wake", "prepare", "scheduler:start", "release", "scheduler:end"], "host {n}");
        }
    }
}

//! Schedulers that are stopped or killed in the middle of something.

use std::time::Duration;

use host_sim::EffectKind;
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{
    Lab, asleep, awake, commands, count, history, in_secs, migrate, packets, reservations, until_true,
};
use crate::running::has_status;

each_backend! {
    async fn a_scheduler_asked_to_stop_finishes_its_step_and_another_goes_on(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.durations.prepare = Duration::from_secs(3);
        let lab = Lab::start(vec![spec]).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let first = lab.run(SCHEDULER, &[]);
        let host = lab.sim(1);
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        let (ended, said) = first.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        let codes: Vec<_> = exit_codes(host, "prepare-session");
        assert_eq!(codes, [Some(0)], "the step was finished, not cut off");
        let rows = history(db, "0xaa").await;
        assert_eq!(rows.iter().filter(|row| row.action == "prepare" && row.success).count(), 1);

        let second = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(commands(host, "prepare-session").len(), 1, "not a second time");
        assert_eq!(second.terminate().await.0.code(), Some(0));
    }
}

each_backend! {
    async fn what_a_killed_scheduler_was_waking_is_resumed_by_another_after_the_lease(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = asleep(1);
        // Still booting when it is killed, and up by the end of the lease.
        spec.boot.port_open = Duration::from_secs(11)..Duration::from_secs(12);
        let lab = Lab::start(vec![spec]).await.on(&test).without("OPS_WORKER_NAME");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let first = lab.run(SCHEDULER, &[]);
        let host = lab.sim(1);
        until_true("a packet was sent", || !packets(host).is_empty()).await;
        first.kill().await;

        let second = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(commands(host, "prepare-session").len(), 1);
        assert_eq!(host.boots(), 1);
        let without_outcome = "SELECT COUNT(*) FROM ops_attempts WHERE step = 'wake' AND outcome IS NULL";
        assert_eq!(count(db, without_outcome).await, 1, "the try that was cut off is on record");
        let resumed = "SELECT COUNT(*) FROM ops_attempts WHERE step = 'wake' AND outcome = 'done' AND token >= 2";
        assert_eq!(count(db, resumed).await, 1, "another holder did it");
        assert_eq!(second.terminate().await.0.code(), Some(0));
    }
}

each_backend! {
    async fn a_prepare_whose_scheduler_was_killed_is_found_done_and_not_repeated(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.student_follows_prepare = true;
        spec.station.durations.prepare = Duration::from_secs(2);
        let lab = Lab::start(vec![spec]).await.on(&test).without("OPS_WORKER_NAME");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let first = lab.run(SCHEDULER, &[]);
        let host = lab.sim(1);
        until_true("the host is being prepared", || commands(host, "prepare-session").len() == 1).await;
        first.kill().await;

        let second = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        assert_eq!(commands(host, "prepare-session").len(), 1, "the student who has begun is left alone");
        assert_eq!(host.users(), ["LABUSER"]);
        assert_eq!(second.terminate().await.0.code(), Some(0));
    }
}

each_backend! {
    async fn a_release_whose_scheduler_was_killed_does_not_reboot_the_host_twice(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        spec.station.student_follows_prepare = true;
        spec.station.durations.release = Duration::from_secs(2);
        let lab = Lab::start(vec![spec]).await.on(&test).without("OPS_WORKER_NAME");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let first = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let host = lab.sim(1);
        until_true("the host is being released", || commands(host, "release-session").len() == 1).await;
        first.kill().await;

        let second = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "COMPLETED").await;
        let reboots = host.effects().iter().filter(|e| matches!(e.what, EffectKind::Rebooted { .. })).count();
        assert!(reboots <= 1, "{:?}", host.effects());
        assert_eq!(second.terminate().await.0.code(), Some(0));
    }
}

fn exit_codes(host: &host_sim::SimHost, word: &str) -> Vec<Option<i32>> {
    let effects = host.effects().into_iter();
    effects
        .filter_map(|effect| match effect.what {
            EffectKind::Command { argv, exit_code, .. } if argv.get(1).is_some_and(|first| first == word) => {
                Some(exit_code)
            }
            _ => None,
        })
        .collect()
}

//! Hosts that report by themselves, and what happens when they no longer do.

use chrono::{DateTime, TimeDelta, Utc};
use host_sim::{Effect, EffectKind, Program, SimHost, Step};
use reservation_store::{NewMaintenance, ReservationStore};
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{Lab, asleep, awake, count, migrate, now, until};

each_backend! {
    async fn a_watched_host_is_not_polled_and_its_changes_are_stored_until_the_watch_breaks(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1), awake(2)]).await.on(&test);
        lab.write_catalog(|entries| entries[0]["watch"] = true.into());
        // Whatever is stored within less than a minute came by the watch.
        let lab = lab
            .with("OPS_RESERVATION_AUTOMATION", "no")
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "600");
        let mut scheduler = lab.run(SCHEDULER, &[]);
        scheduler.says("watched host.name=lab-ws-01").await;
        let host = lab.sim(1);
        let changed = "SELECT COUNT(*) FROM ops_host_state WHERE host_name = 'lab-ws-01' AND local_mode = 1";
        assert_eq!(count(db, changed).await, 0);
        let commands = host.counts().commands;
        host.local_mode(true);
        host.write_heartbeat();
        until("the change is stored", || async { (count(db, changed).await == 1).then_some(()) }).await;
        assert_eq!(host.counts().commands, commands, "nobody polled for it");
        host.log_on("somebody");
        host.send_off("somebody");
        host.write_heartbeat();
        let events = "SELECT COUNT(*) FROM lab_host_events";
        until("the event is stored", || async { (count(db, events).await == 1).then_some(()) }).await;

        host.power_off();
        scheduler.says("no longer watched: it is polled host.name=lab-ws-01").await;
        let failed = "SELECT COUNT(*) FROM ops_host_state WHERE host_name = 'lab-ws-01' AND failures_in_row > 0";
        until("its silence is found by a poll", || async { (count(db, failed).await == 1).then_some(()) }).await;
        assert_eq!(count(db, events).await, 1);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}

/// When programs with this word in their name were started.
fn started_at(host: &SimHost, word: &str) -> Vec<DateTime<Utc>> {
    let started = |effect: &Effect| matches!(&effect.what, EffectKind::Command { program, .. } if program.contains(word));
    host.effects()
        .into_iter()
        .filter(started)
        .map(|effect| effect.at)
        .collect()
}

each_backend! {
    async fn a_host_that_cannot_be_watched_is_asked_ever_more_seldom_and_polled_meanwhile(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = awake(1);
        let blocked = vec![Step::Err(b"This program is blocked by group policy.".to_vec()), Step::Exit(1)];
        spec.station.programs = vec![Program::new("powershell.exe", blocked)];
        let lab = Lab::start(vec![spec]).await.on(&test);
        lab.write_catalog(|entries| entries[0]["watch"] = true.into());
        let lab = lab
            .with("OPS_RESERVATION_AUTOMATION", "no")
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1");
        let scheduler = lab.run(SCHEDULER, &[]);
        let host = lab.sim(1);
        let tries = || started_at(host, "powershell");
        until("it was tried four times", || async { (tries().len() >= 4).then_some(()) }).await;
        // After 1, 2, 4 intervals and so on, each a quarter more or less; how much later is the machine's affair.
        let tries = tries();
        for (before, pair) in (0..).zip(tries.windows(2)) {
            let least = TimeDelta::milliseconds(750 << before);
            assert!(pair[1] - pair[0] >= least, "try {} came too soon: {tries:?}", before + 2);
        }
        let meanwhile = started_at(host, "type").into_iter().filter(|at| (tries[0]..tries[3]).contains(at)).count();
        assert!(meanwhile >= 3, "polled {meanwhile} times between them");
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }

    async fn a_host_that_is_off_and_may_be_is_not_watched(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![asleep(1), awake(2)]).await.on(&test);
        lab.write_catalog(|entries| entries[0]["watch"] = true.into());
        // Nobody needs it.
        let said = NewMaintenance { reason: "new disk".to_owned(), owner: "ana".to_owned(), until: None };
        let name = lab_model::HostName::parse("lab-ws-01").unwrap();
        ReservationStore::new(db.clone()).put_maintenance(&name, &said, now()).await.unwrap();
        let lab = lab
            .with("OPS_RESERVATION_AUTOMATION", "no")
            .with("OPS_POLL_ENABLED", "true")
            .with("OPS_POLL_INTERVAL", "1");
        let mut scheduler = lab.run(SCHEDULER, &[]);
        let off = "SELECT COUNT(*) FROM ops_host_state WHERE host_name = 'lab-ws-01' AND last_error_code = 'off'";
        until("it is seen to be off", || async { (count(db, off).await == 1).then_some(()) }).await;
        lab.sim(1).power_on();
        scheduler.says("watched host.name=lab-ws-01").await;
        let (_, log) = scheduler.terminate().await;
        assert!(!log.contains("no longer watched"), "{log}");
    }
}

//! The main job: from a row in the shared table to a host that is ready, and back.

use std::time::Duration;

use host_sim::{EffectKind, PowerState};
use store_support::each_backend;

use crate::SCHEDULER;
use crate::harness::{
    HistoryRow, LIMIT, Lab, asleep, awake, commands, count, execute, history, in_secs, journal, migrate,
    packets, reservations, status, until, until_true,
};
use crate::running::{Running, has_status};

fn words(rows: &[HistoryRow]) -> Vec<(&str, &str, bool)> {
    rows.iter()
        .map(|row| (row.action.as_str(), row.status.as_str(), row.success))
        .collect()
}

each_backend! {
    async fn a_reservation_is_woken_prepared_active_before_its_start_and_released_after_its_end(test) {
        let db = test.database();
        migrate(db).await;
        let mut spec = asleep(1);
        spec.station.student_follows_prepare = true;
        let lab = Lab::start(vec![spec]).await.on(&test);
        // Its lead has begun, and whoever is slow has time.
        let start = in_secs(110);
        reservations::book(db, "0xaa", "1", start, in_secs(600)).await;
        let scheduler = lab.run(SCHEDULER, &[]);

        has_status(db, "0xaa", "ACTIVE").await;
        let host = lab.sim(1);
        assert_eq!(host.power(), PowerState::Ready);
        assert!(!packets(host).is_empty());
        let prepared = commands(host, "prepare-session");
        assert_eq!(prepared.len(), 1);
        assert_eq!(prepared[0].1, ["--guard-grace=0"]);

        let end = in_secs(3);
        reservations::shift(db, "0xaa", in_secs(-60), end).await;
        has_status(db, "0xaa", "COMPLETED").await;
        let released = commands(host, "release-session");
        assert_eq!(released.len(), 1, "once");
        assert_eq!(released[0].1, ["--reboot"]);
        assert!(released[0].0 >= end - chrono::TimeDelta::seconds(1), "not before its end");
        until_true("the host boots anew", || host.boots() == 2).await;
        assert_eq!(commands(host, "prepare-session").len(), 1, "once");

        rows_are_those_of_the_contract(&history(db, "0xaa").await, start);
        let states: Vec<_> = journal(db, "0xaa").await.into_iter().map(|o| (o.kind, o.state)).collect();
        let done = |kind: &str| (kind.to_owned(), "done".to_owned());
        assert_eq!(states, [done("start"), done("end")]);
        let (ended, said) = scheduler.terminate().await;
        assert_eq!(ended.code(), Some(0), "{said}");
        assert_eq!(host.counts().open_shells, 0, "it gives its shells back");
    }
}

fn rows_are_those_of_the_contract(rows: &[HistoryRow], start: chrono::DateTime<chrono::Utc>) {
    let expected = ["wake", "prepare", "scheduler:start", "release", "scheduler:end"];
    assert_eq!(words(rows), expected.map(|action| (action, "completed", true)));
    let [wake, prepare, started, release, ended] = rows else {
        panic!("{rows:?}")
    };
    assert!(
        rows.iter()
            .all(|row| row.host == "lab-ws-01" && row.lab_id.as_deref() == Some("1"))
    );
    assert!(started.created_at <= start.naive_utc(), "ready before its start");

    assert_eq!(
        (wake.response_code, wake.message.as_deref()),
        (Some(200), Some("Host reachable"))
    );
    let details = wake.payload.as_ref().unwrap();
    for key in [
        "mac",
        "pingTarget",
        "attemptsRequested",
        "attemptsUsed",
        "waitSeconds",
        "port",
        "broadcast",
    ] {
        assert!(!details[key].is_null(), "{key}: {details}");
    }
    for (row, arguments) in [(prepare, "--guard-grace=0"), (release, "--reboot")] {
        assert_eq!(
            (row.response_code, row.message.as_deref()),
            (Some(0), Some("Exit code 0")),
            "{row:?}"
        );
        let details = row.payload.as_ref().unwrap();
        assert_eq!(
            (&details["exitCode"], &details["args"][0]),
            (&0.into(), &arguments.into())
        );
    }
    assert!(
        [wake, prepare, release]
            .iter()
            .all(|row| row.duration_ms.is_some())
    );
    for (row, steps) in [(started, vec!["wake", "prepare"]), (ended, vec!["release"])] {
        assert_eq!(
            (row.response_code, row.duration_ms, row.message.as_ref()),
            (Some(200), None, None)
        );
        let payload = row.payload.as_ref().unwrap();
        assert_eq!(payload["status_code"], 200);
        assert_eq!(payload["response"]["reservationId"], "0xaa");
        assert_eq!(payload["response"]["success"], true);
        let told: Vec<_> = payload["response"]["steps"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| &s["action"])
            .collect();
        assert_eq!(told, steps);
    }
}

each_backend! {
    async fn six_hosts_due_at_one_instant_are_started_in_parallel(test) {
        let db = test.database();
        migrate(db).await;
        let hosts = (1..=6).map(|n| {
            let mut spec = asleep(n);
            spec.boot.port_open = Duration::from_secs(2)..Duration::from_secs(3);
            spec.station.durations.prepare = Duration::from_secs(8);
            spec
        });
        let lab = Lab::start(hosts.collect()).await.on(&test).with("OPS_RESERVATION_START_LEAD", "20");
        let start = in_secs(24);
        for n in 1..=6 {
            reservations::book(db, &format!("0x{n}"), &n.to_string(), start, in_secs(600)).await;
        }
        let running = Running::start(&lab);
        let site = running.site().await;
        until_true("all six hosts are worked on at once", || site.engine.running() == 6).await;
        for n in 1..=6 {
            has_status(db, &format!("0x{n}"), "ACTIVE").await;
        }
        let due = start - chrono::TimeDelta::seconds(20);
        let woken: Vec<_> = (1..=6).map(|n| packets(lab.sim(n))[0].at).collect();
        let prepared: Vec<_> = (1..=6).map(|n| commands(lab.sim(n), "prepare-session")[0].0).collect();
        // The stored instant is the start cut to a whole second.
        assert!(woken.iter().all(|at| *at >= due - chrono::TimeDelta::seconds(1)), "none before it is due");
        let first_done = *prepared.iter().min().unwrap() + chrono::TimeDelta::seconds(8);
        assert!(woken.iter().all(|at| *at < first_done), "all packets leave before the first host is done: {woken:?}");
        assert!(prepared.iter().all(|at| *at < first_done), "all six are prepared at the same time: {prepared:?}");
        running.stop().await;
    }
}

each_backend! {
    async fn what_already_ended_is_never_started_and_says_so(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1), awake(2)]).await.on(&test);
        reservations::book(db, "0xold", "1", in_secs(-7200), in_secs(-3600)).await;
        reservations::book(db, "0xnew", "2", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xnew", "ACTIVE").await;
        let missed = crate::running::has_state(db, "0xold", "start", "needs_attention").await;
        assert_eq!(missed.details()["reason"]["code"], "missed");
        assert_eq!(status(db, "0xold").await, "CONFIRMED");
        let host = lab.sim(1);
        assert_eq!(host.counts().requests, 0, "nobody spoke to the host");
        assert_eq!(host.counts().packets_valid, 0);
        running.stop().await;
    }
}

each_backend! {
    async fn with_the_automation_off_reservations_are_left_alone_while_polling_goes_on(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let lab = lab
            .with("OPS_RESERVATION_AUTOMATION", "off")
            .with("OPS_POLL_ENABLED", "True")
            .with("OPS_HEARTBEAT_STORE", "every")
            .with("OPS_POLL_INTERVAL", "1");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let mut scheduler = lab.run(SCHEDULER, &[]);
        scheduler.says("the running of reservations is off").await;
        until("the host was polled four times", || async {
            (count(db, "SELECT COUNT(*) FROM lab_host_heartbeat").await >= 4).then_some(())
        })
        .await;
        assert_eq!(status(db, "0xaa").await, "CONFIRMED");
        assert_eq!(count(db, "SELECT COUNT(*) FROM ops_operations").await, 0);
        assert_eq!(count(db, "SELECT COUNT(*) FROM reservation_operations").await, 0);
        assert_eq!(commands(lab.sim(1), "prepare-session"), []);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    }
}

each_backend! {
    async fn pending_and_completed_reservations_are_not_touched(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1), awake(2)]).await.on(&test);
        for (id, status) in [("0xp", "PENDING"), ("0xc", "COMPLETED"), ("0xx", "CANCELLED")] {
            reservations::book(db, id, "1", in_secs(30), in_secs(600)).await;
            let sql = "UPDATE lab_reservations SET status = ? WHERE transaction_hash = ?";
            execute(db, sql, [status.into(), id.into()]).await;
        }
        reservations::book(db, "0xlast", "2", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xlast", "ACTIVE").await;
        for (id, expected) in [("0xp", "PENDING"), ("0xc", "COMPLETED"), ("0xx", "CANCELLED")] {
            assert_eq!(status(db, id).await, expected);
            assert_eq!(journal(db, id).await, []);
        }
        assert_eq!(lab.sim(1).counts().requests, 0);
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_whose_station_warns_is_handed_over_all_the_same(test) {
        let db = test.database();
        migrate(db).await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let host = lab.sim(1);
        let warns = host_sim::Fault::ExitCode { command: "prepare-session".into(), code: 1 };
        host.set_fault_times(warns, 1);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        let rows = history(db, "0xaa").await;
        assert_eq!(words(&rows)[1], ("prepare", "completed", true));
        assert_eq!(rows[1].response_code, Some(1));
        assert!(host.wait_for(PowerState::Ready, LIMIT).await);
        assert!(!host.effects().iter().any(|effect| matches!(effect.what, EffectKind::PoweredOff { .. })));
        running.stop().await;
    }
}

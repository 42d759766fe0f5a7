//! Hosts that nobody needs: taken down once, and only when nobody works there and nobody comes soon.

use std::time::Duration;

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use host_sim::{At, Cause, EffectKind, Fault, PowerState, SimHost};
use serde_json::json;
use store_support::{Database, each_backend};

use crate::SCHEDULER;
use crate::harness::{
    LIMIT, Lab, awake, commands, count, execute, history, in_secs, migrate, now, packets, reservations,
    status, until, until_true,
};
use crate::running::{Running, has_state, has_status};

/// One host that is up, and is taken down so many seconds after its last reservation.
async fn one_host(after_secs: u32) -> Lab {
    one_host_whose_power_takes(after_secs, Duration::from_millis(20)).await
}

async fn one_host_whose_power_takes(after_secs: u32, takes: Duration) -> Lab {
    let mut spec = awake(1);
    spec.station.durations.power = takes;
    let lab = Lab::start(vec![spec]).await;
    lab.with("OPS_IDLE_POWER_ACTION", "shutdown")
        .with("OPS_IDLE_POWER_AFTER", after_secs.to_string())
}

/// Seconds enough for a test to do something meanwhile, and few enough for a release without a reboot.
const A_WHILE: u32 = 110;

/// The while after the last reservation has passed: its row says so. Gives when it was over.
async fn the_while_has_passed(db: &Database, id: &str) -> DateTime<Utc> {
    let over = now().trunc_subsecs(3);
    until("the while has begun", || async {
        let sql =
            "UPDATE ops_operations SET due_at = ? WHERE kind = 'end' AND reservation_id = ? AND due_at > ?";
        let values = [over.naive_utc().into(), id.into(), over.naive_utc().into()];
        (execute(db, sql, values).await == 1).then_some(())
    })
    .await;
    over
}

fn is_off_by_command(host: &SimHost) -> bool {
    let down = EffectKind::PoweredOff {
        cause: Cause::Command,
        hibernated: false,
    };
    host.effects().iter().any(|effect| effect.what == down)
}

/// The scheduler has looked a few times more.
async fn a_few_looks() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

each_backend! {
    async fn a_host_is_shut_down_once_after_its_last_reservation_and_verified_off(test) {
        let db = test.database();
        migrate(db).await;
        let lab = one_host(A_WHILE).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let told = until("the host is idle", || async {
            let told = running.explain("0xaa").await;
            (told["wait"]["code"] == "host_idle").then_some(told)
        })
        .await;
        assert_eq!((&told["status"], &told["next"]["what"]), (&json!("COMPLETED"), &json!("power")), "{told}");
        let host = lab.sim(1);
        let due: DateTime<Utc> = told["next"]["at"].as_str().unwrap().parse().unwrap();
        let released = commands(host, "release-session");
        assert!(due >= released[0].0 + TimeDelta::seconds(A_WHILE.into()), "due {due}: {released:?}");
        a_few_looks().await;
        assert_eq!((commands(host, "power"), host.power()), (vec![], PowerState::Ready), "not before its time");
        let over = the_while_has_passed(db, "0xaa").await;
        has_state(db, "0xaa", "end", "done").await;
        assert!(is_off_by_command(host), "{:?}", host.effects());
        let (ordered, given): (Vec<_>, Vec<_>) = commands(host, "power").into_iter().unzip();
        assert!(ordered[0] >= over, "not before its time: {ordered:?}, due {over}");
        assert_eq!(given, [["shutdown", "--no-force"]], "once, and softly");
        assert_eq!(released[0].1, [""; 0], "no reboot of what is taken down");
        let rows = history(db, "0xaa").await;
        let power: Vec<_> = rows.iter().filter(|row| row.action == "power:shutdown").collect();
        assert!(!power.is_empty() && power.iter().all(|row| row.success), "{rows:?}");
        a_few_looks().await;
        assert_eq!((commands(host, "power").len(), host.power()), (1, PowerState::Off));
        assert_eq!(packets(host), [], "nobody wakes it again");
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_stays_on_for_whoever_comes_soon_and_goes_down_when_he_does_not(test) {
        let db = test.database();
        migrate(db).await;
        let lab = one_host(1).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        reservations::book(db, "0xbb", "1", in_secs(900), in_secs(1800)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let told = until("the host is kept", || async {
            let told = running.explain("0xaa").await;
            (told["wait"]["code"] == "host_wanted").then_some(told)
        })
        .await;
        assert!(told["wait"]["detail"].as_str().unwrap().contains("0xbb"), "{told}");
        a_few_looks().await;
        let host = lab.sim(1);
        assert_eq!((commands(host, "power"), host.power()), (vec![], PowerState::Ready));

        reservations::cancel(db, "0xbb").await;
        has_state(db, "0xaa", "end", "done").await;
        assert!(is_off_by_command(host), "{:?}", host.effects());
        assert_eq!(commands(host, "power").len(), 1);
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_that_hibernates_is_woken_for_the_next_reservation_and_goes_down_again_after_it(test) {
        let db = test.database();
        migrate(db).await;
        let lab = one_host(0).await.on(&test).with("OPS_IDLE_POWER_ACTION", "hibernate");
        let running = Running::start(&lab);
        let host = lab.sim(1);
        for (round, id) in [(1, "0xaa"), (2, "0xbb")] {
            reservations::book(db, id, "1", in_secs(60), in_secs(600)).await;
            has_status(db, id, "ACTIVE").await;
            reservations::shift(db, id, in_secs(-60), in_secs(0)).await;
            has_state(db, id, "end", "done").await;
            assert_eq!((host.power(), host.is_hibernated()), (PowerState::Off, true), "{id}");
            let given: Vec<_> = commands(host, "power").into_iter().map(|(_, args)| args).collect();
            assert_eq!(given, vec![["hibernate", "--no-force"]; round], "{id}");
        }
        assert_eq!(host.boots(), 1, "it resumed for the second one");
        assert!(!packets(host).is_empty());
        running.stop().await;
    }
}

each_backend! {
    async fn a_host_at_which_somebody_works_is_left_on_and_the_journal_says_so(test) {
        let db = test.database();
        migrate(db).await;
        let lab = one_host(A_WHILE).await.on(&test);
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let running = Running::start(&lab);
        has_status(db, "0xaa", "ACTIVE").await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let host = lab.sim(1);
        is_completed(db).await;
        host.log_on("TEACHER");
        the_while_has_passed(db, "0xaa").await;
        let ended = has_state(db, "0xaa", "end", "done").await;
        assert_eq!(ended.details()["note"]["code"], "local_session", "{ended:?}");
        a_few_looks().await;
        assert_eq!((commands(host, "power"), host.power()), (vec![], PowerState::Ready));
        assert_eq!(host.users(), ["TEACHER"]);
        running.stop().await;
    }
}

each_backend! {
    async fn a_shutdown_whose_scheduler_was_killed_is_seen_to_have_happened_and_not_ordered_again(test) {
        let db = test.database();
        migrate(db).await;
        let lab = one_host_whose_power_takes(1, Duration::from_secs(1)).await.on(&test).without("OPS_WORKER_NAME");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let first = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        let host = lab.sim(1);
        until_true("the host is ordered down", || !commands(host, "power").is_empty()).await;
        first.kill().await;

        let second = lab.run(SCHEDULER, &[]);
        has_state(db, "0xaa", "end", "done").await;
        assert!(host.wait_for(PowerState::Off, LIMIT).await);
        assert_eq!(commands(host, "power").len(), 1, "{:?}", host.effects());
        assert_eq!((packets(host), host.boots()), (vec![], 1), "nobody woke it to look");
        assert_eq!(second.terminate().await.0.code(), Some(0));
    }
}

each_backend! {
    async fn a_scheduler_killed_between_the_intent_and_the_order_leaves_a_host_that_is_looked_at_first(test) {
        let db = test.database();
        migrate(db).await;
        let lab = one_host(A_WHILE).await.on(&test).without("OPS_WORKER_NAME");
        reservations::book(db, "0xaa", "1", in_secs(60), in_secs(600)).await;
        let first = lab.run(SCHEDULER, &[]);
        has_status(db, "0xaa", "ACTIVE").await;
        reservations::shift(db, "0xaa", in_secs(-60), in_secs(0)).await;
        is_completed(db).await;
        let host = lab.sim(1);
        // The look before the order gets no answer: the order waits behind it.
        for at in [At::Create, At::Command] {
            host.set_fault(Fault::Hang(at));
        }
        the_while_has_passed(db, "0xaa").await;
        let intents = "SELECT COUNT(*) FROM ops_attempts WHERE step = 'power' AND outcome IS NULL";
        until("the power step is begun", || async { (count(db, intents).await == 1).then_some(()) }).await;
        first.kill().await;
        host.clear_faults();

        let second = Running::start(&lab);
        let told = until("the second has looked", || async {
            let told = second.explain("0xaa").await;
            (told["wait"]["code"] == "effect_unknown").then_some(told)
        })
        .await;
        assert_eq!(told["next"]["what"], "check", "{told}");
        assert_eq!(told["lastFailure"]["step"], "power", "{told}");
        a_few_looks().await;
        // An order may still be on its way to the host; it is given again only after minutes without a sign of it.
        assert_eq!((commands(host, "power"), host.power()), (vec![], PowerState::Ready));
        second.stop().await;
    }
}

async fn is_completed(db: &Database) {
    until("it is completed", || async {
        (status(db, "0xaa").await == "COMPLETED").then_some(())
    })
    .await;
}

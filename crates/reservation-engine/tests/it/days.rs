//! Whole days of a small lab, seen from outside: effects on hosts, states, the history.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{LocalModePolicy, OperationKind, ReservationStatus, State, Step, WaitCode};
use serde_json::json;

use crate::support::{Lab, Script, at, counted, host, id};

#[tokio::test(start_paused = true)]
async fn a_reservation_is_woken_prepared_and_released_on_time() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.run(&lab.engine("only"), at(90)).await;
    let effects = lab.hosts.effects();
    let times: Vec<_> = effects
        .iter()
        .map(|effect| (effect.what.as_str(), (effect.at - at(0)).num_seconds()))
        .collect();
    assert_eq!(
        times,
        [("wake", -100), ("prepare", -97), ("release --reboot", 3663)]
    );
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn the_history_reads_as_the_older_worker_wrote_it() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Prepare, &[Script::Fail("exit_code")]);
    lab.run(&lab.engine("only"), at(90)).await;
    let expected = [
        "wake completed",
        "prepare failed",
        "scheduler:start failed",
        "wake completed",
        "prepare completed",
        "scheduler:start completed",
        "release completed",
        "scheduler:end completed",
    ];
    assert_eq!(lab.history("a"), expected);
    let rows = lab.store.history();
    let prepare = &rows[1];
    assert_eq!(
        (prepare.response_code, prepare.duration_ms),
        (Some(1), Some(3000))
    );
    assert_eq!(prepare.payload, Some(json!({"exitCode": 1})));
    let failed = &rows[2];
    assert_eq!((failed.response_code, failed.duration_ms), (Some(502), None));
    assert_eq!(failed.message.as_deref(), Some("Reservation start failed"));
    let payload = failed.payload.as_ref().unwrap();
    assert_eq!(payload["status_code"], 502);
    let response = &payload["response"];
    assert_eq!(
        (&response["success"], &response["reservationId"]),
        (&json!(false), &json!("a"))
    );
    assert_eq!(
        (&response["host"], &response["labId"]),
        (&json!("ws-1"), &json!("1"))
    );
    assert_eq!(response["reason"]["code"], "exit_code");
    let steps = response["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(
        steps[1],
        json!({"action": "prepare", "success": false, "status": "failed", "message": "Exit code 1",
               "details": {"exitCode": 1}})
    );
    assert_eq!(steps[0]["durationMs"], 20_000);
    assert_eq!(
        (rows[5].response_code, rows[5].message.as_deref()),
        (Some(200), None)
    );
}

#[tokio::test(start_paused = true)]
async fn back_to_back_reservations_change_over_without_evicting_anybody() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 60, 120);
    lab.run(&lab.engine("only"), at(150)).await;
    let effects = lab.hosts.effects();
    let times: Vec<_> = effects
        .iter()
        .map(|effect| (effect.what.as_str(), (effect.at - at(60)).num_seconds()))
        .collect();
    assert_eq!(times[2..5], [("release", 3), ("wake", 23), ("prepare", 26)]);
    assert_eq!(times[5..], [("release --reboot", 3663)]);
    assert_eq!(lab.status("b"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn thirty_hosts_that_are_due_at_one_instant_start_at_that_instant() {
    let lab = Lab::new();
    for number in 1..=30 {
        lab.reserve(&format!("r{number}"), number, 0, 60);
    }
    lab.run(&lab.engine("only"), at(1)).await;
    assert_eq!(lab.hosts.most_at_once(), 30);
    for effect in lab.hosts.effects().iter().filter(|effect| effect.what == "wake") {
        assert_eq!((effect.at - at(0)).num_seconds(), -100, "{}", effect.host);
    }
}

#[tokio::test(start_paused = true)]
async fn more_due_hosts_than_a_batch_are_all_started() {
    let mut lab = Lab::new();
    lab.settings.max_batch = 7;
    for number in 1..=30 {
        lab.reserve(&format!("r{number}"), number, 0, 60);
    }
    lab.run(&lab.engine("only"), at(0)).await;
    for number in 1..=30 {
        assert_eq!(lab.status(&format!("r{number}")), ReservationStatus::Active);
    }
}

#[tokio::test(start_paused = true)]
async fn one_sick_host_delays_nobody() {
    let lab = Lab::new();
    lab.reserve("sick", 1, 0, 60);
    lab.reserve("well", 2, 0, 60);
    lab.hosts.script(&host(1), Step::Wake, &[Script::Hang; 50]);
    lab.run(&lab.engine("only"), at(-1)).await;
    assert_eq!(lab.status("well"), ReservationStatus::Active);
    assert_eq!(lab.status("sick"), ReservationStatus::Confirmed);
}

#[tokio::test(start_paused = true)]
async fn two_engines_on_one_store_prepare_each_reservation_exactly_once() {
    let lab = Lab::new();
    for number in 1..=20 {
        lab.reserve(&format!("r{number}"), number, 0, 60);
    }
    let (first, second) = (lab.engine("first"), lab.engine("second"));
    tokio::join!(lab.run(&first, at(90)), lab.run(&second, at(90)));
    let effects = counted(
        lab.hosts
            .effects()
            .into_iter()
            .map(|effect| format!("{} {}", effect.host, effect.what)),
    );
    for number in 1..=20 {
        for what in ["wake", "prepare", "release --reboot"] {
            assert_eq!(
                effects.get(&format!("ws-{number} {what}")),
                Some(&1),
                "ws-{number} {what}"
            );
        }
        assert_eq!(lab.status(&format!("r{number}")), ReservationStatus::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_cancelled_before_its_prepare_leaves_the_host_alone() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(10)).await;
    lab.cancel("a");
    lab.run(&engine, at(90)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake"]);
    assert_eq!(lab.ending("a", OperationKind::Start), "done cancelled");
    assert_eq!(lab.ending("a", OperationKind::End), "none");
}

#[tokio::test(start_paused = true)]
async fn a_reservation_cancelled_during_its_prepare_is_released_at_once() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(21)).await;
    lab.cancel("a");
    lab.run(&engine, at(-1)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(lab.status("a"), ReservationStatus::Cancelled);
    assert_eq!(lab.ending("a", OperationKind::End), "done");
}

#[tokio::test(start_paused = true)]
async fn a_reservation_cancelled_while_active_is_released_and_stays_cancelled() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(10)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    lab.cancel("a");
    lab.run(&engine, at(12)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(lab.status("a"), ReservationStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn after_three_days_down_nothing_is_started_that_is_over_and_everything_is_released() {
    let lab = Lab::new();
    lab.reserve("active", 1, 0, 60);
    lab.reserve("missed", 1, 60, 120);
    lab.reserve("next", 2, 3 * 24 * 60, 3 * 24 * 60 + 60);
    let engine = lab.engine("before");
    lab.run(&engine, at(10)).await;
    engine.stop(Duration::from_secs(5)).await;
    lab.sleep_until(at(3 * 24 * 60 - 30)).await;
    lab.run(&lab.engine("after"), at(3 * 24 * 60)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(lab.status("active"), ReservationStatus::Completed);
    assert_eq!(lab.status("missed"), ReservationStatus::Confirmed);
    assert_eq!(
        lab.ending("missed", OperationKind::Start),
        "needs_attention missed"
    );
    assert_eq!(lab.history("missed"), ["scheduler:start failed"]);
    assert_eq!(lab.status("next"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_ends_while_it_is_prepared_goes_straight_to_release() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-2) + TimeDelta::seconds(21)).await;
    lab.store.change(&id("a"), |reservation| {
        reservation.ends_at = at(-2) + TimeDelta::seconds(22)
    });
    lab.run(&engine, at(10)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(
        lab.ending("a", OperationKind::Start),
        "needs_attention ended_while_starting"
    );
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_boots_ends_in_needs_attention_with_the_rung() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 100]);
    lab.run(&lab.engine("only"), at(90)).await;
    let Some(State::NeedsAttention { reason, step, .. }) =
        lab.operation("a", OperationKind::Start).map(|row| row.state)
    else {
        panic!("{}", lab.ending("a", OperationKind::Start));
    };
    assert_eq!(
        (reason.code.as_str(), reason.rung.as_deref()),
        ("wake_no_answer", Some("tcp_port"))
    );
    assert_eq!(step, Some(Step::Wake));
    assert_eq!(lab.status("a"), ReservationStatus::Confirmed);
    let tries = counted(lab.history("a"))["wake failed"];
    assert!((5..=9).contains(&tries), "growing waits within the hour: {tries}");
    assert!(lab.hosts.done_to(&host(1)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_that_never_succeeds_ends_in_needs_attention_after_its_window() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Release, &[Script::Fail("exit_code"); 1000]);
    lab.run(&lab.engine("only"), at(60 + 7 * 60)).await;
    assert_eq!(lab.ending("a", OperationKind::End), "needs_attention exit_code");
    let tries = counted(lab.history("a"))["release failed"];
    assert!((20..=35).contains(&tries), "{tries}");
}

#[tokio::test(start_paused = true)]
async fn a_host_in_local_mode_is_not_taken_and_the_reservation_says_why() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.set_local_mode(&host(1), true);
    let engine = lab.engine("only");
    let report = lab.run(&engine, at(0)).await;
    assert!(!lab.hosts.done_to(&host(1)).contains(&"prepare".to_owned()));
    let (_, wait) = &report.waits[0];
    assert_eq!(wait.code, WaitCode::Retry);
    assert!(wait.detail.contains("local_mode"), "{wait}");
    lab.hosts.set_local_mode(&host(1), false);
    lab.run(&engine, at(20)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn local_mode_is_passed_over_when_the_policy_says_so() {
    for policy in [LocalModePolicy::Warn, LocalModePolicy::Ignore] {
        let mut lab = Lab::new();
        lab.settings.local_mode = policy;
        lab.reserve("a", 1, 0, 60);
        lab.hosts.set_local_mode(&host(1), true);
        lab.run(&lab.engine("only"), at(0)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Active, "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lab_without_a_host_is_said_once_and_then_waited_for() {
    let lab = Lab::new();
    lab.reserve("a", 900, 0, 60);
    let engine = lab.engine("only");
    let report = lab.run(&engine, at(59)).await;
    assert_eq!(report.unmapped, [id("a")]);
    assert_eq!(report.waits[0].1.code, WaitCode::NoHost);
    let rows = lab.store.history();
    assert_eq!(rows.len(), 1);
    assert_eq!(
        (rows[0].host.as_str(), rows[0].action.as_str()),
        ("unmapped", "scheduler:start")
    );
    assert_eq!(rows[0].message.as_deref(), Some("No host mapping for lab 900"));
    assert_eq!((rows[0].response_code, rows[0].payload.as_ref()), (None, None));
    lab.run(&engine, at(90)).await;
    assert_eq!(lab.ending("a", OperationKind::Start), "needs_attention missed");
    assert_eq!(lab.status("a"), ReservationStatus::Confirmed);
    assert!(lab.hosts.effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_stays_on_its_host_when_the_catalog_changes() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(10)).await;
    lab.store.change(&id("a"), |reservation| {
        reservation.lab = lab_model::LabId::new("2")
    });
    lab.run(&engine, at(90)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)).last().map(String::as_str),
        Some("release --reboot")
    );
    assert!(lab.hosts.done_to(&host(2)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_extended_is_released_at_its_new_end() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(30)).await;
    lab.store
        .change(&id("a"), |reservation| reservation.ends_at = at(90));
    lab.run(&engine, at(90)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    lab.run(&engine, at(95)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

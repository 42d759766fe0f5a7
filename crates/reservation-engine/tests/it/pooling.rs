//! Labs that several hosts serve, labs that none serves, and hosts that leave the catalog.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use lab_model::LabId;
use reservation_engine::{OperationKind, ReservationStatus, Step, WaitCode};

use crate::support::{Lab, Rooms, Script, at, counted, host, id};

fn pooled(labs: &[(u32, &[u32])]) -> (Lab, Arc<Rooms>) {
    let mut lab = Lab::new();
    lab.settings.host_pooling = true;
    let rooms = Arc::new(Rooms::new(labs));
    lab.map = rooms.clone();
    (lab, rooms)
}

fn mapped(labs: &[(u32, &[u32])]) -> (Lab, Arc<Rooms>) {
    let (mut lab, rooms) = pooled(labs);
    lab.settings.host_pooling = false;
    (lab, rooms)
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_be_woken_hands_over_before_the_start() {
    let (lab, _) = pooled(&[(7, &[1, 2])]);
    lab.reserve("a", 7, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 9]);
    lab.run(&lab.engine("only"), at(0)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    assert_eq!(lab.hosts.done_to(&host(2)), ["wake", "prepare"]);
    assert!(lab.hosts.done_to(&host(1)).is_empty());
    assert_eq!(lab.operation("a", OperationKind::Start).unwrap().host, host(2));
    assert_eq!(
        lab.history("a"),
        [
            "wake failed",
            "scheduler:start failed",
            "handover completed",
            "wake completed",
            "prepare completed",
            "scheduler:start completed"
        ]
    );
    let rows = lab.store.history();
    let handover = rows.iter().find(|row| row.action == "handover").unwrap();
    assert_eq!(handover.host, "ws-1");
    assert!(
        handover
            .message
            .as_ref()
            .unwrap()
            .starts_with("Handed over to ws-2: ")
    );
    lab.run(&lab.engine("later"), at(70)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    assert_eq!(
        lab.hosts.done_to(&host(2)),
        ["wake", "prepare", "release --reboot"]
    );
}

#[tokio::test(start_paused = true)]
async fn without_pooling_a_host_that_cannot_be_woken_is_tried_again() {
    let (lab, _) = mapped(&[(7, &[1, 2])]);
    lab.reserve("a", 7, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 2]);
    lab.run(&lab.engine("only"), at(30)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    assert!(lab.hosts.done_to(&host(2)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn when_all_hosts_failed_the_first_is_tried_again_in_growing_waits() {
    let (lab, _) = pooled(&[(7, &[1, 2])]);
    lab.reserve("a", 7, 0, 120);
    for number in [1, 2] {
        lab.hosts
            .script(&host(number), Step::Wake, &[Script::Fail("wake_no_answer"); 100]);
    }
    lab.run(&lab.engine("only"), at(130)).await;
    let counts = counted(lab.history("a"));
    assert_eq!(
        lab.ending("a", OperationKind::Start),
        "needs_attention wake_no_answer"
    );
    let tries = counts["wake failed"];
    assert!((6..=14).contains(&tries), "growing waits over two hosts: {tries}");
    assert_eq!(counts["handover completed"], tries - 1);
    let rows = lab.store.history();
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row.action == "wake")
        .map(|row| row.host.as_str())
        .collect();
    assert_eq!(failed[..4], ["ws-1", "ws-2", "ws-1", "ws-2"]);
}

#[tokio::test(start_paused = true)]
async fn two_reservations_whose_host_fails_get_two_spares() {
    let (lab, _) = pooled(&[(7, &[1, 2, 3, 4])]);
    lab.reserve("a", 7, 0, 60);
    lab.reserve("b", 7, 0, 60);
    for number in [1, 2] {
        lab.hosts
            .script(&host(number), Step::Wake, &[Script::Fail("wake_no_answer"); 9]);
    }
    lab.run(&lab.engine("only"), at(5)).await;
    for name in ["a", "b"] {
        assert_eq!(lab.status(name), ReservationStatus::Active, "{name}");
    }
    let on = |name| lab.operation(name, OperationKind::Start).unwrap().host;
    assert_ne!(on("a"), on("b"));
}

#[tokio::test(start_paused = true)]
async fn a_class_spreads_over_the_hosts_of_its_lab_with_two_engines() {
    let (lab, _) = pooled(&[(7, &[1, 2, 3, 4, 5])]);
    for name in ["a", "b", "c", "d", "e"] {
        lab.reserve(name, 7, 0, 60);
    }
    let (first, second) = (lab.engine("first"), lab.engine("second"));
    tokio::join!(lab.run(&first, at(90)), lab.run(&second, at(90)));
    let effects = counted(
        lab.hosts
            .effects()
            .iter()
            .map(|effect| format!("{} {}", effect.host, effect.what)),
    );
    for number in 1..=5 {
        for what in ["wake", "prepare", "release --reboot"] {
            assert_eq!(
                effects.get(&format!("ws-{number} {what}")),
                Some(&1),
                "ws-{number} {what}"
            );
        }
    }
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(lab.status(name), ReservationStatus::Completed, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_finds_his_host_still_used_gets_another_one_at_his_start() {
    let (lab, _) = pooled(&[(7, &[1, 2])]);
    lab.reserve("a", 7, -5, 30);
    let engine = lab.engine("only");
    lab.run(&engine, at(0)).await;
    lab.reserve("b", 7, 30, 90);
    lab.run(&engine, at(29)).await;
    assert!(
        lab.hosts.done_to(&host(2)).is_empty(),
        "back to back is no reason to move"
    );
    lab.store
        .change(&id("a"), |reservation| reservation.ends_at = at(60));
    lab.run(&engine, at(32)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    assert_eq!(lab.status("b"), ReservationStatus::Active);
    assert_eq!(lab.hosts.done_to(&host(2)), ["wake", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_lab_without_a_host_has_one_row_also_over_restarts_and_copies() {
    let (lab, _) = mapped(&[]);
    lab.reserve("a", 7, 0, 60);
    for name in ["first", "second", "third"] {
        let (one, other) = (lab.engine(name), lab.engine("beside"));
        let until = lab.wall_minutes() + 15;
        tokio::join!(lab.run(&one, at(until)), lab.run(&other, at(until)));
        one.stop(Duration::from_secs(5)).await;
        other.stop(Duration::from_secs(5)).await;
    }
    assert_eq!(lab.history("a"), ["scheduler:start failed"]);
    assert_eq!(
        lab.store.history()[0].message.as_deref(),
        Some("No host mapping for lab 7")
    );
    lab.run(&lab.engine("last"), at(61)).await;
    assert_eq!(lab.ending("a", OperationKind::Start), "needs_attention missed");
    assert_eq!(
        lab.history("a"),
        ["scheduler:start failed", "scheduler:start failed"]
    );
    assert!(lab.hosts.effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lab_that_is_given_a_host_in_time_is_started_normally() {
    let (lab, rooms) = mapped(&[]);
    lab.reserve("a", 7, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(10)).await;
    rooms.set(7, &[3]);
    lab.run(&engine, at(12)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    lab.run(&engine, at(70)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    assert_eq!(
        lab.hosts.done_to(&host(3)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(
        lab.history("a")[..2],
        ["scheduler:start failed", "handover completed"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_active_reservation_without_a_host_does_not_wait_for_ever() {
    let (lab, _) = mapped(&[]);
    lab.reserve("a", 7, 0, 60);
    lab.reserve("b", 8, 0, 60);
    for name in ["a", "b"] {
        lab.store.change(&id(name), |reservation| {
            reservation.status = ReservationStatus::Active
        });
    }
    let engine = lab.engine("only");
    let report = lab.run(&engine, at(90)).await;
    assert_eq!(report.waits[0].1.code, WaitCode::NoHost);
    lab.run(&engine, at(60 + 7 * 60)).await;
    for name in ["a", "b"] {
        assert_eq!(lab.ending(name, OperationKind::End), "needs_attention no_host");
        assert_eq!(lab.status(name), ReservationStatus::Active);
        assert_eq!(
            lab.history(name),
            ["scheduler:end failed", "scheduler:end failed"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_active_reservation_is_released_when_its_host_comes_back() {
    let (lab, rooms) = mapped(&[(7, &[1])]);
    lab.reserve("a", 7, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(30)).await;
    rooms.set(7, &[]);
    let report = lab.run(&engine, at(120)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    let (_, wait) = &report.waits[0];
    assert_eq!(wait.code, WaitCode::HostRemoved, "{wait}");
    assert_eq!(counted(lab.history("a"))["scheduler:end failed"], 1, "said once");
    rooms.set(7, &[1]);
    lab.run(&engine, at(122)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_never_comes_back_ends_in_needs_attention() {
    let (lab, rooms) = mapped(&[(7, &[1])]);
    lab.reserve("a", 7, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(30)).await;
    rooms.set(7, &[2]);
    lab.reserve("b", 7, 90, 120);
    lab.run(&engine, at(60 + 7 * 60)).await;
    assert_eq!(
        lab.ending("a", OperationKind::End),
        "needs_attention host_removed"
    );
    assert_eq!(
        lab.status("b"),
        ReservationStatus::Completed,
        "the lab's new host serves the next one"
    );
    assert_eq!(
        lab.hosts.done_to(&host(2)),
        ["wake", "prepare", "release --reboot"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_host_is_removed_goes_to_the_labs_other_host() {
    let (lab, rooms) = mapped(&[(7, &[1])]);
    lab.reserve("a", 7, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 9]);
    let engine = lab.engine("only");
    lab.run(&engine, at(-1)).await;
    rooms.set(7, &[2]);
    lab.run(&engine, at(2)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    assert_eq!(lab.hosts.done_to(&host(2)), ["wake", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_survives_a_crash_right_after_it() {
    let (lab, _) = pooled(&[(7, &[1, 2])]);
    lab.reserve("a", 7, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 9]);
    let first = lab.engine("first");
    // The wake takes 20 s and fails; the engine is gone the moment after.
    lab.run(&first, at(-2) + TimeDelta::milliseconds(20_500)).await;
    drop(first);
    lab.sleep_until(at(-1)).await;
    lab.run(&lab.engine("second"), at(1)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    let effects = counted(
        lab.hosts
            .effects()
            .iter()
            .map(|effect| format!("{} {}", effect.host, effect.what)),
    );
    assert_eq!(effects.get("ws-2 prepare"), Some(&1), "{effects:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reservation_of_another_lab_goes_to_that_labs_host_until_it_was_begun() {
    let (lab, _) = mapped(&[(7, &[1]), (8, &[2])]);
    lab.reserve("a", 7, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(-5)).await;
    lab.store
        .change(&id("a"), |reservation| reservation.lab = LabId::new("8"));
    lab.run(&engine, at(1)).await;
    assert_eq!(lab.hosts.done_to(&host(2)), ["wake", "prepare"]);
    assert!(lab.hosts.done_to(&host(1)).is_empty());
}

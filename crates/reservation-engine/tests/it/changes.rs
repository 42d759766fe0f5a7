//! What the gateway does to a reservation while the host is at work for it: cancelled, shortened, moved, extended,
//! given another lab, at every stage.

use chrono::TimeDelta;
use lab_model::LabId;
use reservation_engine::{OperationKind, ReservationStatus, Step};

use crate::support::{Lab, Script, TestEngine, at, counted, host, id};

/// The stages at which a change is made: seconds after the start of the work at two minutes to nine, and its name.
/// The wake takes 20 s, prepare and release 3 s each.
const STAGES: [(i64, &str); 6] = [
    (-60, "before"),
    (10, "during the wake"),
    (20, "between wake and prepare"),
    (21, "during the prepare"),
    (60, "active before its start"),
    (600, "running"),
];

async fn at_stage(lab: &Lab, engine: &TestEngine, seconds: i64) {
    lab.run(engine, at(-2) + TimeDelta::seconds(seconds)).await;
}

/// One prepare and one release at most, and never a release without a prepare before it.
fn is_clean(lab: &Lab, number: u32, stage: &str) {
    let done = lab.hosts.done_to(&host(number));
    let mut prepared = 0_i32;
    for what in &done {
        match what.split(' ').next().unwrap_or_default() {
            "prepare" => prepared += 1,
            "release" => {
                assert!(prepared > 0, "{stage}: released without a prepare: {done:?}");
                prepared = 0;
            }
            _ => {}
        }
    }
    assert_eq!(prepared, 0, "{stage}: not released: {done:?}");
}

fn prepared(lab: &Lab, number: u32) -> usize {
    counted(lab.hosts.done_to(&host(number)))
        .get("prepare")
        .copied()
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_at_any_stage_leaves_a_clean_host() {
    for (seconds, stage) in STAGES {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, seconds).await;
        lab.cancel("a");
        lab.run(&engine, at(90)).await;
        is_clean(&lab, 1, stage);
        assert_eq!(lab.status("a"), ReservationStatus::Cancelled, "{stage}");
        assert_eq!(prepared(&lab, 1), usize::from(seconds > 20), "{stage}");
        let released_at = lab
            .hosts
            .effects()
            .iter()
            .rfind(|effect| effect.what.starts_with("release"))
            .map(|effect| effect.at);
        if let Some(released_at) = released_at {
            let after = (released_at - at(-2)).num_seconds() - seconds;
            assert!(after <= 40, "{stage}: released {after} s after the cancellation");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_shortened_at_any_stage_ends_at_its_new_end() {
    for (seconds, stage) in STAGES {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, seconds).await;
        lab.store
            .change(&id("a"), |reservation| reservation.ends_at = at(20));
        lab.run(&engine, at(40)).await;
        is_clean(&lab, 1, stage);
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{stage}");
        let released_at = lab.hosts.effects().last().unwrap().at;
        let late = (released_at - at(21)).num_seconds();
        assert!(
            (0..=60).contains(&late),
            "{stage}: released {late} s after it was due"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_whose_end_is_set_into_the_past_is_not_started_or_released_at_once() {
    for (seconds, stage) in STAGES {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, seconds).await;
        let now = at(-2) + TimeDelta::seconds(seconds);
        lab.store.change(&id("a"), |reservation| {
            reservation.starts_at = now - TimeDelta::minutes(10);
            reservation.ends_at = now - TimeDelta::seconds(1);
        });
        lab.run(&engine, now + TimeDelta::minutes(5)).await;
        is_clean(&lab, 1, stage);
        assert_eq!(prepared(&lab, 1), usize::from(seconds > 20), "{stage}");
        let ending = lab.ending("a", OperationKind::Start);
        let expected = match seconds {
            ..0 => "needs_attention missed",
            0..30 => "needs_attention ended_while_starting",
            _ => "done",
        };
        assert_eq!(ending, expected, "{stage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_extended_at_any_stage_runs_until_its_new_end() {
    for (seconds, stage) in STAGES {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, seconds).await;
        lab.store
            .change(&id("a"), |reservation| reservation.ends_at = at(90));
        lab.run(&engine, at(90)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Active, "{stage}");
        lab.run(&engine, at(95)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{stage}");
        is_clean(&lab, 1, stage);
        assert_eq!(prepared(&lab, 1), 1, "{stage}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_extension_during_the_release_does_not_bring_the_host_back() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(61) + TimeDelta::seconds(1)).await;
    lab.store
        .change(&id("a"), |reservation| reservation.ends_at = at(120));
    lab.run(&engine, at(130)).await;
    assert_eq!(
        lab.hosts.done_to(&host(1)),
        ["wake", "prepare", "release --reboot"]
    );
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_moved_later_is_prepared_for_its_new_start() {
    for (seconds, stage) in &STAGES[..4] {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, *seconds).await;
        lab.store.change(&id("a"), |reservation| {
            reservation.starts_at = at(240);
            reservation.ends_at = at(300);
        });
        lab.run(&engine, at(230)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Confirmed, "{stage}");
        lab.run(&engine, at(240)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Active, "{stage}");
        let last = lab.hosts.effects().pop().unwrap();
        assert_eq!(last.what, "prepare", "{stage}");
        assert!(last.at >= at(238), "{stage}: prepared anew for its new start");
        lab.run(&engine, at(310)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{stage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_moved_later_makes_room_for_another_one() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    at_stage(&lab, &engine, 21).await;
    lab.store.change(&id("a"), |reservation| {
        reservation.starts_at = at(240);
        reservation.ends_at = at(300);
    });
    lab.reserve("b", 1, 5, 60);
    lab.run(&engine, at(6)).await;
    assert_eq!(lab.status("b"), ReservationStatus::Active);
    lab.run(&engine, at(310)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    assert_eq!(lab.status("b"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_moved_earlier_starts_as_soon_as_that_is_seen() {
    let lab = Lab::new();
    lab.reserve("a", 1, 120, 180);
    let engine = lab.engine("only");
    lab.run(&engine, at(0)).await;
    lab.store
        .change(&id("a"), |reservation| reservation.starts_at = at(1));
    lab.run(&engine, at(2)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_failed_is_not_held_back_by_a_wait_that_the_move_made_pointless() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Wake, &[Script::Fail("wake_no_answer"); 3]);
    let engine = lab.engine("only");
    lab.run(&engine, at(3)).await;
    lab.store.change(&id("a"), |reservation| {
        reservation.starts_at = at(120);
        reservation.ends_at = at(180);
    });
    lab.run(&engine, at(119)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn another_lab_counts_until_something_was_begun_and_then_no_more() {
    for (seconds, stage) in STAGES {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, seconds).await;
        lab.store
            .change(&id("a"), |reservation| reservation.lab = LabId::new("2"));
        lab.run(&engine, at(90)).await;
        let (served, left) = if seconds < 0 { (2, 1) } else { (1, 2) };
        assert_eq!(
            lab.hosts.done_to(&host(served)),
            ["wake", "prepare", "release --reboot"],
            "{stage}"
        );
        assert!(lab.hosts.done_to(&host(left)).is_empty(), "{stage}");
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{stage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_ends_during_a_long_wake_is_not_prepared() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 1);
    lab.hosts.script(
        &host(1),
        Step::Wake,
        &[Script::Fail("wake_no_answer"), Script::ColdBoot(170)],
    );
    lab.run(&lab.engine("only"), at(30)).await;
    assert!(!lab.hosts.done_to(&host(1)).contains(&"prepare".to_owned()));
    assert_eq!(
        lab.ending("a", OperationKind::Start),
        "needs_attention ended_while_starting"
    );
    assert_eq!(lab.status("a"), ReservationStatus::Confirmed);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_somebody_else_completes_is_left_alone() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(10)).await;
    lab.store.change(&id("a"), |reservation| {
        reservation.status = ReservationStatus::Completed
    });
    lab.run(&engine, at(90)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), ["wake", "prepare"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_that_is_taken_back_before_anything_was_done_starts_normally() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.cancel("a");
    lab.run(&engine, at(-5)).await;
    lab.store.change(&id("a"), |reservation| {
        reservation.status = ReservationStatus::Confirmed
    });
    lab.run(&engine, at(1)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_taken_back_at_any_stage_leaves_a_clean_host_to_the_next_one() {
    for (seconds, stage) in STAGES {
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        lab.reserve("b", 1, 90, 120);
        let engine = lab.engine("only");
        at_stage(&lab, &engine, seconds).await;
        lab.store.change(&id("a"), |reservation| {
            reservation.status = ReservationStatus::Pending
        });
        lab.run(&engine, at(70)).await;
        is_clean(&lab, 1, stage);
        lab.run(&engine, at(130)).await;
        is_clean(&lab, 1, stage);
        assert_eq!(lab.status("a"), ReservationStatus::Pending, "{stage}");
        assert_eq!(lab.status("b"), ReservationStatus::Completed, "{stage}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_extended_while_its_release_is_unsettled_is_released_at_its_new_end() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Release, &[Script::LostAndGone(600)]);
    let engine = lab.engine("only");
    lab.run(&engine, at(63)).await;
    // The first release took effect, but nobody knows that yet; the student logs on again.
    lab.store
        .change(&id("a"), |reservation| reservation.ends_at = at(120));
    lab.run(&engine, at(140)).await;
    let effects = lab.hosts.effects();
    let last = effects.last().unwrap();
    assert!(
        last.what.starts_with("release") && last.at >= at(120),
        "{effects:?}"
    );
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

/// How often something was done to a host.
fn done(lab: &Lab, number: u32, what: &str) -> usize {
    let done = lab.hosts.done_to(&host(number)).into_iter();
    done.filter(|done| done.starts_with(what)).count()
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_called_off_at_any_stage_and_confirmed_again_gets_its_host() {
    use ReservationStatus::{Cancelled, Confirmed, Pending};
    for called_off in [Cancelled, Pending] {
        for (seconds, stage) in STAGES {
            // Before it is seen, while the start is settled or the host released, and after.
            for pause in [0, 1, 2, 4, 10, 600] {
                let told = format!("{called_off:?} {stage}, for {pause} s");
                let lab = Lab::new();
                lab.reserve("a", 1, 0, 60);
                let engine = lab.engine("only");
                at_stage(&lab, &engine, seconds).await;
                lab.store
                    .change(&id("a"), |reservation| reservation.status = called_off);
                at_stage(&lab, &engine, seconds + pause).await;
                lab.store
                    .change(&id("a"), |reservation| reservation.status = Confirmed);
                lab.run(&engine, at(50)).await;
                assert_eq!(lab.status("a"), ReservationStatus::Active, "{told}");
                let prepares = done(&lab, 1, "prepare");
                lab.run(&engine, at(70)).await;
                assert_eq!(lab.status("a"), ReservationStatus::Completed, "{told}");
                assert_eq!(done(&lab, 1, "prepare"), prepares, "{told}");
                let effects = lab.hosts.done_to(&host(1));
                assert!(
                    effects.last().unwrap().starts_with("release"),
                    "{told}: {effects:?}"
                );
                assert!(prepares <= 2, "{told}: {effects:?}");
                assert!(
                    lab.store
                        .operations()
                        .iter()
                        .all(|operation| operation.state.is_final()),
                    "{told}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_may_be_called_off_and_confirmed_again_more_than_once() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 120);
    let engine = lab.engine("only");
    for round in 0..4 {
        lab.run(&engine, at(10 + 20 * round)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Active, "round {round}");
        lab.cancel("a");
        lab.run(&engine, at(20 + 20 * round)).await;
        is_clean(&lab, 1, "called off");
        lab.store.change(&id("a"), |reservation| {
            reservation.status = ReservationStatus::Confirmed
        });
    }
    lab.run(&engine, at(130)).await;
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
    assert_eq!((done(&lab, 1, "prepare"), done(&lab, 1, "release")), (5, 5));
    assert_eq!(lab.store.operations().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_confirmed_again_when_it_is_over_is_missed_and_one_that_was_served_is_not() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("served", 2, 0, 60);
    lab.reserve("half", 3, 0, 60);
    let engine = lab.engine("only");
    at_stage(&lab, &engine, 10).await;
    lab.cancel("a");
    lab.run(&engine, at(30)).await;
    lab.cancel("half");
    lab.run(&engine, at(70)).await;
    for name in ["a", "served", "half"] {
        lab.store.change(&id(name), |reservation| {
            reservation.status = ReservationStatus::Confirmed
        });
    }
    lab.run(&engine, at(90)).await;
    assert_eq!(lab.ending("a", OperationKind::Start), "needs_attention missed");
    assert_eq!(lab.ending("half", OperationKind::Start), "needs_attention missed");
    assert_eq!(lab.ending("served", OperationKind::Start), "done");
    assert_eq!(done(&lab, 1, "prepare"), 0);
    assert_eq!(done(&lab, 2, "prepare"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_release_of_one_that_was_confirmed_again_is_not_repeated_and_does_not_complete_it() {
    for script in [Script::Fail("broken"), Script::LostAndGone(120)] {
        let told = format!("{script:?}");
        let lab = Lab::new();
        lab.reserve("a", 1, 0, 60);
        lab.hosts.script(&host(1), Step::Release, &[script]);
        let engine = lab.engine("only");
        lab.run(&engine, at(10)).await;
        lab.cancel("a");
        lab.run(&engine, at(10) + TimeDelta::seconds(5)).await;
        lab.store.change(&id("a"), |reservation| {
            reservation.status = ReservationStatus::Confirmed
        });
        lab.run(&engine, at(30)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Active, "{told}");
        lab.run(&engine, at(70)).await;
        assert_eq!(lab.status("a"), ReservationStatus::Completed, "{told}");
        assert_eq!(lab.ending("a", OperationKind::End), "done", "{told}");
    }
}

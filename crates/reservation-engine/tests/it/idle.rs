//! Hosts that nobody needs: when they are taken down, how, and when not.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{IdlePower, OperationKind, PowerMode, ReservationStatus, Step};

use crate::support::{Lab, Moment, Script, ShakyStore, at, counted, host};

/// A quarter of an hour after its last reservation a host is shut down.
fn saving() -> Lab {
    let mut lab = Lab::new();
    lab.settings.idle_power = Some(IdlePower::new(PowerMode::Shutdown));
    lab
}

const WHOLE: [&str; 4] = ["wake", "prepare", "release --reboot", "power:shutdown --no-force"];

#[tokio::test(start_paused = true)]
async fn a_host_is_shut_down_after_its_last_reservation() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(62)).await;
    assert_eq!(
        lab.status("a"),
        ReservationStatus::Completed,
        "without waiting for the power action"
    );
    assert_eq!(
        lab.history("a").last().map(String::as_str),
        Some("scheduler:end completed")
    );
    lab.run(&engine, at(120)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), WHOLE);
    assert_eq!(lab.ending("a", OperationKind::End), "done");
    let power = lab.hosts.effects().pop().unwrap();
    let after = (power.at - at(61)).num_seconds();
    assert!((15 * 60..15 * 60 + 30).contains(&after), "{after}");
    assert_eq!(
        lab.history("a").last().map(String::as_str),
        Some("power:shutdown completed")
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_shut_down_is_woken_for_the_next_one() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 240, 300);
    lab.run(&lab.engine("only"), at(360)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), [WHOLE, WHOLE].concat());
    assert_eq!(lab.status("b"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_host_stays_on_between_reservations_that_follow_each_other() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 90, 150);
    lab.run(&lab.engine("only"), at(240)).await;
    let done = lab.hosts.done_to(&host(1));
    assert_eq!(counted(done.clone())["power:shutdown --no-force"], 1, "{done:?}");
    assert_eq!(done.last().map(String::as_str), Some("power:shutdown --no-force"));
    assert_eq!(lab.ending("a", OperationKind::End), "done host_needed");
}

#[tokio::test(start_paused = true)]
async fn a_host_goes_down_when_the_next_one_is_cancelled() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    lab.reserve("b", 1, 95, 150);
    let engine = lab.engine("only");
    lab.run(&engine, at(80)).await;
    assert!(!lab.hosts.done_to(&host(1)).contains(&WHOLE[3].to_owned()));
    lab.cancel("b");
    lab.run(&engine, at(100)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), WHOLE);
}

#[tokio::test(start_paused = true)]
async fn a_host_whose_reservation_was_cancelled_goes_down_as_well() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    lab.run(&engine, at(10)).await;
    lab.cancel("a");
    lab.run(&engine, at(40)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), WHOLE);
    assert_eq!(lab.status("a"), ReservationStatus::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_host_at_which_somebody_works_is_left_on() {
    for (session, code) in [(true, "done local_session"), (false, "done local_mode")] {
        let lab = saving();
        lab.reserve("a", 1, 0, 60);
        let engine = lab.engine("only");
        lab.run(&engine, at(62)).await;
        if session {
            lab.hosts.set_local_session(&host(1), true);
        } else {
            lab.hosts.set_local_mode(&host(1), true);
        }
        lab.run(&engine, at(120)).await;
        assert_eq!(lab.hosts.done_to(&host(1)), WHOLE[..3]);
        assert_eq!(lab.ending("a", OperationKind::End), code);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_down_unless_it_is_configured() {
    let lab = Lab::new();
    lab.reserve("a", 1, 0, 60);
    lab.run(&lab.engine("only"), at(600)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), WHOLE[..3]);
    assert_eq!(lab.ending("a", OperationKind::End), "done");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stays_up_needs_attention_and_is_not_ordered_down_again() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    lab.hosts.script(&host(1), Step::Power, &[Script::StaysUp]);
    lab.run(&lab.engine("only"), at(300)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), WHOLE);
    assert_eq!(lab.ending("a", OperationKind::End), "needs_attention still_up");
    assert_eq!(lab.status("a"), ReservationStatus::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_stays_up_is_forced_down_once_where_that_is_configured() {
    let mut lab = saving();
    lab.settings.idle_power.as_mut().unwrap().force = true;
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Power, &[Script::StaysUp, Script::StaysUp]);
    lab.run(&lab.engine("only"), at(300)).await;
    let done = lab.hosts.done_to(&host(1));
    assert_eq!(done[3..], ["power:shutdown --no-force", "power:shutdown"]);
    assert_eq!(lab.ending("a", OperationKind::End), "needs_attention still_up");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_was_refused_is_tried_again_in_growing_waits() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    lab.hosts
        .script(&host(1), Step::Power, &[Script::Fail("exit_code"); 2]);
    lab.run(&lab.engine("only"), at(120)).await;
    assert_eq!(lab.hosts.done_to(&host(1)), WHOLE);
    let rows = counted(lab.history("a"));
    assert_eq!(
        (rows["power:shutdown failed"], rows["power:shutdown completed"]),
        (2, 1)
    );
    assert_eq!(
        rows.get("scheduler:end failed"),
        None,
        "the reservation itself ended well"
    );
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_is_lost_is_not_given_twice() {
    for script in [Script::LostAfter, Script::LostAndGone(40)] {
        let lab = saving();
        lab.reserve("a", 1, 0, 60);
        lab.hosts.script(&host(1), Step::Power, &[script]);
        lab.run(&lab.engine("only"), at(120)).await;
        assert_eq!(lab.hosts.done_to(&host(1)), WHOLE, "{script:?}");
        assert_eq!(lab.ending("a", OperationKind::End), "done");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_moment_of_the_power_step_shuts_down_once() {
    for moment in Moment::ALL {
        let lab = saving();
        lab.reserve("a", 1, 0, 60);
        let store = ShakyStore::dying_at(lab.store.clone(), Step::Power, moment);
        let died = store.died.clone();
        let crashing = lab.engine_on(store, "crashing");
        tokio::select! {
            _ = lab.run(&crashing, at(120)) => panic!("{moment:?}: never reached"),
            () = died.cancelled() => {}
        }
        crashing.stop(Duration::ZERO).await;
        lab.run(&lab.engine("next"), at(120)).await;
        let done = lab.hosts.done_to(&host(1));
        assert_eq!(done, WHOLE, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn somebody_who_comes_unannounced_finds_the_host_again() {
    let lab = saving();
    lab.reserve("a", 1, 0, 60);
    let engine = lab.engine("only");
    // The order goes out at 76 minutes; the reservation is made while the host goes down.
    lab.run(&engine, at(76) + TimeDelta::seconds(10)).await;
    lab.reserve("b", 1, 77, 120);
    lab.run(&engine, at(90)).await;
    assert_eq!(lab.status("b"), ReservationStatus::Active);
    let done = lab.hosts.done_to(&host(1));
    assert_eq!(done[done.len() - 2..], ["wake", "prepare"]);
}

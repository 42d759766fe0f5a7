use std::time::Duration;

use super::*;
use crate::ports::Observation;
use crate::settings::{IdlePower, PowerMode};

fn settings() -> Settings {
    Settings {
        idle_power: Some(IdlePower::new(PowerMode::Shutdown)),
        ..Settings::default()
    }
}

fn idle_plan(settings: &Settings, minutes: i64, items: &[WorkItem]) -> HostPlan {
    plan_host(at(minutes), settings, &HostFacts::with_lead(settings.lead), items)
}

fn idle_act(minutes: i64, items: &[WorkItem]) -> String {
    shown_act(idle_plan(&settings(), minutes, items))
}

fn only_wait_of(minutes: i64, items: &[WorkItem]) -> Wait {
    let mut waits = idle_plan(&settings(), minutes, items).waits;
    waits.retain(|(id, _)| id.as_str() == "a");
    assert_eq!(waits.len(), 1, "{waits:?}");
    waits.remove(0).1
}

/// Completed at its end, with the power action due at `due`.
fn completed(id: &str, from: i64, to: i64, due: i64, state: State) -> WorkItem {
    let mut item = item(id, ReservationStatus::Completed, from, to)
        .started(done(from - 1))
        .prepared_at(from - 2)
        .ended(state);
    item.end.as_mut().unwrap().due_at = at(due);
    item
}

fn due(id: &str, from: i64, to: i64, due: i64) -> WorkItem {
    completed(id, from, to, due, State::first(Step::Power))
}

fn still_up(failed: u32) -> State {
    State::Waiting {
        step: Step::Power,
        failed,
        until: at(75),
        reason: Reason::new(STILL_UP, "the host took the order and is still up"),
        unknown_since: None,
        failed_at: Some(at(75)),
    }
}

#[test]
fn an_idle_host_is_taken_down_softly_when_its_time_has_come() {
    let items = [due("a", 0, 60, 75)];
    assert_eq!(idle_act(74, &items), "nothing");
    let wait = only_wait_of(74, &items);
    assert_eq!((wait.code, wait.until), (WaitCode::HostIdle, Some(at(75))));
    assert_eq!(idle_act(75, &items), "a end power --no-force");
}

#[test]
fn an_idle_host_stays_on_for_whoever_comes_soon() {
    // The lead is two minutes, the look ahead thirty.
    let items = [due("a", 0, 60, 75), confirmed("b", 107, 160)];
    assert_eq!(idle_act(75, &items), "nothing");
    let wait = only_wait_of(75, &items);
    assert_eq!((wait.code, wait.until), (WaitCode::HostWanted, Some(at(107))));
    let later = [due("a", 0, 60, 75), confirmed("b", 108, 160)];
    assert_eq!(idle_act(75, &later), "a end power --no-force");
}

#[test]
fn an_idle_host_goes_down_after_all_when_whoever_was_to_come_does_not() {
    let mut other = confirmed("b", 90, 160);
    other.reservation.status = ReservationStatus::Cancelled;
    assert_eq!(
        idle_act(75, &[due("a", 0, 60, 75), other]),
        "a end power --no-force"
    );
    let given_up = confirmed("b", 70, 160).started(attention(80));
    assert_eq!(
        idle_act(81, &[due("a", 0, 60, 75), given_up]),
        "a end power --no-force"
    );
}

#[test]
fn an_idle_host_that_somebody_got_is_left_to_him() {
    let items = [due("a", 0, 60, 75), active("b", 62, 120)];
    assert_eq!(idle_act(63, &items), "a end settle (host_needed)");
    let found = completed("a", 0, 60, 75, running(Step::Power, 75));
    assert_eq!(
        idle_act(76, &[found, active("b", 62, 120)]),
        "a end settle (host_needed)"
    );
}

#[test]
fn only_the_last_reservation_of_a_host_carries_its_power_action() {
    let items = [due("a", 0, 60, 75), due("b", 60, 120, 135)];
    assert_eq!(idle_act(121, &items), "a end settle (superseded)");
    assert_eq!(idle_act(136, &items[1..]), "b end power --no-force");
}

#[test]
fn a_power_step_found_in_the_middle_is_looked_at_and_not_repeated() {
    let found = completed("a", 0, 60, 75, running(Step::Power, 75));
    assert_eq!(idle_act(76, &[found]), "a end check");
}

#[test]
fn a_host_that_is_still_up_is_forced_down_only_where_that_is_configured() {
    let items = [completed("a", 0, 60, 75, still_up(1))];
    assert_eq!(idle_act(76, &items), "a end power --no-force");
    let mut hard = settings();
    hard.idle_power.as_mut().unwrap().force = true;
    assert_eq!(shown_act(idle_plan(&hard, 76, &items)), "a end power");
}

#[test]
fn a_power_action_that_is_not_configured_any_more_is_settled() {
    assert_eq!(
        shown_act(idle_plan(&Settings::default(), 76, &[due("a", 0, 60, 75)])),
        "a end settle (not_configured)"
    );
}

#[test]
fn a_host_in_its_idle_time_is_free_for_the_next_one() {
    let items = [due("a", 0, 60, 75), confirmed("b", 65, 120)];
    assert_eq!(idle_act(63, &items), "b start wake");
    let mut cancelled = due("a", 0, 60, 75);
    cancelled.reservation.status = ReservationStatus::Cancelled;
    assert_eq!(
        idle_act(63, &[cancelled, confirmed("b", 65, 120)]),
        "b start wake"
    );
}

#[test]
fn a_host_that_goes_down_at_once_is_not_rebooted_before() {
    let mut soon = settings();
    soon.idle_power.as_mut().unwrap().after = Duration::from_secs(60);
    let items = [active("a", 0, 60)];
    assert_eq!(shown_act(idle_plan(&soon, 61, &items)), "a end release");
    assert_eq!(idle_act(61, &items), "a end release --reboot");
    let wanted = [active("a", 0, 60), confirmed("b", 80, 160)];
    assert_eq!(shown_act(idle_plan(&soon, 61, &wanted)), "a end release --reboot");
}

fn up() -> Observation {
    Observation {
        reachable: true,
        reported_at: Some(at(75)),
        released_at: Some(at(60)),
        ..Observation::default()
    }
}

fn left(seen: &Observation) -> String {
    match judge_idle(seen, at(60)) {
        Standing::Free => "free".to_owned(),
        Standing::Leave(reason) => reason.code,
        Standing::Unclear(reason) => format!("unclear: {}", reason.code),
    }
}

#[test]
fn a_host_at_which_somebody_works_is_left_on() {
    assert_eq!(left(&up()), "free");
    assert_eq!(
        left(&Observation {
            local_mode: Some(true),
            ..up()
        }),
        "local_mode"
    );
    assert_eq!(
        left(&Observation {
            local_session: Some(true),
            ..up()
        }),
        "local_session"
    );
    assert_eq!(
        left(&Observation {
            prepared_at: Some(at(70)),
            ..up()
        }),
        "prepared_since"
    );
    let before = Observation {
        prepared_at: Some(at(-2)),
        ..up()
    };
    assert_eq!(left(&before), "free");
}

#[test]
fn a_host_that_took_the_order_gets_its_time_before_it_counts_as_up() {
    let ordered = Observation {
        power_action_at: Some(at(75)),
        ..up()
    };
    assert_eq!(went_down(&ordered, at(75), true), None);
    assert_eq!(went_down(&ordered, at(75), false), Some(false));
    let rebooted = Observation {
        booted_at: Some(at(76)),
        ..ordered
    };
    assert_eq!(went_down(&rebooted, at(75), true), Some(true));
    let unaware = Observation {
        reported_at: Some(at(76)),
        ..up()
    };
    assert_eq!(
        went_down(&unaware, at(75), true),
        None,
        "the order may still be on its way"
    );
    assert_eq!(
        went_down(&unaware, at(75), false),
        Some(false),
        "it never saw the order"
    );
    let old = Observation {
        reported_at: Some(at(74)),
        ..up()
    };
    assert_eq!(
        went_down(&old, at(75), true),
        None,
        "its heartbeat is from before"
    );
}

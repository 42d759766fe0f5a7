mod elsewhere;
mod foreign;
mod idle;
mod maintenance;
mod property;

use chrono::{TimeDelta, TimeZone};
use lab_model::{HostName, LabId};

use super::*;
use crate::explain::WaitCode;
use crate::operation::OperationId;

/// Minutes after 09:00, when the first reservation of each test starts.
fn at(minutes: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn item(id: &str, status: ReservationStatus, from: i64, to: i64) -> WorkItem {
    let reservation = Reservation {
        id: ReservationId::parse(id).unwrap(),
        lab: LabId::new("7"),
        status,
        starts_at: at(from),
        ends_at: at(to),
    };
    WorkItem {
        reservation,
        start: None,
        end: None,
    }
}

fn confirmed(id: &str, from: i64, to: i64) -> WorkItem {
    item(id, ReservationStatus::Confirmed, from, to)
}

/// Active, and prepared two minutes before its start.
fn active(id: &str, from: i64, to: i64) -> WorkItem {
    let mut item = item(id, ReservationStatus::Active, from, to).started(done(from - 1));
    item.start.as_mut().unwrap().prepare_began_at = Some(at(from - 2));
    item
}

fn operation(item: &WorkItem, kind: OperationKind, state: State) -> Operation {
    Operation {
        id: OperationId(1),
        kind,
        reservation: item.reservation.id.clone(),
        lab: None,
        host: HostName::parse("ws-1").unwrap(),
        state,
        prepare_began_at: None,
        due_at: item.reservation.starts_at - TimeDelta::minutes(2),
        created_at: item.reservation.starts_at,
    }
}

impl WorkItem {
    fn started(mut self, state: State) -> Self {
        self.start = Some(operation(&self, OperationKind::Start, state));
        self
    }

    fn ended(mut self, state: State) -> Self {
        self.end = Some(operation(&self, OperationKind::End, state));
        self
    }

    fn prepared_at(mut self, minutes: i64) -> Self {
        let start = self.start.as_mut().unwrap();
        start.prepare_began_at = Some(at(minutes));
        start.due_at = start.due_at.min(at(minutes));
        self
    }
}

fn done(minutes: i64) -> State {
    State::Done {
        at: at(minutes),
        note: None,
    }
}

fn attention(minutes: i64) -> State {
    State::NeedsAttention {
        step: Some(Step::Prepare),
        at: at(minutes),
        reason: Reason::new("broken", "it broke"),
        tries: 0,
    }
}

fn waiting(step: Step, until: i64) -> State {
    let reason = Reason::new("wake_no_answer", "no answer").at_rung("tcp_port");
    State::Waiting {
        step,
        failed: 1,
        until: at(until),
        reason,
        unknown_since: None,
        failed_at: None,
    }
}

fn postponed_until(until: i64) -> State {
    let reason = Reason::new(close::MOVED, "the reservation was moved");
    State::Waiting {
        step: Step::Activate,
        failed: 0,
        until: at(until),
        reason,
        unknown_since: None,
        failed_at: None,
    }
}

fn running(step: Step, since: i64) -> State {
    State::Running {
        step,
        attempt: 1,
        since: at(since),
        last: None,
    }
}

fn plan(minutes: i64, items: &[WorkItem]) -> HostPlan {
    let settings = Settings::default();
    let facts = HostFacts::with_lead(settings.lead);
    plan_host(at(minutes), &settings, &facts, items)
}

/// What is done now, in few words: `0xa start wake`.
fn acts(minutes: i64, items: &[WorkItem]) -> String {
    shown_act(plan(minutes, items))
}

fn shown_act(plan: HostPlan) -> String {
    let Some(Decision {
        reservation,
        kind,
        act,
    }) = plan.act
    else {
        return "nothing".to_owned();
    };
    let act = match act {
        Act::Run { step, args, note, .. } => {
            let note = note.map(|note| format!(" ({})", note.code)).unwrap_or_default();
            [step.as_str(), &args.join(" ")].join(" ").trim().to_owned() + &note
        }
        Act::Missed(reason) => format!("missed ({})", reason.code),
        Act::Check => "check".to_owned(),
        Act::Absent { reason, .. } => format!("absent ({})", reason.code),
        Act::HandOver { to, reason } => format!("hand over to {to} ({})", reason.code),
        Act::Postpone { reason, .. } => format!("postpone ({})", reason.code),
        Act::Settle(note) => format!("settle ({})", note.code),
        Act::GiveUp(reason) => format!("give up ({})", reason.code),
    };
    format!("{reservation} {} {act}", kind.as_str())
}

fn only_wait(minutes: i64, items: &[WorkItem], id: &str) -> Wait {
    let mut waits = plan(minutes, items).waits;
    waits.retain(|(reservation, _)| reservation.as_str() == id);
    assert_eq!(waits.len(), 1, "{waits:?}");
    waits.remove(0).1
}

#[test]
fn pending_and_completed_reservations_are_ignored() {
    let items = [
        item("a", ReservationStatus::Pending, 0, 60),
        item("b", ReservationStatus::Completed, 0, 60),
    ];
    assert_eq!(plan(0, &items), HostPlan::default());
}

#[test]
fn a_start_is_due_at_its_beginning_minus_the_lead_and_not_before() {
    let items = [confirmed("a", 0, 60)];
    assert_eq!(acts(-3, &items), "nothing");
    assert_eq!(plan(-3, &items).next_at, Some(at(-2)));
    assert_eq!(acts(-2, &items), "a start wake");
    assert_eq!(acts(59, &items), "a start wake");
}

#[test]
fn what_is_over_is_never_started_but_recorded_as_missed() {
    assert_eq!(acts(60, &[confirmed("a", 0, 60)]), "a start missed (missed)");
    assert_eq!(
        acts(3 * 24 * 60, &[confirmed("a", 0, 60)]),
        "a start missed (missed)"
    );
}

#[test]
fn a_start_that_was_given_up_is_not_repeated() {
    assert_eq!(
        plan(0, &[confirmed("a", 0, 60).started(attention(-1))]),
        HostPlan::default()
    );
}

#[test]
fn one_that_was_called_off_and_confirmed_again_is_started_once_more_when_its_end_is_settled() {
    let again = confirmed("a", 0, 60).started(done(-1));
    assert_eq!(acts(0, std::slice::from_ref(&again)), "a start wake");
    let released = again.clone().prepared_at(-1);
    assert_eq!(acts(0, &[released.clone().ended(done(0))]), "a start wake");
    let first = |step| released.clone().ended(State::first(step));
    for open in [first(Step::Release), first(Step::Complete), first(Step::Power)] {
        assert_eq!(acts(0, &[open]), "a end settle (confirmed_again)");
    }
    let under_way = released.ended(State::Running {
        step: Step::Release,
        attempt: 1,
        since: at(-1),
        last: None,
    });
    assert_eq!(acts(0, &[under_way]), "a end check");
    // Handed over once: it was served.
    assert_eq!(plan(60, &[again]), HostPlan::default());
}

#[test]
fn each_step_of_a_start_follows_from_the_stored_state() {
    for step in [Step::Wake, Step::Prepare, Step::Activate] {
        let items = [confirmed("a", 0, 60).started(State::Pending { step, failed: 0 })];
        assert_eq!(acts(-1, &items), format!("a start {}", step.as_str()));
    }
}

#[test]
fn a_failed_start_waits_and_then_begins_with_the_wake_again() {
    let items = [confirmed("a", 0, 60).started(waiting(Step::Prepare, 5))];
    assert_eq!(acts(4, &items), "nothing");
    let wait = only_wait(4, &items, "a");
    assert_eq!((wait.code, wait.until), (WaitCode::Retry, Some(at(5))));
    assert!(wait.detail.contains("at rung tcp_port"), "{}", wait.detail);
    assert_eq!(acts(5, &items), "a start wake");
}

#[test]
fn a_start_found_in_the_middle_is_resumed_by_the_kind_of_its_step() {
    let found = |step| {
        acts(
            0,
            &[confirmed("a", 0, 60).started(running(step, -1)).prepared_at(-1)],
        )
    };
    assert_eq!(found(Step::Wake), "a start wake");
    assert_eq!(found(Step::Prepare), "a start check");
    assert_eq!(found(Step::Activate), "a start activate");
}

#[test]
fn an_activation_whose_outcome_was_not_written_is_repeated() {
    let items = [item("a", ReservationStatus::Active, 0, 60)
        .started(running(Step::Activate, -1))
        .prepared_at(-1)];
    assert_eq!(acts(0, &items), "a start activate");
}

#[test]
fn an_active_reservation_is_released_after_the_delay() {
    let items = [active("a", 0, 60)];
    assert_eq!(acts(60, &items), "nothing");
    assert_eq!(plan(60, &items).next_at, Some(at(61)));
    assert_eq!(acts(61, &items), "a end release --reboot");
}

#[test]
fn a_release_comes_at_once_when_the_next_one_wants_the_host() {
    let items = [active("a", 0, 60), confirmed("b", 60, 120)];
    assert_eq!(acts(59, &items), "nothing");
    assert_eq!(acts(60, &items), "a end release");
    let later = [active("a", 0, 60), confirmed("b", 63, 120)];
    assert_eq!(
        acts(60, &later),
        "nothing",
        "the next one does not want the host within the delay"
    );
}

#[test]
fn the_lead_never_evicts_the_student_whose_hour_it_is() {
    let items = [active("a", 0, 60), confirmed("b", 60, 120)];
    assert_eq!(acts(58, &items), "nothing");
    let wait = only_wait(58, &items, "b");
    assert_eq!((wait.code, wait.until), (WaitCode::HostOccupied, Some(at(60))));
    assert!(wait.detail.contains("reservation a"), "{}", wait.detail);
}

#[test]
fn the_next_one_is_prepared_as_soon_as_the_former_is_released() {
    assert_eq!(
        acts(60, &[active("a", 0, 60).ended(done(60)), confirmed("b", 60, 120)]),
        "b start wake"
    );
}

#[test]
fn a_release_that_failed_holds_nobody_up_once_its_own_window_is_over() {
    let failed = active("a", 0, 60).ended(waiting(Step::Release, 70));
    assert_eq!(acts(61, &[failed, confirmed("b", 60, 120)]), "b start wake");
    let given_up = active("a", 0, 60).ended(attention(61));
    assert_eq!(acts(61, &[given_up, confirmed("b", 60, 120)]), "b start wake");
}

#[test]
fn a_release_found_in_the_middle_is_looked_at_first() {
    assert_eq!(
        acts(61, &[active("a", 0, 60).ended(running(Step::Release, 60))]),
        "a end check"
    );
}

#[test]
fn a_release_is_finished_although_the_reservation_was_extended_meanwhile() {
    let released = active("a", 0, 90).ended(State::first(Step::Complete));
    assert_eq!(acts(61, &[released]), "a end complete");
    let not_yet = active("a", 0, 90).ended(waiting(Step::Release, 62));
    assert_eq!(acts(63, std::slice::from_ref(&not_yet)), "nothing");
    assert_eq!(only_wait(63, &[not_yet], "a").until, Some(at(91)));
}

#[test]
fn a_late_release_never_logs_out_the_next_student() {
    let late = active("a", 0, 60).ended(waiting(Step::Release, 70));
    assert_eq!(
        acts(65, &[late, active("b", 60, 120)]),
        "a end complete (superseded)"
    );
    assert_eq!(
        acts(65, &[active("a", 0, 60), active("b", 60, 120)]),
        "a end complete (superseded)"
    );
}

#[test]
fn a_release_reboots_only_with_time_for_it() {
    for (next, args) in [(60, ""), (65, ""), (66, " --reboot"), (600, " --reboot")] {
        let items = [active("a", 0, 60), confirmed("b", next, next + 60)];
        assert_eq!(
            acts(61, &items),
            format!("a end release{args}").trim_end().to_owned(),
            "next at {next}"
        );
    }
}

#[test]
fn a_cancelled_reservation_is_released_at_once_when_its_host_was_prepared() {
    let mut cancelled = active("a", 0, 60);
    cancelled.reservation.status = ReservationStatus::Cancelled;
    assert_eq!(acts(10, &[cancelled.clone()]), "a end release --reboot");
    assert_eq!(acts(10, &[cancelled.ended(done(10))]), "nothing");
}

#[test]
fn a_start_cancelled_before_prepare_sends_nothing() {
    let cancelled = item("a", ReservationStatus::Cancelled, 0, 60).started(State::first(Step::Prepare));
    assert_eq!(acts(0, &[cancelled]), "a start settle (cancelled)");
    assert_eq!(
        acts(
            0,
            &[item("a", ReservationStatus::Cancelled, 0, 60).started(done(0))]
        ),
        "nothing"
    );
}

#[test]
fn a_start_cancelled_during_prepare_is_settled_and_then_released() {
    let cancelled = item("a", ReservationStatus::Cancelled, 0, 60);
    let open = cancelled
        .clone()
        .started(running(Step::Prepare, -1))
        .prepared_at(-1);
    assert_eq!(acts(0, &[open]), "a start settle (cancelled)");
    let settled = cancelled.started(done(0)).prepared_at(-1);
    assert_eq!(acts(0, &[settled]), "a end release --reboot");
}

#[test]
fn a_start_whose_end_comes_is_given_up_and_released_if_it_was_prepared() {
    let open = confirmed("a", 0, 60).started(waiting(Step::Wake, 61));
    assert_eq!(
        acts(60, std::slice::from_ref(&open)),
        "a start give up (ended_while_starting)"
    );
    let Some(Decision {
        act: Act::GiveUp(reason),
        ..
    }) = plan(60, &[open]).act
    else {
        panic!("not given up")
    };
    assert_eq!(
        reason.rung.as_deref(),
        Some("tcp_port"),
        "the last failure stays readable"
    );
    assert_eq!(
        acts(60, &[confirmed("a", 0, 60).started(attention(60))]),
        "nothing"
    );
    let prepared = confirmed("a", 0, 60).started(attention(60)).prepared_at(-1);
    assert_eq!(acts(60, &[prepared]), "a end release --reboot");
}

#[test]
fn releases_come_before_starts() {
    let items = [confirmed("b", 50, 120), active("a", 0, 60)];
    assert_eq!(acts(61, &items), "a end release");
}

#[test]
fn of_two_overlapping_reservations_the_second_waits_for_the_first() {
    let items = [
        confirmed("a", 0, 60)
            .started(waiting(Step::Prepare, 30))
            .prepared_at(-1),
        confirmed("b", 10, 90),
    ];
    assert_eq!(acts(20, &items), "nothing");
    assert_eq!(only_wait(20, &items, "b").code, WaitCode::HostOccupied);
}

#[test]
fn a_reservation_that_was_moved_away_gives_its_host_free_and_is_prepared_again() {
    let moved = confirmed("a", 600, 660)
        .started(State::first(Step::Activate))
        .prepared_at(-2);
    assert_eq!(acts(0, std::slice::from_ref(&moved)), "a start postpone (moved)");
    assert_eq!(
        acts(0, &[confirmed("b", 0, 60), moved]),
        "a start postpone (moved)"
    );
    let postponed = confirmed("a", 600, 660)
        .started(postponed_until(598))
        .prepared_at(-2);
    assert_eq!(
        acts(0, &[confirmed("b", 0, 60), postponed.clone()]),
        "b start wake"
    );
    assert_eq!(acts(598, &[postponed]), "a start wake");
    let moved_back = confirmed("a", 0, 60)
        .started(postponed_until(598))
        .prepared_at(-2);
    assert_eq!(
        acts(0, &[moved_back]),
        "a start wake",
        "its times decide, not the instant that was noted"
    );
}

#[test]
fn an_open_start_of_a_reservation_that_is_no_longer_confirmed_is_settled() {
    for status in [ReservationStatus::Pending, ReservationStatus::Completed] {
        let items = [item("a", status, 0, 60).started(State::first(Step::Prepare))];
        assert_eq!(acts(0, &items), "a start settle (no_longer_confirmed)");
    }
    let elsewhere = [item("a", ReservationStatus::Active, 0, 60).started(State::first(Step::Prepare))];
    assert_eq!(acts(0, &elsewhere), "a start settle (activated_elsewhere)");
}

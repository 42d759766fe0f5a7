//! When a host is released, and how.

use chrono::{DateTime, Utc};

use super::neighbours::is_idle;
use super::{Act, Need, View, is_absence, is_open, prepare_began_at, retry_wait};
use crate::explain::{Wait, WaitCode};
use crate::instant::later;
use crate::operation::{OperationKind, Step};
use crate::ports::WorkItem;
use crate::reason::Reason;
use crate::reservation::ReservationStatus;
use crate::state::State;

pub(super) fn need(view: &View<'_>, item: &WorkItem) -> Need {
    if is_idle(item) {
        return Need::Nothing;
    }
    let Some(due_at) = due_at(view, item) else {
        return Need::Nothing;
    };
    let state = item
        .end
        .as_ref()
        .map_or(State::first(Step::Release), |end| end.state.clone());
    match state {
        State::Done { .. } | State::NeedsAttention { .. } | State::Foreign { .. } => Need::Nothing,
        // The host was released already: only the reservation's status is left, whatever its times say now.
        State::Pending {
            step: Step::Complete, ..
        }
        | State::Running {
            step: Step::Complete, ..
        } => complete(item, due_at, None),
        _ if due_at > view.now => Need::Wait(Wait::until(
            WaitCode::NotDue,
            due_at,
            "the host is released after the end",
        )),
        State::Pending { .. } | State::Waiting { .. } if view.is_superseded(item) => {
            complete(item, due_at, Some(superseded()))
        }
        state if view.facts.absence().is_some() => without_host(view, item, &state, due_at),
        State::Running { .. } | State::Checking { .. } => Need::now(item, OperationKind::End, Act::Check),
        State::Waiting {
            step,
            until,
            reason,
            unknown_since,
            ..
        } if until > view.now && !is_absence(&reason) => {
            Need::Wait(retry_wait(step, until, &reason, unknown_since.is_some()))
        }
        State::Waiting {
            unknown_since: Some(_),
            ..
        } => Need::now(item, OperationKind::End, Act::Check),
        State::Waiting {
            step: Step::Complete, ..
        } => complete(item, due_at, None),
        State::Pending { .. } | State::Waiting { .. } => release(view, item, due_at),
    }
}

/// When the host has to be released for this reservation; `None` when it does not have to be.
fn due_at(view: &View<'_>, item: &WorkItem) -> Option<DateTime<Utc>> {
    let prepared = prepare_began_at(item).is_some();
    let over = view.is_over(&item.reservation);
    match item.reservation.status {
        ReservationStatus::Active => Some(view.release_due_at(item)),
        ReservationStatus::Cancelled | ReservationStatus::Pending if prepared => Some(view.now),
        ReservationStatus::Confirmed if prepared && over => Some(item.reservation.ends_at),
        // What was begun is finished, also when somebody else has moved the status meanwhile.
        // What may be under way since it was called off is looked at.
        ReservationStatus::Confirmed if !over && !item.is_confirmed_again() => None,
        _ => is_open(item.end.as_ref()).then_some(view.now),
    }
}

/// A release that cannot be carried out waits for the host to come back, or goes to the lab's host.
fn without_host(view: &View<'_>, item: &WorkItem, state: &State, due_at: DateTime<Utc>) -> Need {
    if let Some(need) = view.hand_over(item, OperationKind::End, state) {
        return need;
    }
    view.absent(item, OperationKind::End, state, due_at)
}

/// Whether the host is powered off soon after, so that a reboot would only stand in the way.
fn is_powered_off_soon(view: &View<'_>, item: &WorkItem) -> bool {
    let Some(idle) = &view.settings.idle_power else {
        return false;
    };
    let off_at = later(view.now, idle.after);
    idle.after <= view.facts.lead.saturating_add(view.settings.reboot_margin)
        && view.comes_by(item, later(off_at, idle.look_ahead)).is_none()
}

fn release(view: &View<'_>, item: &WorkItem, due_at: DateTime<Utc>) -> Need {
    // Whoever works at the host would lose what is open there.
    let reboots = view.maintenance().is_none();
    let args = if reboots && view.has_time_for_reboot(item) && !is_powered_off_soon(view, item) {
        vec!["--reboot".to_owned()]
    } else {
        Vec::new()
    };
    Need::now(
        item,
        OperationKind::End,
        Act::Run {
            step: Step::Release,
            args,
            due_at,
            note: None,
        },
    )
}

fn complete(item: &WorkItem, due_at: DateTime<Utc>, note: Option<Reason>) -> Need {
    Need::now(
        item,
        OperationKind::End,
        Act::Run {
            step: Step::Complete,
            args: Vec::new(),
            due_at,
            note,
        },
    )
}

fn superseded() -> Reason {
    Reason::new(
        "superseded",
        "a later reservation has the host already; it was left alone",
    )
}

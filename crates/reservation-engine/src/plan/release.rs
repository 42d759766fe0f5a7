//! When a host is released, and how.

use chrono::{DateTime, Utc};

use super::{Act, Need, View, is_open, prepare_began_at, retry_wait};
use crate::explain::{Wait, WaitCode};
use crate::operation::{OperationKind, Step};
use crate::ports::WorkItem;
use crate::reason::Reason;
use crate::reservation::ReservationStatus;
use crate::state::State;

pub(super) fn need(view: &View<'_>, item: &WorkItem) -> Need {
    let Some(due_at) = due_at(view, item) else {
        return Need::Nothing;
    };
    let state = item
        .end
        .as_ref()
        .map_or(State::first(Step::Release), |end| end.state.clone());
    match state {
        State::Done { .. } | State::NeedsAttention { .. } => Need::Nothing,
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
        State::Running { .. } | State::Checking { .. } => Need::now(item, OperationKind::End, Act::Check),
        State::Pending { .. } | State::Waiting { .. } if view.is_superseded(item) => {
            complete(item, due_at, Some(superseded()))
        }
        State::Waiting {
            step,
            until,
            reason,
            unknown_since,
            ..
        } if until > view.now => Need::Wait(retry_wait(step, until, &reason, unknown_since.is_some())),
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
        ReservationStatus::Cancelled if prepared => Some(view.now),
        ReservationStatus::Confirmed if prepared && over => Some(item.reservation.ends_at),
        // What was begun is finished, also when somebody else has moved the status meanwhile.
        ReservationStatus::Confirmed if !over => None,
        _ => is_open(item.end.as_ref()).then_some(view.now),
    }
}

fn release(view: &View<'_>, item: &WorkItem, due_at: DateTime<Utc>) -> Need {
    let args = if view.has_time_for_reboot(item) {
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

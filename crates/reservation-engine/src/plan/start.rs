//! When a host is woken and prepared.

use chrono::{DateTime, Utc};

use super::close::{MOVED, is_activating};
use super::{Act, Need, View, has_status, is_absence, is_open, retry_wait, state_of};
use crate::explain::{Wait, WaitCode, shown};
use crate::instant::later;
use crate::operation::{OperationKind, Step};
use crate::ports::WorkItem;
use crate::reservation::ReservationStatus;
use crate::state::State;

pub(super) fn need(view: &View<'_>, item: &WorkItem) -> Need {
    if has_status(item, ReservationStatus::Active) && is_open(item.start.as_ref()) && is_activating(item) {
        return run(view, item, Step::Activate);
    }
    if !has_status(item, ReservationStatus::Confirmed) || view.is_over(&item.reservation) {
        return Need::Nothing;
    }
    let state = if !item.is_confirmed_again() {
        state_of(item.start.as_ref())
            .cloned()
            .unwrap_or(State::first(Step::Wake))
    } else if is_open(item.end.as_ref()) {
        // What was ordered when it was called off is settled first.
        return Need::Nothing;
    } else {
        State::first(Step::Wake)
    };
    if state.is_final() {
        return Need::Nothing;
    }
    let due_at = view.start_due_at(&item.reservation);
    if due_at > view.now && !was_due(item, due_at) {
        return Need::Wait(Wait::until(
            WaitCode::NotDue,
            due_at,
            "the host is woken before the start",
        ));
    }
    if let Some(need) = view.hand_over(item, OperationKind::Start, &state) {
        return need;
    }
    if view.facts.absence().is_some() && state.step() != Some(Step::Activate) {
        return view.absent(item, OperationKind::Start, &state, due_at);
    }
    // To look at the host is not to begin anything: an effect that nobody knows is still found out.
    let looks = matches!(
        state,
        State::Running {
            step: Step::Prepare,
            ..
        } | State::Checking { .. }
            | State::Waiting {
                unknown_since: Some(_),
                ..
            }
    );
    if let Some(maintenance) = view.maintenance().filter(|_| !looks) {
        return Need::Wait(maintenance.wait());
    }
    if let Some(occupant) = view.occupant(item) {
        return Need::Wait(occupied(view, occupant));
    }
    match state {
        State::Waiting {
            step, until, reason, ..
        } if until > view.now && reason.code != MOVED && !is_absence(&reason) => {
            Need::Wait(retry_wait(step, until, &reason, false))
        }
        // Each new try begins with the wake: it costs little on a host that is up, and whatever took the host
        // down may have happened at any step.
        State::Waiting {
            unknown_since: None, ..
        } => run(view, item, Step::Wake),
        State::Running {
            step: Step::Prepare, ..
        }
        | State::Checking { .. }
        | State::Waiting { .. } => Need::now(item, OperationKind::Start, Act::Check),
        State::Pending { step, .. } | State::Running { step, .. } => run(view, item, step),
        State::Done { .. } | State::NeedsAttention { .. } | State::Foreign { .. } => Need::Nothing,
    }
}

/// Whether it was due once already and was not moved since. Our clock was set back then, and what was begun goes on:
/// to stop in the middle would leave a host prepared that nobody gets, and prepare it a second time.
fn was_due(item: &WorkItem, due_at: DateTime<Utc>) -> bool {
    let start = item.start.as_ref().filter(|start| !start.state.is_final());
    start.is_some_and(|start| due_at <= start.due_at)
}

fn run(view: &View<'_>, item: &WorkItem, step: Step) -> Need {
    let due_at = view.start_due_at(&item.reservation);
    Need::now(
        item,
        OperationKind::Start,
        Act::Run {
            step,
            args: Vec::new(),
            due_at,
            note: None,
        },
    )
}

fn occupied(view: &View<'_>, occupant: &WorkItem) -> Wait {
    let occupant = &occupant.reservation;
    // What is over is being released now; it is looked at again soon rather than at an instant gone by.
    let until = occupant.ends_at.max(later(view.now, view.settings.busy_retry));
    let detail = format!(
        "the host belongs to reservation {} until {}",
        occupant.id,
        shown(occupant.ends_at)
    );
    Wait::until(WaitCode::HostOccupied, until, detail)
}

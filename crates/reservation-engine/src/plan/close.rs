//! Operations that need nothing more, and reservations that were missed. Nothing here touches a host.

use super::neighbours::begins_anew;
use super::{Act, Need, View, is_open, prepare_began_at, stand_in, state_of};
use crate::explain::shown;
use crate::operation::{OperationKind, Step};
use crate::ports::WorkItem;
use crate::reason::Reason;
use crate::reservation::ReservationStatus;
use crate::state::State;

/// The reason of a start that waits because its reservation was moved. The reservation's times decide, not the
/// instant that was noted: it may be moved again.
pub(super) const MOVED: &str = "moved";

pub(super) fn need(view: &View<'_>, item: &WorkItem) -> Need {
    let over = view.is_over(&item.reservation);
    let open = is_open(item.start.as_ref());
    let act = match item.reservation.status {
        ReservationStatus::Cancelled if open => {
            Act::Settle(Reason::new("cancelled", "the reservation was cancelled"))
        }
        ReservationStatus::Pending | ReservationStatus::Completed if open => Act::Settle(Reason::new(
            "no_longer_confirmed",
            format!("the reservation is {} now", item.reservation.status.as_str()),
        )),
        // Our own activation whose outcome is not written yet is repeated; the start rules do that.
        ReservationStatus::Active if open && !is_activating(item) => Act::Settle(Reason::new(
            "activated_elsewhere",
            "somebody else made the reservation active",
        )),
        ReservationStatus::Confirmed if over && open && (is_untried(item) || never_had_a_host(item)) => {
            Act::GiveUp(missed(view, item))
        }
        ReservationStatus::Confirmed if over && open => Act::GiveUp(ended_while_starting(view, item)),
        ReservationStatus::Confirmed if over && is_missed(item) => Act::Missed(missed(view, item)),
        ReservationStatus::Confirmed if !over => match moved_away(view, item) {
            Some(act) => act,
            None => return call_back(item),
        },
        _ => return Need::Nothing,
    };
    Need::now(item, OperationKind::Start, act)
}

pub(super) fn is_activating(item: &WorkItem) -> bool {
    state_of(item.start.as_ref()).and_then(State::step) == Some(Step::Activate)
}

/// A host that is prepared for a reservation which was then moved into the future is free until that is due.
fn moved_away(view: &View<'_>, item: &WorkItem) -> Option<Act> {
    let until = view.start_due_at(&item.reservation);
    let start = item.start.as_ref()?;
    let State::Pending {
        step: Step::Activate, ..
    } = start.state
    else {
        return None;
    };
    let reason = Reason::new(MOVED, "the reservation was moved after its host was prepared");
    // What is due no later than it was when it was begun was not moved: our clock was set back.
    (until > view.now && until > start.due_at).then_some(Act::Postpone { until, reason })
}

/// An end that was opened when the reservation was called off is not what it needs now: the host is prepared anew. What
/// may be under way on the host is looked at before that.
fn call_back(item: &WorkItem) -> Need {
    let end = item.end.as_ref().filter(|_| item.is_confirmed_again());
    let settled = match end.map(|end| &end.state) {
        Some(
            State::Pending { .. }
            | State::Waiting {
                unknown_since: None, ..
            },
        ) => true,
        Some(state) => !state.is_final() && state.step() == Some(Step::Complete),
        None => false,
    };
    if !settled {
        return Need::Nothing;
    }
    let note = Reason::new("confirmed_again", "the reservation was confirmed again");
    Need::now(item, OperationKind::End, Act::Settle(note))
}

/// Whether its start was opened, and no more.
fn is_untried(item: &WorkItem) -> bool {
    item.start
        .as_ref()
        .is_some_and(|start| start.state == State::first(Step::Wake))
}

/// Whether nothing was done for it as it was confirmed last. One that had its host until its end was not missed.
fn is_missed(item: &WorkItem) -> bool {
    let called_off = matches!(
        state_of(item.start.as_ref()),
        Some(State::Done { note: Some(_), .. })
    );
    let end = item.end.as_ref();
    let early = end.is_some_and(|end| end.created_at < item.reservation.ends_at);
    (item.start.is_none() && end.is_none()) || ((called_off || early) && begins_anew(item))
}

fn missed(view: &View<'_>, item: &WorkItem) -> Reason {
    let ended = shown(item.reservation.ends_at);
    let mut detail = format!("the reservation ended at {ended} before anything was done for it");
    if never_had_a_host(item) {
        detail.push_str("; no host serves the lab");
    }
    if let Some(maintenance) = view.maintenance() {
        detail = format!("{detail}; {maintenance}");
    }
    Reason::new("missed", detail)
}

/// Whether all that was done is to have said that no host serves the lab.
fn never_had_a_host(item: &WorkItem) -> bool {
    let start = item.start.as_ref();
    start.is_some_and(|start| stand_in().as_ref() == Some(&start.host))
}

/// Keeps the rung and the words of the last failure, which is what the operator wants to know.
fn ended_while_starting(view: &View<'_>, item: &WorkItem) -> Reason {
    let prepared = if prepare_began_at(item).is_some() {
        "the host is released"
    } else {
        "nothing was prepared"
    };
    let ended = shown(item.reservation.ends_at);
    let mut detail = format!("the reservation ended at {ended} while it was being started; {prepared}");
    let mut rung = None;
    if let Some(State::Waiting { reason, .. }) = state_of(item.start.as_ref()) {
        detail = format!("{detail}; last failure: {reason}");
        rung.clone_from(&reason.rung);
    }
    if let Some(maintenance) = view.maintenance() {
        detail = format!("{detail}; {maintenance}");
    }
    Reason {
        rung,
        ..Reason::new("ended_while_starting", detail)
    }
}

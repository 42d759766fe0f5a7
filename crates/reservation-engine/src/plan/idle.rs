//! When a host that nobody needs is taken down, and how hard.
//!
//! A released reservation whose end operation stays open at [`Step::Power`] carries the power action of its host;
//! `due_at` of the operation says when. Softly first; by force only where that is configured and the soft order was
//! seen not to have worked.

use chrono::{DateTime, Utc};

use super::neighbours::{has_host, is_idle};
use super::{Act, Need, View, retry_wait};
use crate::check::is_since;
use crate::explain::{Wait, WaitCode, shown};
use crate::instant::later;
use crate::operation::{Operation, OperationKind, Step};
use crate::ports::{Observation, WorkItem};
use crate::reason::Reason;
use crate::settings::IdlePower;
use crate::state::State;

/// The reason of a try after which the host is still up although it took the order.
pub(crate) const STILL_UP: &str = "still_up";

pub(super) fn need(view: &View<'_>, item: &WorkItem) -> Need {
    let Some(end) = item.end.as_ref().filter(|_| is_idle(item)) else {
        return Need::Nothing;
    };
    let settle = |code: &str, detail: String| {
        Need::now(item, OperationKind::End, Act::Settle(Reason::new(code, detail)))
    };
    let Some(idle) = &view.settings.idle_power else {
        return settle(
            "not_configured",
            "the host is left on: no power action is configured".to_owned(),
        );
    };
    if view.facts.absence().is_some() {
        return settle(
            "host_removed",
            "the host is left on: it is not in the catalog any more".to_owned(),
        );
    }
    if let Some(other) = view.others(item).find(|other| has_host(other)) {
        let id = &other.reservation.id;
        return settle(
            "host_needed",
            format!("the host is left on: reservation {id} has it"),
        );
    }
    if let Some(other) = view.later_idle(item, end) {
        let id = &other.reservation.id;
        return settle(
            "superseded",
            format!("reservation {id} ended later and carries the power action"),
        );
    }
    match &end.state {
        State::Running { .. } | State::Checking { .. } => Need::now(item, OperationKind::End, Act::Check),
        State::Waiting {
            step,
            until,
            reason,
            unknown_since,
            ..
        } if *until > view.now => Need::Wait(retry_wait(*step, *until, reason, unknown_since.is_some())),
        State::Waiting {
            unknown_since: Some(_),
            ..
        } => Need::now(item, OperationKind::End, Act::Check),
        state => order(view, item, end, idle, state),
    }
}

fn order(view: &View<'_>, item: &WorkItem, end: &Operation, idle: &IdlePower, state: &State) -> Need {
    if end.due_at > view.now {
        let detail = format!(
            "the host is taken down ({}) when nobody needs it until then",
            idle.mode.as_str()
        );
        return Need::Wait(Wait::until(WaitCode::HostIdle, end.due_at, detail));
    }
    if let Some(maintenance) = view.maintenance() {
        return Need::Wait(maintenance.wait());
    }
    // Whoever comes soon would find the host going down, or just gone.
    if let Some(other) = view.comes_by(item, later(view.now, idle.look_ahead)) {
        let (id, starts_at) = (&other.reservation.id, other.reservation.starts_at);
        // It is looked at again when that one has begun, or should have.
        let until = starts_at.max(later(view.now, view.settings.busy_retry));
        let detail = format!("the host stays on for reservation {id} at {}", shown(starts_at));
        return Need::Wait(Wait::until(WaitCode::HostWanted, until, detail));
    }
    let unsuccessful = matches!(state, State::Waiting { reason, .. } if reason.code == STILL_UP);
    // `--no-force` lets programs with unsaved work hold it up.
    let args = if unsuccessful && idle.force {
        Vec::new()
    } else {
        vec!["--no-force".to_owned()]
    };
    let act = Act::Run {
        step: Step::Power,
        args,
        due_at: end.due_at,
        note: None,
    };
    Need::now(item, OperationKind::End, act)
}

/// What a look at an idle host showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody works there.
    Free,
    /// It is left as it is.
    Leave(Reason),
    /// It cannot be looked at.
    Unclear(Reason),
}

/// Says whether a host that was released at `completed_at` may be taken down.
pub(crate) fn judge(seen: &Observation, completed_at: DateTime<Utc>) -> Standing {
    let leave = |code: &str, detail: &str| Standing::Leave(Reason::new(code, detail));
    if seen.off {
        return leave("already_off", "the host is off already");
    }
    if !seen.reachable {
        let detail = "the host does not answer, so that nobody knows who works there";
        return Standing::Unclear(Reason::new("host_silent", detail));
    }
    let prepared_again = seen
        .prepared_at
        .is_some_and(|at| at > completed_at && seen.released_at.is_none_or(|released| released < at));
    if seen.local_mode == Some(true) {
        leave(
            "local_mode",
            "the station is in local mode: somebody works at the host",
        )
    } else if seen.local_session == Some(true) {
        leave("local_session", "somebody is logged on at the host")
    } else if prepared_again {
        leave(
            "prepared_since",
            "somebody else had the host prepared after its last release",
        )
    } else {
        Standing::Free
    }
}

/// Whether a host that was ordered down at `since` went down; `None` when that cannot be said yet. `in_time` says that
/// it may still be on its way.
pub(crate) fn went_down(seen: &Observation, since: DateTime<Utc>, in_time: bool) -> Option<bool> {
    let rebooted = seen.booted_at.is_some_and(|at| at > since);
    if seen.off || rebooted {
        return Some(true);
    }
    let ordered = is_since(seen.power_action_at, since);
    let says = seen.reachable && (ordered || seen.reported_at.is_some_and(|at| at > since));
    // An order whose answer was lost may still be on its way: a host that shows nothing of it yet says nothing.
    (says && !in_time).then_some(false)
}

impl View<'_> {
    /// Another reservation whose preparation is due by an instant.
    pub(super) fn comes_by<'a>(&'a self, item: &'a WorkItem, by: DateTime<Utc>) -> Option<&'a WorkItem> {
        self.others(item)
            .find(|other| self.will_start(other) && self.start_due_at(&other.reservation) <= by)
    }

    /// Another one that carries the host's power action, and ended later.
    fn later_idle<'a>(&'a self, item: &'a WorkItem, end: &Operation) -> Option<&'a WorkItem> {
        let key = |item: &WorkItem, end: &Operation| (end.due_at, item.reservation.id.clone());
        let ours = key(item, end);
        self.others(item).find(|other| {
            let theirs = other.end.as_ref().filter(|_| is_idle(other));
            theirs.is_some_and(|theirs| key(other, theirs) > ours)
        })
    }
}

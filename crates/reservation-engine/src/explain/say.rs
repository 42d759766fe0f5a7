//! From what is stored to an explanation. Pure: the same rules as the plan's, asked for one reservation.

use chrono::{DateTime, Utc};
use lab_model::HostName;

use super::answer::{
    ClaimView, Explanation, HostExplanation, LastFailure, LeadView, Next, NextStep, OperationView,
};
use super::{Wait, WaitCode, shown};
use crate::flow::operation_of;
use crate::lead::Lead;
use crate::maintenance::Maintenance;
use crate::operation::{Operation, OperationKind, Step};
use crate::plan::{Act, Need, Placed, Presence, outlook, plan_host};
use crate::ports::{ClaimInfo, WorkItem};
use crate::reservation::ReservationStatus;
use crate::settings::Settings;
use crate::state::State;

/// All that an explanation follows from.
pub(crate) struct Scene<'a> {
    pub(crate) now: DateTime<Utc>,
    pub(crate) settings: &'a Settings,
    pub(crate) host: &'a HostName,
    pub(crate) placed: &'a Placed,
    pub(crate) claim: Option<&'a ClaimInfo>,
    /// What this process itself waits for on the host.
    pub(crate) local: Option<Wait>,
    pub(crate) lead: Lead,
}

impl Scene<'_> {
    fn maintenance(&self) -> Option<&Maintenance> {
        let one = self.placed.facts.maintenance.as_ref();
        one.filter(|one| one.is_in_force(self.now))
    }
}

/// Explains one reservation of the scene's host.
pub(crate) fn explain(scene: &Scene<'_>, item: &WorkItem) -> Explanation {
    let somewhere = scene.placed.facts.presence != Presence::Nowhere;
    let (next, wait) = next_of(scene, item);
    let operations: Vec<&Operation> = item.start.iter().chain(&item.end).collect();
    let last_failure = operations
        .iter()
        .rev()
        .find_map(|operation| LastFailure::of(&operation.state));
    let reservation = &item.reservation;
    let mut explanation = Explanation {
        at: scene.now,
        reservation_id: reservation.id.clone(),
        lab_id: reservation.lab.clone(),
        status: reservation.status,
        starts_at: reservation.starts_at,
        ends_at: reservation.ends_at,
        host: somewhere.then(|| scene.host.clone()),
        summary: String::new(),
        next,
        wait,
        last_failure,
        operations: operations.into_iter().map(OperationView::from).collect(),
        claim: scene.claim.cloned().map(ClaimView::from).filter(|_| somewhere),
        maintenance: scene.maintenance().cloned(),
        lead: somewhere.then(|| LeadView::from(scene.lead)),
    };
    explanation.summary = summary(&explanation);
    explanation
}

/// Explains the scene's host.
pub(super) fn explain_host(scene: &Scene<'_>) -> HostExplanation {
    let mut items: Vec<&WorkItem> = scene.placed.items.iter().collect();
    items.sort_by_key(|item| (item.reservation.starts_at, item.reservation.id.clone()));
    let reservations: Vec<Explanation> = items.into_iter().map(|item| explain(scene, item)).collect();
    let plan = plan_host(
        scene.now,
        scene.settings,
        &scene.placed.facts,
        &scene.placed.items,
    );
    // What is decided now comes before whatever becomes due first.
    let decided = plan.act.map(|decision| decision.reservation);
    let first = match &decided {
        Some(id) => reservations.iter().find(|one| one.reservation_id == *id),
        None => reservations
            .iter()
            .filter(|one| one.next.as_ref().is_some_and(|next| next.at.is_some()))
            .min_by_key(|one| one.next.as_ref().and_then(|next| next.at)),
    };
    let next = first.and_then(|one| one.next.clone());
    let next_for = first.map(|one| one.reservation_id.clone());
    let mut summary = match first {
        Some(first) => format!("reservation {}: {}", first.reservation_id, first.summary),
        None => "nothing is planned".to_owned(),
    };
    if let Some(maintenance) = scene.maintenance() {
        summary = format!("{maintenance}; {summary}");
    }
    if let Some(claim) = scene.claim {
        summary = format!("{} is at work on it; {summary}", claim.holder);
    }
    HostExplanation {
        at: scene.now,
        host: scene.host.clone(),
        presence: scene.placed.facts.presence,
        summary,
        next,
        next_for,
        claim: scene.claim.cloned().map(ClaimView::from),
        maintenance: scene.maintenance().cloned(),
        lead: LeadView::from(scene.lead),
        reservations,
    }
}

fn next_of(scene: &Scene<'_>, item: &WorkItem) -> (Option<Next>, Option<Wait>) {
    let Placed { items, facts } = scene.placed;
    match outlook(scene.now, scene.settings, facts, items, &item.reservation.id) {
        Need::Nothing => (None, None),
        Need::Now(decision) => {
            let at = due_at(&decision.act).unwrap_or(scene.now);
            let next = Next {
                what: step_of(&decision.act),
                at: Some(at),
            };
            if let Some(doing) = doing(scene, item, decision.kind) {
                return doing;
            }
            // Due, and somebody has the host for something else.
            let busy = |claim: &ClaimInfo| {
                let detail = format!("{} is at work on the host", claim.holder);
                Wait::open(WaitCode::HostBusy, detail)
            };
            let wait = scene.local.clone().or_else(|| scene.claim.map(busy));
            (Some(next), wait)
        }
        Need::Wait(wait) => {
            if let Some(told) = maintained(scene, item, &wait) {
                return told;
            }
            let next = Next {
                what: after(&wait, item),
                at: wait.until,
            };
            (Some(next), Some(wait))
        }
    }
}

/// What is being done for a reservation at this moment, if anything is.
fn doing(scene: &Scene<'_>, item: &WorkItem, kind: OperationKind) -> Option<(Option<Next>, Option<Wait>)> {
    let (next, wait) = under_way(operation_of(item, kind)?, scene.claim?)?;
    Some((Some(next), Some(wait)))
}

/// A step whose intent is written and whose outcome is not, while somebody holds the host.
pub(super) fn under_way(operation: &Operation, claim: &ClaimInfo) -> Option<(Next, Wait)> {
    let (what, mut detail, since) = match &operation.state {
        State::Running {
            step, attempt, since, ..
        } => {
            let detail = format!(
                "{}, attempt {attempt}, since {}",
                doing_word(*step),
                shown(*since)
            );
            ((*step).into(), detail, *since)
        }
        State::Checking { step, since, .. } => {
            let detail = format!(
                "looking at the host, because nobody knows whether the {} of {} took effect",
                step.as_str(),
                shown(*since)
            );
            (NextStep::Check, detail, *since)
        }
        _ => return None,
    };
    detail = format!("{detail}, by {}", claim.holder);
    if let State::Running { last: Some(last), .. } = &operation.state {
        detail = format!("{detail}; the last answer was: {}", last.reason);
    }
    let next = Next {
        what,
        at: Some(since),
    };
    Some((next, Wait::open(WaitCode::UnderWay, detail)))
}

fn doing_word(step: Step) -> &'static str {
    match step {
        Step::Wake => "waking",
        Step::Prepare => "preparing",
        Step::Activate => "making it ACTIVE",
        Step::Release => "releasing",
        Step::Power => "taking the host down",
        Step::Complete => "making it COMPLETED",
    }
}

/// What comes of a start that waits for its instant or for the engineer, if he stays beyond that instant: the wake comes
/// when he is done, and never if that is after the end.
fn maintained(scene: &Scene<'_>, item: &WorkItem, wait: &Wait) -> Option<(Option<Next>, Option<Wait>)> {
    let reservation = &item.reservation;
    let starts = reservation.status == ReservationStatus::Confirmed;
    // Where another host is free, it goes there when it is due.
    let leaves = scene.placed.facts.spares.contains_key(&reservation.id);
    let waits = match wait.code {
        WaitCode::Maintenance => true,
        WaitCode::NotDue => !leaves,
        _ => false,
    };
    let maintenance = scene.maintenance().filter(|_| starts && waits)?;
    if let (WaitCode::NotDue, Some(until)) = (wait.code, maintenance.until)
        && wait.until.is_some_and(|due_at| until <= due_at)
    {
        return None;
    }
    let ends_at = reservation.ends_at;
    let (what, at) = match maintenance.until {
        Some(until) if until < ends_at => {
            let next = Next {
                what: own_step(item),
                at: Some(until),
            };
            return Some((Some(next), Some(maintenance.wait())));
        }
        Some(_) => (NextStep::Close, Some(ends_at)),
        None => (own_step(item), None),
    };
    let detail = format!(
        "{maintenance}; it will be missed unless the maintenance ends before {}",
        shown(ends_at)
    );
    let wait = Wait {
        code: WaitCode::Maintenance,
        detail,
        until: at,
    };
    Some((Some(Next { what, at }), Some(wait)))
}

fn due_at(act: &Act) -> Option<DateTime<Utc>> {
    match act {
        Act::Run { due_at, .. } | Act::Absent { due_at, .. } => Some(*due_at),
        Act::Missed(_)
        | Act::Check
        | Act::HandOver { .. }
        | Act::Postpone { .. }
        | Act::Settle(_)
        | Act::GiveUp(_) => None,
    }
}

fn step_of(act: &Act) -> NextStep {
    match act {
        Act::Run { step, .. } => (*step).into(),
        Act::Check => NextStep::Check,
        Act::Absent { .. } => NextStep::FindHost,
        Act::HandOver { .. } => NextStep::HandOver,
        Act::Postpone { .. } => NextStep::Postpone,
        Act::Missed(_) | Act::Settle(_) | Act::GiveUp(_) => NextStep::Close,
    }
}

/// What comes when a wait is over.
fn after(wait: &Wait, item: &WorkItem) -> NextStep {
    match wait.code {
        WaitCode::NoHost | WaitCode::HostRemoved => NextStep::FindHost,
        WaitCode::EffectUnknown => NextStep::Check,
        WaitCode::HostIdle | WaitCode::HostWanted => NextStep::Power,
        WaitCode::NotDue
        | WaitCode::Retry
        | WaitCode::HostOccupied
        | WaitCode::HostBusy
        | WaitCode::UnderWay
        | WaitCode::Paced
        | WaitCode::Maintenance
        | WaitCode::NewerRelease
        | WaitCode::StoreTrouble => own_step(item),
    }
}

/// The step with which a reservation's operation begins or goes on.
fn own_step(item: &WorkItem) -> NextStep {
    let ends = item.reservation.status != ReservationStatus::Confirmed;
    let operation = if ends {
        item.end.as_ref()
    } else {
        item.start.as_ref()
    };
    let first = if ends { Step::Release } else { Step::Wake };
    let step = match operation.map(|operation| &operation.state) {
        Some(State::Pending { step, .. } | State::Running { step, .. }) => *step,
        // A start begins with the wake again, an end where it stopped.
        Some(State::Waiting { step, .. }) if ends => *step,
        _ => first,
    };
    step.into()
}

fn summary(explanation: &Explanation) -> String {
    let mut line = match (&explanation.next, &explanation.wait) {
        // That is not what comes next, but what goes on.
        (Some(_), Some(wait)) if wait.code == WaitCode::UnderWay && is_begun(explanation) => wait.to_string(),
        (Some(next), Some(wait)) => format!("next: {}; {wait}", next.what.as_str()),
        (Some(next), None) => match next.at {
            Some(at) => format!("next: {}, due since {}", next.what.as_str(), shown(at)),
            None => format!("next: {}", next.what.as_str()),
        },
        (None, _) => nothing(explanation),
    };
    let failure = explanation.last_failure.as_ref();
    // A wait for the next try says already why the last one failed.
    let said = explanation
        .wait
        .as_ref()
        .is_some_and(|wait| wait.code != WaitCode::NotDue);
    if let Some(failure) = failure.filter(|failure| !said && !failure.gave_up) {
        line = format!("{line}; last failure: {} ({})", failure.detail, failure.code);
    }
    line
}

/// Whether one of its steps is under way, or was when somebody died.
fn is_begun(explanation: &Explanation) -> bool {
    let mut states = explanation.operations.iter().map(|operation| operation.state);
    states.any(|state| matches!(state, "running" | "checking"))
}

fn nothing(explanation: &Explanation) -> String {
    if let Some(failure) = explanation
        .last_failure
        .as_ref()
        .filter(|failure| failure.gave_up)
    {
        let rung = failure
            .rung
            .as_ref()
            .map(|rung| format!(" at rung {rung}"))
            .unwrap_or_default();
        return format!("needs attention: {} ({}{rung})", failure.detail, failure.code);
    }
    match explanation.status {
        ReservationStatus::Pending => "ignored until it is confirmed".to_owned(),
        ReservationStatus::Completed => "over: the host was released".to_owned(),
        ReservationStatus::Cancelled => "cancelled: nothing is left to do".to_owned(),
        ReservationStatus::Confirmed | ReservationStatus::Active => "nothing is planned".to_owned(),
    }
}

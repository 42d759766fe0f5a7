//! What one host needs next: a pure function of the stored reservations and operations and the time.
//!
//! It has no memory, so an outage of any length heals by itself: whatever is true in the store when it is asked is
//! all that counts. The rules are in four files, in the order in which they are asked:
//!
//! 1. [`close`](mod@close): operations that need nothing more are closed, and what was missed is said. No effect.
//! 2. [`release`](mod@release): whoever has to leave the host leaves first.
//! 3. [`start`](mod@start): then the next one is prepared.
//! 4. [`idle`](mod@idle): a host that nobody needs is taken down, if that is configured.
//!
//! On a host in maintenance nothing is begun: starts and power orders wait, releases go on without a reboot.
//!
//! Rules that look at two reservations of a host at once are in [`neighbours`](mod@neighbours). Those to which a newer
//! release sees are set apart in [`foreign`](mod@foreign). What else is known of
//! the host is in [`facts`](mod@facts), where each reservation is served in [`place`](mod@place).

mod close;
mod elsewhere;
mod facts;
mod foreign;
mod idle;
mod neighbours;
mod place;
mod release;
mod start;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};

use crate::explain::Wait;
use crate::maintenance::Maintenance;
use crate::operation::{Operation, OperationKind, Step};
use crate::ports::WorkItem;
use crate::reason::Reason;
use crate::reservation::{Reservation, ReservationStatus};
use crate::settings::Settings;
use crate::state::State;

pub(crate) use facts::{HOST_REMOVED, NO_HOST, is_absence};
pub use facts::{HostFacts, Presence, Spare};
pub(crate) use idle::{STILL_UP, Standing, judge as judge_idle, went_down};
pub(crate) use place::{Placed, Placement, begun_on, place, presence, stand_in};

/// What one host needs now, and what its reservations wait for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostPlan {
    /// What to do now; `None` when nothing is due. Never more than one thing per host at a time.
    pub act: Option<Decision>,
    /// When something becomes due, if nothing else changes.
    pub next_at: Option<DateTime<Utc>>,
    /// What each reservation that waits waits for.
    pub waits: Vec<(ReservationId, Wait)>,
}

/// One thing to do for one reservation.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// For whom.
    pub reservation: ReservationId,
    /// Start or end.
    pub kind: OperationKind,
    /// What.
    pub act: Act,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// The reservation was over before anything was done for it: that is recorded, and nothing else happens.
    Missed(Reason),
    /// A step is carried out, under an operation that is opened if there is none.
    Run {
        /// Which.
        step: Step,
        /// What follows the command word, for a release; what follows the mode, for power.
        args: Vec<String>,
        /// When the work became due.
        due_at: DateTime<Utc>,
        /// Why steps before this one are left out, if they are.
        note: Option<Reason>,
    },
    /// The host is looked at, because nobody knows whether a step took effect.
    Check,
    /// There is no host to act on: that is recorded once, and looked at again in growing waits.
    Absent {
        /// Why.
        reason: Reason,
        /// When the work became due.
        due_at: DateTime<Utc>,
    },
    /// The operation goes on, from its first step, on another host.
    HandOver {
        /// Where.
        to: HostName,
        /// Why.
        reason: Reason,
    },
    /// What was prepared is prepared again when the reservation, which was moved, is due.
    Postpone {
        /// When.
        until: DateTime<Utc>,
        /// Why.
        reason: Reason,
    },
    /// The operation is closed: nothing more is needed.
    Settle(Reason),
    /// The operation is closed without success.
    GiveUp(Reason),
}

/// What one rule says about one of a host's reservations, whatever the others need at the same moment.
pub(crate) enum Need {
    Nothing,
    Now(Decision),
    Wait(Wait),
}

impl Need {
    fn now(item: &WorkItem, kind: OperationKind, act: Act) -> Self {
        Self::Now(Decision {
            reservation: item.reservation.id.clone(),
            kind,
            act,
        })
    }
}

/// A host's reservations at one instant, as the rules see them.
struct View<'a> {
    now: DateTime<Utc>,
    settings: &'a Settings,
    facts: &'a HostFacts,
    items: Vec<&'a WorkItem>,
}

/// Says what a host needs. `items` are all reservations known for it; those of other hosts must not be among them.
#[must_use]
pub fn plan_host(now: DateTime<Utc>, settings: &Settings, facts: &HostFacts, items: &[WorkItem]) -> HostPlan {
    let mut items: Vec<&WorkItem> = items.iter().collect();
    items.sort_by(|a, b| neighbours::order(a, b));
    let view = View {
        now,
        settings,
        facts,
        items,
    };
    let mut plan = HostPlan::default();
    let mut ours = Vec::with_capacity(view.items.len());
    for item in &view.items {
        match foreign::need(item) {
            Some(need) => plan.take(item, need),
            None => ours.push(*item),
        }
    }
    for rule in RULES {
        for item in &ours {
            plan.take(item, rule(&view, item));
        }
    }
    plan
}

/// Says what comes for one reservation of a host, by the rules of [`plan_host`].
pub(crate) fn outlook(
    now: DateTime<Utc>,
    settings: &Settings,
    facts: &HostFacts,
    items: &[WorkItem],
    id: &ReservationId,
) -> Need {
    let items = items.iter().collect();
    let view = View {
        now,
        settings,
        facts,
        items,
    };
    let Some(item) = view.items.iter().find(|item| item.reservation.id == *id) else {
        return Need::Nothing;
    };
    if let Some(need) = foreign::need(item) {
        return need;
    }
    for rule in RULES {
        match rule(&view, item) {
            Need::Nothing => {}
            need => return need,
        }
    }
    Need::Nothing
}

/// In the order in which they are asked.
const RULES: [fn(&View<'_>, &WorkItem) -> Need; 4] = [close::need, release::need, start::need, idle::need];

impl HostPlan {
    fn take(&mut self, item: &WorkItem, need: Need) {
        match need {
            Need::Nothing => {}
            Need::Now(decision) => self.act = self.act.take().or(Some(decision)),
            Need::Wait(wait) => {
                self.next_at = soonest(self.next_at, wait.until);
                self.waits.push((item.reservation.id.clone(), wait));
            }
        }
    }
}

/// The earlier of two instants that may be missing.
pub(crate) fn soonest(a: Option<DateTime<Utc>>, b: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

impl View<'_> {
    fn is_over(&self, reservation: &Reservation) -> bool {
        #[cfg(feature = "mutants")]
        if self.settings.has(crate::Mutant::ForgetEndCheck) {
            return false;
        }
        reservation.ends_at <= self.now
    }

    /// Who works at the host now, if somebody does.
    fn maintenance(&self) -> Option<&Maintenance> {
        #[cfg(feature = "mutants")]
        if self.settings.has(crate::Mutant::ForgetMaintenance) {
            return None;
        }
        let one = self.facts.maintenance.as_ref();
        one.filter(|one| one.is_in_force(self.now))
    }

    fn start_due_at(&self, reservation: &Reservation) -> DateTime<Utc> {
        crate::instant::earlier(reservation.starts_at, self.facts.lead)
    }
}

fn is_open(operation: Option<&Operation>) -> bool {
    operation.is_some_and(|operation| !operation.state.is_final())
}

fn is_final(operation: Option<&Operation>) -> bool {
    operation.is_some_and(|operation| operation.state.is_final())
}

/// When a prepare was first about to be sent for this reservation: from then on the host needs a release.
fn prepare_began_at(item: &WorkItem) -> Option<DateTime<Utc>> {
    item.start.as_ref().and_then(|start| start.prepare_began_at)
}

fn has_status(item: &WorkItem, status: ReservationStatus) -> bool {
    item.reservation.status == status
}

/// What a wait for the next try of an operation reads like.
fn retry_wait(step: Step, until: DateTime<Utc>, reason: &Reason, unknown: bool) -> Wait {
    let code = match reason.code.as_str() {
        HOST_REMOVED => crate::explain::WaitCode::HostRemoved,
        NO_HOST => crate::explain::WaitCode::NoHost,
        _ if unknown => crate::explain::WaitCode::EffectUnknown,
        _ => crate::explain::WaitCode::Retry,
    };
    if is_absence(reason) {
        return Wait::until(code, until, reason.detail.clone());
    }
    Wait::until(code, until, format!("{} failed: {reason}", step.as_str()))
}

fn state_of(operation: Option<&Operation>) -> Option<&State> {
    operation.map(|operation| &operation.state)
}

#[cfg(test)]
mod tests;

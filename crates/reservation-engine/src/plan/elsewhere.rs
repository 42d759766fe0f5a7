//! Reservations whose host cannot serve them: they go to another one, or wait until there is one.

use chrono::{DateTime, Utc};

use super::{Act, Need, View, is_absence, is_open, prepare_began_at, retry_wait};
use crate::operation::{Operation, OperationKind, Step};
use crate::plan::facts::{HOST_REMOVED, MAINTENANCE, Presence, Spare};
use crate::ports::WorkItem;
use crate::reason::Reason;
use crate::state::State;

impl View<'_> {
    /// What was begun goes on on another host, if there is a reason to leave this one and a host to go to.
    pub(super) fn hand_over(&self, item: &WorkItem, kind: OperationKind, state: &State) -> Option<Need> {
        let spare = self.facts.spares.get(&item.reservation.id)?;
        let begun = match kind {
            OperationKind::Start => item.start.as_ref(),
            _ => item.end.as_ref(),
        };
        let begun = begun.filter(|_| is_open(begun))?;
        let reason = self.why_elsewhere(item, begun, state, spare)?;
        let to = spare.host.clone();
        Some(Need::now(item, kind, Act::HandOver { to, reason }))
    }

    fn why_elsewhere(
        &self,
        item: &WorkItem,
        begun: &Operation,
        state: &State,
        spare: &Spare,
    ) -> Option<Reason> {
        if self.facts.presence == Presence::Nowhere {
            return Some(Reason::new("host_found", "a host serves the lab now"));
        }
        // From the first intent to prepare on the student's desk is there, and the host owes a release.
        if begun.kind != OperationKind::Start || prepare_began_at(item).is_some() {
            return None;
        }
        if self.facts.presence == Presence::Removed {
            return Some(Reason::new(HOST_REMOVED, "the host was removed from the catalog"));
        }
        let movable = match state {
            State::Waiting { unknown_since, .. } => unknown_since.is_none(),
            State::Pending { .. } => true,
            _ => false,
        };
        if let Some(maintenance) = self.maintenance().filter(|_| movable) {
            return Some(Reason::new(MAINTENANCE, maintenance.to_string()));
        }
        match state {
            // Each host of the lab is tried once without a pause; then the waits grow.
            State::Waiting {
                step: Step::Wake,
                failed,
                until,
                reason,
                unknown_since: None,
                ..
            } if *failed < spare.of || *until <= self.now => Some(Reason {
                rung: reason.rung.clone(),
                ..Reason::new("wake_failed", format!("the host could not be had: {reason}"))
            }),
            State::Pending { .. } | State::Waiting { .. } if item.reservation.starts_at <= self.now => {
                let occupant = self.occupant(item)?;
                let detail = format!("reservation {} still has the host", occupant.reservation.id);
                Some(Reason::new("host_occupied", detail))
            }
            _ => None,
        }
    }

    /// What cannot be done for want of a host is said once and then looked at in growing waits.
    pub(super) fn absent(
        &self,
        item: &WorkItem,
        kind: OperationKind,
        state: &State,
        due_at: DateTime<Utc>,
    ) -> Need {
        let Some(absence) = self.facts.absence() else {
            return Need::Nothing;
        };
        match state {
            State::Waiting {
                step, until, reason, ..
            } if *until > self.now && is_absence(reason) => {
                Need::Wait(retry_wait(*step, *until, reason, false))
            }
            _ => {
                let reason = absence;
                Need::now(item, kind, Act::Absent { reason, due_at })
            }
        }
    }
}

//! A day as the auditor gets it: the log, and what is stored when it is over.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{HostName, ReservationId};
use reservation_engine::testing::Attempt;
use reservation_engine::{
    FencingToken, HistoryRow, Operation, OperationId, OperationKind, Reservation, ReservationStatus,
    Settings, Step,
};

use super::{Invariant, Violation};
use crate::faults::FaultKind;
use crate::log::{EffectId, Entry, Intent, What};
use crate::world::{Layout, World};

/// How far a process's wall clock may be off on a day with clock jumps.
const MOST_SKEW: TimeDelta = TimeDelta::minutes(5);

/// All that is known of a day.
pub(crate) struct Record {
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
    pub(crate) base: DateTime<Utc>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) late: Vec<ReservationId>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) history: Vec<HistoryRow>,
    pub(crate) complaints: Vec<String>,
    /// The hosts that are off when the day is over.
    pub(crate) off: Vec<HostName>,
    /// Each reservation as it was from some instant on.
    timelines: BTreeMap<ReservationId, Vec<(Duration, Reservation)>>,
    grants: BTreeMap<HostName, Vec<(Duration, FencingToken)>>,
}

/// Something that was sent to a host.
pub(crate) struct Sent<'a> {
    pub(crate) index: usize,
    pub(crate) at: Duration,
    pub(crate) process: &'a str,
    pub(crate) host: &'a HostName,
    pub(crate) effect: EffectId,
    pub(crate) step: Step,
    pub(crate) intent: Option<&'a Intent>,
}

/// What a day leaves behind besides its log.
pub(crate) struct Left {
    pub(crate) reservations: Vec<ReservationId>,
    pub(crate) late: Vec<ReservationId>,
    pub(crate) complaints: Vec<String>,
}

impl Record {
    pub(crate) fn new(world: &World, settings: Settings, entries: Vec<Entry>, left: Left) -> Self {
        let memory = world.memory();
        let mut timelines: BTreeMap<ReservationId, Vec<(Duration, Reservation)>> = BTreeMap::new();
        let mut grants: BTreeMap<HostName, Vec<(Duration, FencingToken)>> = BTreeMap::new();
        for Entry { at, what } in &entries {
            match what {
                What::Reservation(row) => timelines
                    .entry(row.id.clone())
                    .or_default()
                    .push((*at, row.clone())),
                What::Status { reservation, to, .. } => {
                    let line = timelines.entry(reservation.clone()).or_default();
                    if let Some((_, last)) = line.last().cloned() {
                        line.push((*at, Reservation { status: *to, ..last }));
                    }
                }
                What::Granted { host, token, .. } => {
                    grants.entry(host.clone()).or_default().push((*at, *token));
                }
                _ => {}
            }
        }
        Self {
            layout: world.layout().clone(),
            settings,
            base: world.wall(Duration::ZERO),
            entries,
            reservations: left
                .reservations
                .iter()
                .filter_map(|id| memory.find_reservation(id))
                .collect(),
            late: left.late,
            operations: memory.operations(),
            attempts: memory.attempts(),
            history: memory.history(),
            complaints: left.complaints,
            off: crate::hosts::off(world),
            timelines,
            grants,
        }
    }

    /// How wrong a process's wall clock may be.
    pub(crate) fn skew(&self) -> TimeDelta {
        let wrong = [FaultKind::ClockJump, FaultKind::StandingClock];
        if wrong.iter().any(|kind| self.layout.swarm.intensity(*kind) > 0) {
            MOST_SKEW
        } else {
            TimeDelta::zero()
        }
    }

    /// The true wall clock so long after the day began.
    pub(crate) fn wall(&self, at: Duration) -> DateTime<Utc> {
        self.base + TimeDelta::from_std(at).unwrap_or_default()
    }

    pub(crate) fn timeline(&self, id: &ReservationId) -> &[(Duration, Reservation)] {
        self.timelines.get(id).map_or(&[], Vec::as_slice)
    }

    /// The reservation as it was at any time from `from` to `to`.
    pub(crate) fn versions(
        &self,
        id: &ReservationId,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = &Reservation> {
        let line = self.timeline(id);
        line.iter().enumerate().filter_map(move |(index, (since, row))| {
            let until = line.get(index + 1).map_or(Duration::MAX, |(next, _)| *next);
            (*since <= to && until >= from).then_some(row)
        })
    }

    /// The newest token granted for a host up to an instant.
    pub(crate) fn newest_token(&self, host: &HostName, at: Duration) -> Option<FencingToken> {
        let grants = self.grants.get(host)?;
        grants
            .iter()
            .rev()
            .find(|(granted, _)| *granted <= at)
            .map(|(_, token)| *token)
    }

    /// All grants of a host, in order.
    pub(crate) fn grants(&self, host: &HostName) -> &[(Duration, FencingToken)] {
        self.grants.get(host).map_or(&[], Vec::as_slice)
    }

    /// Everything that was sent to hosts, in order.
    pub(crate) fn sent(&self) -> impl Iterator<Item = Sent<'_>> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| match &entry.what {
                What::Sent {
                    process,
                    host,
                    effect,
                    step,
                    intent,
                } => Some(Sent {
                    index,
                    at: entry.at,
                    process,
                    host,
                    effect: *effect,
                    step: *step,
                    intent: intent.as_ref(),
                }),
                _ => None,
            })
    }

    pub(crate) fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.id == id)
    }

    pub(crate) fn operation_of(&self, id: &ReservationId, kind: OperationKind) -> Option<&Operation> {
        self.operations
            .iter()
            .rfind(|operation| operation.kind == kind && operation.reservation == *id)
    }

    /// When the engine gave a reservation a status, and on which host.
    pub(crate) fn became(
        &self,
        id: &ReservationId,
        status: ReservationStatus,
    ) -> Option<(Duration, &HostName)> {
        self.entries.iter().find_map(|entry| match &entry.what {
            What::Status {
                host,
                reservation,
                to,
            } if reservation == id && *to == status => Some((entry.at, host)),
            _ => None,
        })
    }

    /// A broken promise at the end of the day.
    pub(crate) fn at_end(&self, invariant: Invariant, told: String) -> Violation {
        Violation {
            invariant,
            at: self.layout.end_at,
            told,
        }
    }
}

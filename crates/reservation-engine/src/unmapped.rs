//! Reservations whose lab no host serves: said once in the history, then looked at in growing waits.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use rand::Rng;

use crate::explain::{Wait, WaitCode};
use crate::history::{UNMAPPED, unmapped_row};
use crate::instant::{earlier, later};
use crate::operation::OperationKind;
use crate::plan::soonest;
use crate::ports::{HistoryRow, WorkItem};
use crate::reservation::{Reservation, ReservationStatus};
use crate::retry;
use crate::settings::Settings;

/// What this process said already. Bounded by the reservations of the last pass.
#[derive(Debug, Default)]
pub(crate) struct Unmapped {
    told: HashMap<(ReservationId, OperationKind), Told>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    times: u32,
    next_at: DateTime<Utc>,
}

/// What follows for this pass.
pub(crate) struct Due {
    pub(crate) rows: Vec<HistoryRow>,
    pub(crate) waits: Vec<(ReservationId, Wait)>,
    pub(crate) next_at: Option<DateTime<Utc>>,
    /// Reservations that were over before a host was found: closed as missed, under this stand-in for a host.
    pub(crate) to_close: Vec<WorkItem>,
    pub(crate) host: Option<HostName>,
}

impl Unmapped {
    pub(crate) fn due(
        &mut self,
        items: &[WorkItem],
        now: DateTime<Utc>,
        settings: &Settings,
        rng: &mut impl Rng,
    ) -> Due {
        let mut due = Due {
            rows: Vec::new(),
            waits: Vec::new(),
            next_at: None,
            to_close: Vec::new(),
            host: stand_in(),
        };
        let known: HashSet<&ReservationId> = items.iter().map(|item| &item.reservation.id).collect();
        self.told.retain(|(id, _), _| known.contains(id));
        for item in items {
            let reservation = &item.reservation;
            if reservation.status == ReservationStatus::Confirmed && reservation.ends_at <= now {
                due.to_close.push(item.clone());
                continue;
            }
            let Some((kind, due_at)) = wanted(reservation, settings) else {
                continue;
            };
            let until = if due_at > now {
                due_at
            } else {
                self.tell(reservation, kind, now, settings, rng, &mut due)
            };
            due.next_at = soonest(due.next_at, Some(until));
            let detail = format!("no host serves lab {}", reservation.lab);
            due.waits.push((
                reservation.id.clone(),
                Wait::until(WaitCode::NoHost, until, detail),
            ));
        }
        due
    }

    fn tell(
        &mut self,
        reservation: &Reservation,
        kind: OperationKind,
        now: DateTime<Utc>,
        settings: &Settings,
        rng: &mut impl Rng,
        due: &mut Due,
    ) -> DateTime<Utc> {
        let told = self.told.entry((reservation.id.clone(), kind)).or_insert(Told {
            times: 0,
            next_at: now,
        });
        if told.times == 0 {
            due.rows
                .push(unmapped_row(&reservation.id, &reservation.lab, kind, now));
        }
        if told.next_at <= now {
            told.times = told.times.saturating_add(1);
            told.next_at = later(now, retry::wait(settings, told.times, rng));
        }
        told.next_at
    }
}

/// The stand-in under which what was missed is recorded. No step is ever carried out on it.
pub(crate) fn stand_in() -> Option<HostName> {
    HostName::parse(UNMAPPED).ok()
}

fn wanted(reservation: &Reservation, settings: &Settings) -> Option<(OperationKind, DateTime<Utc>)> {
    match reservation.status {
        ReservationStatus::Confirmed => Some((
            OperationKind::Start,
            earlier(reservation.starts_at, settings.lead),
        )),
        ReservationStatus::Active => {
            Some((OperationKind::End, later(reservation.ends_at, settings.end_delay)))
        }
        ReservationStatus::Pending | ReservationStatus::Completed | ReservationStatus::Cancelled => None,
    }
}

//! Nothing is lost, and what can be on time is.

use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{Operation, OperationKind, Reservation, ReservationStatus, State};

use super::{Invariant, Record, Violation};
use crate::world::UNMAPPED_LAB;

/// Every confirmed reservation whose time came is completed, or its operation needs attention and says why; a
/// cancelled one whose host was prepared has been released. No operation is left open when all has been well for
/// long enough.
pub(super) fn no_reservation_is_lost(day: &Record) -> Vec<Violation> {
    day.reservations
        .iter()
        .filter_map(|reservation| lost(day, reservation))
        .map(|told| day.at_end(Invariant::NothingLost, told))
        .collect()
}

fn lost(day: &Record, reservation: &Reservation) -> Option<String> {
    let id = &reservation.id;
    let start = day.operation_of(id, OperationKind::Start);
    let end = day.operation_of(id, OperationKind::End);
    // An end from before the newest start was for an earlier one.
    let end = end.filter(|end| start.is_none_or(|start| start.id < end.id));
    let open = |operation: Option<&Operation>| operation.is_some_and(|operation| !operation.state.is_final());
    if end.is_some_and(|end| is_retried(day, end)) {
        return None;
    }
    if open(start) || open(end) {
        return Some(format!("{id} is still open: {:?} {:?}", state(start), state(end)));
    }
    let prepared = start.is_some_and(|start| start.prepare_began_at.is_some());
    match reservation.status {
        ReservationStatus::Pending | ReservationStatus::Completed => None,
        ReservationStatus::Cancelled => {
            (prepared && end.is_none()).then(|| format!("{id} was cancelled and its host never released"))
        }
        ReservationStatus::Active => (!has_reason(end)).then(|| format!("{id} is active for ever")),
        ReservationStatus::Confirmed if !has_reason(start) => Some(format!(
            "{id} was never started and nobody says why: {:?}",
            state(start)
        )),
        ReservationStatus::Confirmed if prepared && end.is_none() => {
            Some(format!("{id} was prepared and its host never released"))
        }
        ReservationStatus::Confirmed => None,
    }
}

/// Whether a release is still tried on a host that is off, says so, and will be given up when its window is over.
fn is_retried(day: &Record, end: &Operation) -> bool {
    let window =
        TimeDelta::from_std(day.settings.release_window).unwrap_or_default() + TimeDelta::minutes(20);
    let in_window = day.wall(day.layout.end_at) < end.created_at + window;
    let waits = matches!(&end.state, State::Waiting { reason, .. } if !reason.detail.is_empty());
    in_window && waits && day.off.contains(&end.host)
}

fn state(operation: Option<&Operation>) -> Option<&State> {
    operation.map(|operation| &operation.state)
}

/// Whether it ended without success and says why.
fn has_reason(operation: Option<&Operation>) -> bool {
    matches!(state(operation), Some(State::NeedsAttention { reason, .. })
        if !reason.code.is_empty() && !reason.detail.is_empty())
}

/// Every order of a caller that was taken ends, also when the process that took it died.
pub(super) fn no_order_is_lost(day: &Record) -> Vec<Violation> {
    let manual = [OperationKind::ManualStart, OperationKind::ManualEnd];
    day.operations
        .iter()
        .filter(|operation| manual.contains(&operation.kind) && !operation.state.is_final())
        .map(|operation| {
            let told = format!(
                "order {} for {} is still {:?}",
                operation.id, operation.host, operation.state
            );
            day.at_end(Invariant::NothingLost, told)
        })
        .collect()
}

/// Once faults have ceased, and on calm days always, a reservation is active at its start and completed soon
/// after its end.
pub(super) fn quiet_reservations_are_on_time(day: &Record) -> Vec<Violation> {
    let calm = day.layout.swarm.is_calm();
    day.reservations
        .iter()
        .filter(|reservation| reservation.lab.as_str() != UNMAPPED_LAB)
        .filter(|reservation| day.late.contains(&reservation.id) || (calm && is_plain(day, reservation)))
        .filter_map(|reservation| late(day, reservation))
        .collect()
}

/// Whether it was confirmed in time for the schedulers to read it, and nobody had the host right before.
fn is_plain(day: &Record, reservation: &Reservation) -> bool {
    let in_time = day.timeline(&reservation.id).iter().any(|(since, row)| {
        let lead = day.settings.lead + day.layout.scan + Duration::from_mins(1);
        let lead = TimeDelta::from_std(lead).unwrap_or_default();
        row.status == ReservationStatus::Confirmed && day.wall(*since) + lead <= row.starts_at
    });
    let follows = day.reservations.iter().any(|other| {
        let gap = reservation.starts_at - other.ends_at;
        other.lab == reservation.lab && gap >= TimeDelta::zero() && gap < TimeDelta::minutes(6)
    });
    in_time && !follows
}

fn late(day: &Record, reservation: &Reservation) -> Option<Violation> {
    let id = &reservation.id;
    let active = day.became(id, ReservationStatus::Active);
    let completed = day.became(id, ReservationStatus::Completed);
    let delay = TimeDelta::from_std(day.settings.end_delay).unwrap_or_default() + TimeDelta::seconds(90);
    let told = match (active, completed) {
        (None, _) => format!("{id} was never active"),
        (Some((at, _)), _) if day.wall(at) > reservation.starts_at => {
            format!("{id} was active {} late", day.wall(at) - reservation.starts_at)
        }
        (_, None) => format!("{id} was never completed"),
        (_, Some((at, _))) if day.wall(at) > reservation.ends_at + delay => {
            format!(
                "{id} was completed {} after its end",
                day.wall(at) - reservation.ends_at
            )
        }
        _ => return None,
    };
    Some(day.at_end(Invariant::OnTime, told))
}

//! What students and operators notice.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use lab_model::{HostName, ReservationId};
use reservation_engine::{OperationKind, ReservationStatus, Step};

use super::{Invariant, Record, Violation};
use crate::log::{EffectId, Entry, What};

/// How long a host may have been broken before anybody could notice.
const UNNOTICED: Duration = Duration::from_secs(60);

/// The state of a host, from what took effect on it.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    prepared_at: Option<Duration>,
    /// When a release, a boot or a loss of power last undid that.
    undone_at: Option<Duration>,
}

/// When a reservation becomes active, its host is up and was prepared, and nothing has undone that. What happened to
/// the host in the last minute is forgiven: nobody could know.
pub(super) fn active_means_ready(day: &Record) -> Vec<Violation> {
    let mut hosts: BTreeMap<&HostName, Truth> = BTreeMap::new();
    let mut broken = Vec::new();
    for Entry { at, what } in &day.entries {
        match what {
            What::Took { host, step, .. } => {
                let truth = hosts.entry(host).or_default();
                match step {
                    Step::Prepare => truth.prepared_at = Some(*at),
                    Step::Release | Step::Power => truth.undone_at = Some(*at),
                    Step::Wake | Step::Activate | Step::Complete => {}
                }
            }
            What::Down(host) => hosts.entry(host).or_default().undone_at = Some(*at),
            What::Status {
                host,
                reservation,
                to: ReservationStatus::Active,
            } => {
                let truth = hosts.get(host).copied().unwrap_or_default();
                if let Some(told) = unready(truth, *at) {
                    broken.push(Violation {
                        invariant: Invariant::ReadyMeansReady,
                        at: *at,
                        told: format!("{reservation} became active on {host}, which {told}"),
                    });
                }
            }
            _ => {}
        }
    }
    broken
}

fn unready(truth: Truth, now: Duration) -> Option<String> {
    let Some(prepared_at) = truth.prepared_at else {
        return Some("was never prepared".to_owned());
    };
    let undone_at = truth.undone_at.filter(|undone| *undone > prepared_at)?;
    let unnoticed = undone_at + UNNOTICED >= now;
    (!unnoticed).then(|| format!("was prepared at {prepared_at:?} and undone at {undone_at:?}"))
}

/// Who is logged on.
struct Student {
    reservation: ReservationId,
    ends_at: chrono::DateTime<chrono::Utc>,
}

/// While a reservation is active and its time is not over, nothing is done to its host that logs its student out:
/// no release for another or too early, no power, no prepare, but by order of a caller.
pub(super) fn nobody_is_logged_out_in_their_own_time(day: &Record) -> Vec<Violation> {
    let by_hand = by_hand(day);
    let mut students: BTreeMap<&HostName, Student> = BTreeMap::new();
    let mut broken = Vec::new();
    for Entry { at, what } in &day.entries {
        match what {
            What::Status {
                host,
                reservation,
                to: ReservationStatus::Active,
            } => {
                let version = day.versions(reservation, *at, *at).last();
                if let Some(version) = version {
                    let student = Student {
                        reservation: reservation.clone(),
                        ends_at: version.ends_at,
                    };
                    students.insert(host, student);
                }
            }
            What::Status { reservation, .. } => {
                students.retain(|_, student| student.reservation != *reservation);
            }
            What::Reservation(row) => {
                for student in students
                    .values_mut()
                    .filter(|student| student.reservation == row.id)
                {
                    student.ends_at = row.ends_at;
                }
                if row.status == ReservationStatus::Cancelled {
                    students.retain(|_, student| student.reservation != row.id);
                }
            }
            What::Sent {
                host, effect, step, ..
            } if *step != Step::Wake && !by_hand.contains(effect) => {
                let now = day.wall(*at);
                let logged_out = students
                    .get(host)
                    .filter(|student| now + day.skew() + TimeDelta::seconds(1) < student.ends_at)
                    .filter(|student| !was_due(day, &student.reservation, *at));
                if let Some(student) = logged_out {
                    broken.push(Violation {
                        invariant: Invariant::NobodyLoggedOut,
                        at: *at,
                        told: format!(
                            "{step:?} was sent to {host} while {} has it until {}",
                            student.reservation, student.ends_at
                        ),
                    });
                }
            }
            _ => {}
        }
    }
    broken
}

/// Whether the reservation was over by any of its versions a moment before: it may have been extended just now.
fn was_due(day: &Record, id: &ReservationId, at: Duration) -> bool {
    let from = at.saturating_sub(Duration::from_secs(20));
    day.versions(id, from, at).any(|version| {
        version.ends_at <= day.wall(at) + day.skew() || version.status == ReservationStatus::Cancelled
    })
}

/// What callers ordered.
fn by_hand(day: &Record) -> Vec<EffectId> {
    day.sent()
        .filter(|sent| {
            sent.intent.is_some_and(|intent| {
                matches!(intent.kind, OperationKind::ManualStart | OperationKind::ManualEnd)
            })
        })
        .map(|sent| sent.effect)
        .collect()
}

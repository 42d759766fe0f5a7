//! What was sent to hosts: how often, and for whom.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use reservation_engine::{
    AttemptId, AttemptOutcome, OperationId, OperationKind, Repetition, Reservation, ReservationStatus, Step,
};

use super::record::Sent;
use super::{Invariant, Record, Violation};
use crate::log::{Entry, What, Write};

/// How long before a wake or a prepare its reservation was read at the latest: a lease, and the wait for a host.
const READ_BEFORE: Duration = Duration::from_secs(20);

/// How long after an engineer came something may still be sent to his host: it was planned before.
const KNOWN_AFTER: Duration = Duration::from_secs(20);

/// A fenced step is sent again under the same operation only when the host itself said that it had not done it, or
/// when somebody looked after the step's time was over. A read-back step is sent again only after an answer or after
/// somebody looked.
pub(super) fn fenced_steps_are_sent_at_most_once(day: &Record) -> Vec<Violation> {
    let mut before: BTreeMap<(OperationId, &str), Sent<'_>> = BTreeMap::new();
    let mut broken = Vec::new();
    for sent in day.sent() {
        let Some(intent) = sent.intent else { continue };
        let key = (intent.operation, sent.step.as_str());
        let told = before.get(&key).and_then(|first| match sent.step.repetition() {
            Repetition::Repeatable => None,
            Repetition::Fenced => {
                let settled_at = first.at + day.settings.deadlines.power;
                let known =
                    is_answered(day, first, sent.index) || is_looked_at(day, first, sent.index, settled_at);
                (!known).then_some("a second time")
            }
            Repetition::ReadBack => {
                let known =
                    is_answered(day, first, sent.index) || is_looked_at(day, first, sent.index, first.at);
                (!known).then_some("again without a look")
            }
        });
        if let Some(told) = told {
            broken.push(Violation {
                invariant: Invariant::AtMostOnce,
                at: sent.at,
                told: format!("{} sent {:?} to {} {told}", sent.process, sent.step, sent.host),
            });
        }
        before.insert(key, sent);
    }
    broken
}

/// Whether an answer to `first` was written down before the entry at `index`.
fn is_answered(day: &Record, first: &Sent<'_>, index: usize) -> bool {
    let attempt: Option<AttemptId> = first.intent.map(|intent| intent.attempt);
    between(day, first, index).iter().any(|entry| match &entry.what {
        What::Wrote {
            write: Write::Outcome(of, outcome),
            ..
        } => Some(*of) == attempt && *outcome != AttemptOutcome::Unknown,
        _ => false,
    })
}

/// Whether anybody looked at the host after `first`, at `since` or later, before the entry at `index`.
fn is_looked_at(day: &Record, first: &Sent<'_>, index: usize, since: Duration) -> bool {
    between(day, first, index)
        .iter()
        .filter(|entry| entry.at >= since)
        .any(|entry| matches!(&entry.what, What::Looked { host, .. } if host == first.host))
}

fn between<'a>(day: &'a Record, first: &Sent<'_>, index: usize) -> &'a [Entry] {
    day.entries.get(first.index..index).unwrap_or_default()
}

/// No reservation is dispatched to a host at which an engineer has worked for so long that everybody knows: no wake, no
/// prepare, no power order. Callers' orders go on.
pub(super) fn nothing_is_dispatched_in_maintenance(day: &Record) -> Vec<Violation> {
    let mut broken = Vec::new();
    for sent in day.sent() {
        let Some(intent) = sent.intent else { continue };
        let scheduled = matches!(intent.kind, OperationKind::Start | OperationKind::End);
        let begins = matches!(sent.step, Step::Wake | Step::Prepare | Step::Power);
        if scheduled && begins && is_worked_at(day, &sent) {
            broken.push(Violation {
                invariant: Invariant::NothingInMaintenance,
                at: sent.at,
                told: format!(
                    "{} sent {:?} to {} in maintenance",
                    sent.process, sent.step, sent.host
                ),
            });
        }
    }
    broken
}

fn is_worked_at(day: &Record, sent: &Sent<'_>) -> bool {
    let before = day.entries.get(..sent.index).unwrap_or_default();
    let skew = day.skew().to_std().unwrap_or_default();
    before
        .iter()
        .rev()
        .find_map(|entry| match &entry.what {
            What::Maintenance { host, until } if host == sent.host => {
                let known = entry.at + KNOWN_AFTER <= sent.at;
                Some(known && until.is_none_or(|until| sent.at + skew < until))
            }
            What::MaintenanceEnded(host) if host == sent.host => Some(false),
            _ => None,
        })
        .unwrap_or(false)
}

/// A host is woken or prepared only for a reservation that is confirmed and not over, or because a caller who is
/// named ordered it.
pub(super) fn nobody_is_woken_for_nothing(day: &Record) -> Vec<Violation> {
    day.sent()
        .filter(|sent| matches!(sent.step, Step::Wake | Step::Prepare))
        .filter(|sent| !is_wanted(day, sent))
        .map(|sent| Violation {
            invariant: Invariant::NobodyWokenForNothing,
            at: sent.at,
            told: format!(
                "{} sent {:?} to {} for {:?}",
                sent.process,
                sent.step,
                sent.host,
                sent.intent
                    .map(|intent| (intent.kind, intent.reservation.as_str()))
            ),
        })
        .collect()
}

fn is_wanted(day: &Record, sent: &Sent<'_>) -> bool {
    let Some(intent) = sent.intent else { return false };
    match intent.kind {
        OperationKind::ManualStart | OperationKind::ManualEnd => {
            day.entries.iter().take(sent.index).any(|entry| {
                matches!(&entry.what, What::Order { host, reservation, caller, .. }
                    if host == sent.host && *reservation == intent.reservation && !caller.is_empty())
            })
        }
        OperationKind::Start => {
            let from = sent.at.saturating_sub(READ_BEFORE);
            day.versions(&intent.reservation, from, sent.at)
                .any(|reservation| is_live(day, reservation, from))
        }
        OperationKind::End => false,
    }
}

fn is_live(day: &Record, reservation: &Reservation, at: Duration) -> bool {
    let wanted = matches!(
        reservation.status,
        ReservationStatus::Confirmed | ReservationStatus::Active
    );
    let lead = TimeDelta::from_std(day.settings.lead_max.max(day.settings.lead)).unwrap_or_default();
    let now = day.wall(at);
    let begins = reservation.starts_at - lead - day.skew() <= now + TimeDelta::seconds(30);
    wanted && begins && now < reservation.ends_at + day.skew()
}

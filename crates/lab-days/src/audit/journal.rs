//! What is written down, when, and how much of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{AttemptId, FencingToken};

use super::{Invariant, Record, Violation};
use crate::log::{Entry, What, Write};

/// Tries of one operation: a try a minute over the longest reservation there is, and a few for processes that died.
const MOST_TRIES: usize = 120;
/// Rows of the history for each try: its step, and the whole try.
const ROWS_PER_TRY: usize = 2;
/// Rows of the history of a reservation besides those.
const MORE_ROWS: usize = 12;

/// Before anything leaves for a host, its intent is committed and has no outcome yet; and each intent gets an
/// outcome, unless its process lost the host before, in which case somebody else got it later.
pub(super) fn intent_comes_before_effect_and_outcome_after(day: &Record) -> Vec<Violation> {
    let mut begun: BTreeMap<i64, Begun<'_>> = BTreeMap::new();
    let mut ended: BTreeSet<i64> = BTreeSet::new();
    let mut broken = Vec::new();
    for Entry { at, what } in &day.entries {
        match what {
            What::Wrote {
                host,
                token,
                write: Write::Intent(AttemptId(id)),
                ..
            } => {
                begun.entry(*id).or_insert(Begun {
                    at: *at,
                    host,
                    token: *token,
                });
            }
            What::Wrote {
                write: Write::Outcome(AttemptId(id), _),
                ..
            } => {
                ended.insert(*id);
            }
            What::Sent {
                process,
                host,
                step,
                intent,
                ..
            } => {
                let open = intent.as_ref().is_some_and(|intent| {
                    intent.step == *step
                        && begun.contains_key(&intent.attempt.0)
                        && !ended.contains(&intent.attempt.0)
                });
                if !open {
                    broken.push(Violation {
                        invariant: Invariant::Journalled,
                        at: *at,
                        told: format!("{process} sent {step:?} to {host} without an open intent: {intent:?}"),
                    });
                }
            }
            _ => {}
        }
    }
    broken.extend(left_open(day, &begun, &ended));
    broken
}

/// An intent as it was committed.
struct Begun<'a> {
    at: Duration,
    host: &'a HostName,
    token: FencingToken,
}

fn left_open(
    day: &Record,
    begun: &BTreeMap<i64, Begun<'_>>,
    ended: &BTreeSet<i64>,
) -> impl Iterator<Item = Violation> {
    let open = begun.iter().filter(|(id, _)| !ended.contains(id));
    open.filter(|(_, begun)| {
        !day.grants(begun.host)
            .iter()
            .any(|(_, token)| *token > begun.token)
    })
    .map(|(id, begun)| Violation {
        invariant: Invariant::Journalled,
        at: begun.at,
        told: format!("try {id} on {} has no outcome, and nobody took over", begun.host),
    })
}

/// Tries per operation and rows per reservation are bounded, and no flow is left running.
pub(super) fn everything_stays_bounded(day: &Record) -> Vec<Violation> {
    let mut broken: Vec<String> = day.complaints.clone();
    let mut tries: BTreeMap<_, usize> = BTreeMap::new();
    for attempt in &day.attempts {
        *tries.entry(attempt.operation).or_insert(0) += 1;
    }
    let mut by_reservation: BTreeMap<_, usize> = BTreeMap::new();
    for (operation, tries) in tries {
        if tries > MOST_TRIES {
            broken.push(format!("operation {operation} has {tries} tries"));
        }
        if let Some(operation) = day.operation(operation) {
            *by_reservation.entry(&operation.reservation).or_insert(0) += tries;
        }
    }
    let mut rows: BTreeMap<_, usize> = BTreeMap::new();
    for row in &day.history {
        *rows.entry(&row.reservation).or_insert(0) += 1;
    }
    for (reservation, rows) in rows {
        let tries = by_reservation.get(reservation).copied().unwrap_or(0);
        if rows > tries * ROWS_PER_TRY + MORE_ROWS {
            broken.push(format!(
                "{reservation} has {rows} rows of history for {tries} tries"
            ));
        }
    }
    broken
        .into_iter()
        .map(|told| day.at_end(Invariant::Bounded, told))
        .collect()
}

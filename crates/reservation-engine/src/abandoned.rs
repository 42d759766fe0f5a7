//! Operations that nobody goes on with.
//!
//! Callers' ones whose process died under way: the host is looked at, what it shows is written down, and nothing is sent
//! again. The caller, who got no answer, decides what to do. And the scheduler's own for a reservation that somebody has
//! deleted: when it has been gone for as long as a release is tried, they are closed, and the history says so. Nothing is
//! sent for them: whose turn it is at the host is not written anywhere any more.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::{Instrument, Span, info, info_span, warn};

use crate::check::{Found, decide};
use crate::engine::{Engine, HostMap, Inner, Interrupted};
use crate::events::step_span;
use crate::explain::WaitCode;
use crate::flow::FlowError;
use crate::held::{Held, insist};
use crate::history::{found_row, interrupted_row, try_row};
use crate::hold::{Hold, Place, hold, trouble};
use crate::instant::earlier;
use crate::operation::{Operation, OperationId, OperationKind, Step};
use crate::perform::observe;
use crate::ports::{HistoryRow, Observation, Station, Store};
use crate::reason::Reason;
use crate::state::{Event, State};

/// How many a pass takes up at most.
const AT_ONCE: u32 = 16;

/// How much more seldom orphans are looked for.
const ORPHANS_EVERY: u32 = 40;

/// When the store was last asked for them.
#[derive(Debug, Default)]
pub(crate) struct Abandoned {
    asked_at: Mutex<Option<Instant>>,
}

impl Abandoned {
    /// Whether it is time to ask again, so that passes which follow each other closely cost no more reads.
    fn is_due(&self, every: Duration) -> bool {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let due = asked_at.is_none_or(|at| at.elapsed() >= every);
        if due {
            *asked_at = Some(Instant::now());
        }
        due
    }
}

impl<S: Store, T: Station> Engine<S, T> {
    /// Takes up callers' operations that were left behind. It does not wait for that to be over.
    pub(crate) async fn settle_abandoned(&self, hosts: &dyn HostMap) {
        let inner = &self.inner;
        if inner.stopping.is_cancelled() || !inner.abandoned.is_due(inner.settings.lease) {
            return;
        }
        let left = match inner.store.abandoned_manual(AT_ONCE).await {
            Ok(left) => left,
            Err(error) => return warn!(%error, "callers' operations that were left behind could not be read"),
        };
        self.take_up(left, Left::ByCaller, hosts);
    }

    /// Closes what was begun for reservations that are gone. It does not wait for that to be over.
    pub(crate) async fn close_orphans(&self, hosts: &dyn HostMap) {
        let inner = &self.inner;
        if inner.stopping.is_cancelled() || !inner.orphans.is_due(inner.settings.lease * ORPHANS_EVERY) {
            return;
        }
        match inner.store.orphaned(inner.gone_before(), AT_ONCE).await {
            Ok(left) => self.take_up(left, Left::ByReservation, hosts),
            Err(error) => warn!(%error, "operations without a reservation could not be read"),
        }
    }

    fn take_up(&self, left: Vec<Operation>, by: Left, hosts: &dyn HostMap) {
        let inner = &self.inner;
        let now = inner.now();
        for operation in left {
            let host = &operation.host;
            if hosts.is_ours(host) && inner.slots.hold(host, now).is_none() && inner.slots.begin(host) {
                inner.tracker.spawn(run(Arc::clone(inner), operation, by));
            }
        }
    }
}

impl<S: Store, T: Station> Inner<S, T> {
    fn gone_before(&self) -> DateTime<Utc> {
        earlier(self.now(), self.settings.release_window)
    }
}

/// What an operation was left behind by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    ByCaller,
    ByReservation,
}

async fn run<S: Store, T: Station>(inner: Arc<Inner<S, T>>, operation: Operation, by: Left) {
    let mut place = Place::new(&inner, &operation.host);
    let span = info_span!(parent: None, "operation", operation.id = %operation.id,
        operation.kind = operation.kind.as_str(), host.name = %operation.host,
        reservation.id = %operation.reservation, claim.token = tracing::field::Empty);
    place.hold = claim_and_settle(&inner, &operation, by).instrument(span).await;
}

async fn claim_and_settle<S: Store, T: Station>(
    inner: &Inner<S, T>,
    operation: &Operation,
    by: Left,
) -> Option<Hold> {
    let held = match Held::take(inner, &operation.host).await {
        Ok(Some(held)) => {
            inner.listeners.claim_taken(held.claim(), true);
            held
        }
        Ok(None) => {
            let detail = "somebody else is at work on the host";
            return Some(hold(inner, 1, WaitCode::HostBusy, detail));
        }
        Err(error) => return Some(trouble(inner, &error.into())),
    };
    Span::current().record("claim.token", held.claim().token.0);
    let work = async {
        match by {
            Left::ByCaller => settle(inner, &held, operation.id).await,
            Left::ByReservation => close_orphan(inner, &held, operation.id).await,
        }
    };
    match inner.under(&held, work).await {
        Ok(result) => {
            held.give_back().await;
            result.err().map(|error| trouble(inner, &error))
        }
        Err(interrupted) => {
            held.abandon();
            let lost = interrupted == Interrupted::ClaimLost;
            if lost {
                inner.listeners.claim_lost(&operation.host);
            }
            lost.then(|| hold(inner, 1, WaitCode::StoreTrouble, "the claim was lost"))
        }
    }
}

async fn close_orphan<S: Store, T: Station>(
    inner: &Inner<S, T>,
    held: &Held<S>,
    id: OperationId,
) -> Result<(), FlowError> {
    // Asked again under the claim: the reservation may be there again.
    let left = insist(|| inner.store.orphaned(inner.gone_before(), AT_ONCE)).await?;
    let Some(mut operation) = left.into_iter().find(|operation| operation.id == id) else {
        return Ok(());
    };
    let at = inner.now();
    let mut detail = "the reservation is not stored any more: somebody deleted it".to_owned();
    if operation.prepare_began_at.is_some() {
        detail.push_str("; the host was prepared for it, and perhaps never released");
    }
    let reason = Reason::new("reservation_gone", detail);
    warn!(%reason, "closed an operation that nobody goes on with");
    let row = try_row(&(&operation).into(), operation.kind, &[], Some(&reason), at);
    operation.state = operation.state.apply(Event::GaveUp { reason, at })?;
    save(inner, held, &operation, &[row]).await
}

async fn settle<S: Store, T: Station>(
    inner: &Inner<S, T>,
    held: &Held<S>,
    id: OperationId,
) -> Result<(), FlowError> {
    // Asked again under the claim: another copy may have been faster.
    let left = insist(|| inner.store.abandoned_manual(AT_ONCE)).await?;
    let Some(mut operation) = left.into_iter().find(|operation| operation.id == id) else {
        return Ok(());
    };
    if let State::Running { .. } = operation.state {
        operation.state = operation.state.apply(Event::EffectUnknown)?;
        save(inner, held, &operation, &[]).await?;
    }
    let (event, row) = match operation.state {
        State::Checking { step, since, .. } => {
            let span = step_span(&Span::current(), step, operation.state.attempt());
            let seen = observe(inner, &operation.host).instrument(span).await;
            let found = decide(step, since, &seen);
            info!(step = step.as_str(), ?found, "looked at the host");
            judged(&operation, step, found, &seen, inner.now())
        }
        _ => not_begun(&operation, inner.now()),
    };
    operation.state = operation.state.apply(event)?;
    warn!(
        state = operation.state.name(),
        "whoever ran a caller's operation vanished; it is settled"
    );
    save(inner, held, &operation, &[row]).await
}

async fn save<S: Store, T: Station>(
    inner: &Inner<S, T>,
    held: &Held<S>,
    operation: &Operation,
    rows: &[HistoryRow],
) -> Result<(), FlowError> {
    let now = inner.now();
    insist(|| inner.store.save_operation(held.claim(), operation, rows, now)).await?;
    inner.listeners.stored(operation);
    Ok(())
}

/// What follows from a look at the host. Which steps the caller wanted after this one is not written anywhere, so
/// only a step that can be nothing but the last one ends well.
fn judged(
    operation: &Operation,
    step: Step,
    found: Found,
    seen: &Observation,
    at: DateTime<Utc>,
) -> (Event, HistoryRow) {
    let last = matches!(
        (operation.kind, step),
        (OperationKind::ManualStart, Step::Prepare) | (OperationKind::ManualEnd, Step::Power)
    );
    if found == Found::Done && last {
        let row = found_row(&operation.into(), step.as_str(), at);
        return (Event::FoundDone { next: None, at }, row);
    }
    let word = step.as_str();
    let shown = match (step, found) {
        (Step::Wake, _) if seen.reachable => "the host answers now".to_owned(),
        (Step::Wake, _) => "the host does not answer".to_owned(),
        (_, Found::Done) => format!("the host shows that {word} took effect; nothing was done after it"),
        (_, Found::NotDone) => format!("the host shows that {word} took no effect"),
        (_, Found::Unclear) => format!("the host does not show whether {word} took effect"),
    };
    gave_up(operation, step, &shown, at)
}

fn not_begun(operation: &Operation, at: DateTime<Utc>) -> (Event, HistoryRow) {
    let step = operation.state.step().unwrap_or(Step::Wake);
    gave_up(operation, step, &format!("{} was not begun", step.as_str()), at)
}

fn gave_up(operation: &Operation, step: Step, shown: &str, at: DateTime<Utc>) -> (Event, HistoryRow) {
    let detail = format!("whoever carried it out stopped in the middle; {shown}");
    let reason = Reason::new("interrupted", detail);
    let row = interrupted_row(&operation.into(), step.as_str(), &reason, at);
    (Event::GaveUp { reason, at }, row)
}

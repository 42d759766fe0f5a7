//! After a lost answer or a crash: the host is looked at, and the operation goes on from what it shows.

use chrono::{DateTime, Utc};
use tracing::{Instrument, info};

use crate::check::{Found, decide};
use crate::events::step_span;
use crate::flow::{Flow, FlowError, operation_of};
use crate::history::{found_row, try_row};
use crate::operation::{Operation, OperationKind, Step};
use crate::perform::observe;
use crate::ports::{HistoryRow, Station, Store, WorkItem};
use crate::reason::Reason;
use crate::reservation::ReservationStatus;
use crate::retry::{next_look, next_try};
use crate::state::{Event, State};

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Finds out by looking whether a step took effect whose outcome nobody wrote.
    pub(crate) async fn check(&mut self, item: &WorkItem, kind: OperationKind) -> Result<(), FlowError> {
        let Some(mut operation) = operation_of(item, kind).cloned() else {
            return Ok(());
        };
        operation.state = match operation.state {
            state @ State::Running { .. } => state.apply(Event::EffectUnknown)?,
            state @ State::Waiting { .. } => state.apply(Event::LookAgain)?,
            state => state,
        };
        let State::Checking { step, since, .. } = operation.state else {
            return Ok(());
        };
        let since = since.max(released_for(item, step).unwrap_or(since));
        self.save(item, &operation, &[]).await?;
        let span = step_span(&self.operation_span(&operation), step, operation.state.attempt());
        let seen = observe(self.inner, &operation.host).instrument(span).await;
        let (event, rows) = if step == Step::Power {
            self.follow_power(item, &operation, since, &seen)
        } else {
            let found = decide(step, since, &seen);
            info!(step = step.as_str(), ?found, "looked at the host");
            self.follow(item, &operation, step, since, found)
        };
        operation.state = operation.state.clone().apply(event)?;
        self.tell_end(item, &operation);
        self.save(item, &operation, &rows).await
    }

    fn follow(
        &mut self,
        item: &WorkItem,
        operation: &Operation,
        step: Step,
        since: DateTime<Utc>,
        found: Found,
    ) -> (Event, Vec<HistoryRow>) {
        let at = self.inner.now();
        let limit = self.limit(item, operation);
        let attempt = operation.state.attempt();
        let settings = &self.inner.settings;
        match found {
            Found::Done => {
                let next = if step == Step::Prepare {
                    Step::Activate
                } else {
                    Step::Complete
                };
                let row = found_row(&operation.into(), step.as_str(), at);
                (Event::FoundDone { next: Some(next), at }, vec![row])
            }
            // A start does not wait for a host that is gone: the next try wakes it and looks once more.
            Found::Unclear if operation.kind == OperationKind::End => {
                let retry_at = next_look(settings, at, since, limit, &mut *self.inner.rng());
                let reason = Reason::new(
                    "effect_unknown",
                    "the host did not answer the question whether it was released",
                );
                let rows = if retry_at.is_some() {
                    Vec::new()
                } else {
                    vec![self.failed_row(operation, &reason)]
                };
                (Event::StillUnknown { reason, retry_at, at }, rows)
            }
            Found::NotDone | Found::Unclear => {
                // The first one is repeated at once: it is what a crash leaves behind.
                let retry_at = match attempt {
                    0 | 1 => Some(at).filter(|at| *at < limit),
                    _ => next_try(settings, at, attempt, limit, &mut *self.inner.rng()),
                };
                let reason = Reason::new(
                    "no_effect",
                    format!("the host does not show that {} took effect", step.as_str()),
                );
                let row = self.failed_row(operation, &reason);
                (Event::FoundNotDone { reason, retry_at, at }, vec![row])
            }
        }
    }

    fn failed_row(&mut self, operation: &Operation, reason: &Reason) -> HistoryRow {
        let steps = self.steps(operation);
        try_row(
            &operation.into(),
            operation.kind,
            &steps,
            Some(reason),
            self.inner.now(),
        )
    }
}

/// The end for which a host has to be released: what it showed before says nothing, for the reservation may have been
/// extended after its release was begun. `None` when it does not go by its end.
pub(crate) fn released_for(item: &WorkItem, step: Step) -> Option<DateTime<Utc>> {
    let by_its_end = matches!(
        item.reservation.status,
        ReservationStatus::Active | ReservationStatus::Confirmed
    );
    // What was released because it was called off was not released for its end.
    let by_its_end = by_its_end && !item.is_confirmed_again();
    (step == Step::Release && by_its_end).then_some(item.reservation.ends_at)
}

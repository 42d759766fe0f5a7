//! Operations that cannot go on where they are: handed over to another host, or kept until there is one.

use chrono::{DateTime, Utc};
use lab_model::HostName;
use tracing::{debug, info, warn};

use crate::flow::{Flow, FlowError, first_step, operation_of};
use crate::history::{handed_over_row, try_row, unmapped_row};
use crate::operation::{Operation, OperationKind};
use crate::plan::{NO_HOST, is_absence};
use crate::ports::{HistoryRow, Station, Store, WorkItem};
use crate::reason::Reason;
use crate::retry::{next_look, next_look_for_host, next_try};
use crate::state::{Event, IllegalTransition, State};

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Moves an operation to another host, under the claim on this one: from then on it is no longer ours to act on.
    pub(crate) async fn hand_over(
        &mut self,
        item: &WorkItem,
        kind: OperationKind,
        to: HostName,
        reason: Reason,
    ) -> Result<(), FlowError> {
        let Some(mut operation) = operation_of(item, kind).cloned() else {
            return Ok(());
        };
        self.steps(&operation);
        let row = handed_over_row(&(&operation).into(), &to, &reason, self.inner.now());
        let step = first_step(kind);
        // What failed for want of any host says nothing about the one that is there now.
        let failed = if self.is_stand_in() {
            0
        } else {
            operation.state.attempt()
        };
        operation.state = operation.state.apply(Event::HandedOver { step, failed })?;
        info!(to = %to, %reason, "handed over to another host");
        operation.host = to;
        self.save(item, &operation, &[row]).await?;
        self.inner.slots.follow(&operation.host);
        Ok(())
    }

    /// Keeps an operation for which there is no host: said once in the history, then looked at in growing waits.
    pub(crate) async fn absent(
        &mut self,
        item: &WorkItem,
        kind: OperationKind,
        reason: Reason,
        due_at: DateTime<Utc>,
    ) -> Result<(), FlowError> {
        let mut operation = match operation_of(item, kind) {
            Some(operation) => operation.clone(),
            None => {
                self.open(item, kind, State::first(first_step(kind)), due_at)
                    .await?
            }
        };
        if operation.host != *self.host || operation.state.is_final() {
            debug!("another copy was faster");
            return Ok(());
        }
        let said = matches!(&operation.state, State::Waiting { reason, .. } if is_absence(reason));
        operation.state = self.without_host(item, &operation, &reason)?;
        let given_up = operation.state.is_final();
        self.tell_end(item, &operation);
        if !given_up && !said {
            warn!(%reason, "waits for a host");
        }
        let row = (given_up || !said).then(|| self.absence_row(&operation, &reason, given_up));
        self.save(item, &operation, row.as_slice()).await
    }

    /// Counts a try that was none. Only the last state of these moves is ever stored.
    fn without_host(
        &self,
        item: &WorkItem,
        operation: &Operation,
        reason: &Reason,
    ) -> Result<State, IllegalTransition> {
        let at = self.inner.now();
        let limit = self.limit(item, operation);
        let settings = &self.inner.settings;
        let reason = reason.clone();
        let state = match operation.state.clone() {
            state @ State::Running { .. } => state.apply(Event::EffectUnknown)?,
            state @ State::Waiting {
                unknown_since: Some(_),
                ..
            } => state.apply(Event::LookAgain)?,
            State::Pending { step, .. } | State::Waiting { step, .. } => {
                let begun = operation.state.clone().apply(Event::Begin { step, at })?;
                let retry_at = if self.is_stand_in() {
                    next_look_for_host(settings, at, begun.attempt(), limit)
                } else {
                    next_try(settings, at, begun.attempt(), limit, &mut *self.inner.rng())
                };
                let retry_at = retry_at.or(last_look(at, limit));
                return begun.apply(Event::Failed { reason, retry_at, at });
            }
            state => state,
        };
        let State::Checking { since, .. } = state else {
            return Ok(state);
        };
        let retry_at = next_look(settings, at, since, limit, &mut *self.inner.rng()).or(last_look(at, limit));
        state.apply(Event::StillUnknown { reason, retry_at, at })
    }

    fn absence_row(&self, operation: &Operation, reason: &Reason, given_up: bool) -> HistoryRow {
        let at = self.inner.now();
        match &operation.lab {
            Some(lab) if reason.code == NO_HOST && !given_up => {
                unmapped_row(&operation.reservation, lab, operation.kind, at)
            }
            _ => try_row(&operation.into(), operation.kind, &[], Some(reason), at),
        }
    }
}

/// Nothing is given up for want of a host before its window is over: the host may come back.
fn last_look(at: DateTime<Utc>, limit: DateTime<Utc>) -> Option<DateTime<Utc>> {
    (at < limit).then_some(limit)
}

//! A flow: everything that is due for one host now, under one claim, planned anew before each step.

use std::collections::HashMap;
use std::sync::Arc;

use lab_model::{HostName, ReservationId};
use serde_json::Value;
use tokio::time::timeout;
use tracing::{Instrument, debug, error, info, info_span, warn};

use crate::engine::{Inner, Interrupted};
use crate::explain::{Wait, WaitCode};
use crate::held::{Held, insist};
use crate::history::try_row;
use crate::instant::later;
use crate::operation::{NewOperation, Operation, OperationKind, Step};
use crate::plan::{Act, Decision, plan_host};
use crate::ports::{Station, Store, StoreError, WorkItem};
use crate::reason::Reason;
use crate::state::{Event, IllegalTransition, State};
use crate::unmapped::stand_in;

/// How many decisions one flow carries out at most; the next pass goes on. A whole turnaround takes about eight.
const MAX_DECISIONS: usize = 64;
/// How long a host is left alone whose stored operation or store makes no sense, in multiples of `busy_retry`.
const FAULT_HOLD: u32 = 30;

/// What ends a flow before it is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

/// Runs one flow and frees the host's place, whatever happens in between.
pub(crate) async fn run<S: Store, T: Station>(inner: Arc<Inner<S, T>>, host: HostName) {
    let mut place = Place {
        inner: &inner,
        host: &host,
        hold: None,
    };
    let span = info_span!("flow", host.name = %host, claim.token = tracing::field::Empty);
    place.hold = claim_and_run(&inner, &host).instrument(span).await;
}

/// The host's place for a flow; freed when dropped, also by a panic.
struct Place<'a, S: Store, T: Station> {
    inner: &'a Inner<S, T>,
    host: &'a HostName,
    hold: Option<Wait>,
}

impl<S: Store, T: Station> Drop for Place<'_, S, T> {
    fn drop(&mut self) {
        self.inner.slots.end(self.host, self.hold.take());
    }
}

/// Gives the reason to leave the host alone for a moment, if there is one.
async fn claim_and_run<S: Store, T: Station>(inner: &Inner<S, T>, host: &HostName) -> Option<Wait> {
    let name = inner.flow_name();
    let held = match Held::take(&inner.store, host, &name, &inner.settings, &inner.tracker).await {
        Ok(Some(held)) => held,
        Ok(None) => return Some(busy(inner, host).await),
        Err(error) => return Some(trouble(inner, &error.into())),
    };
    tracing::Span::current().record("claim.token", held.claim().token.0);
    let mut flow = Flow {
        inner,
        held: &held,
        host,
        tries: HashMap::new(),
    };
    match inner.under(&held, flow.run()).await {
        Ok(Ok(decisions)) => {
            held.give_back().await;
            // Without this, a store whose answers contradict each other would be asked without a pause.
            (decisions == 0).then(|| {
                hold(
                    inner,
                    1,
                    WaitCode::Retry,
                    "what was due was no longer due when looked at",
                )
            })
        }
        Ok(Err(error)) => {
            let hold = trouble(inner, &error);
            held.give_back().await;
            Some(hold)
        }
        Err(interrupted) => {
            held.abandon();
            warn!(?interrupted, "flow was interrupted; it is resumed at its step");
            (interrupted == Interrupted::ClaimLost)
                .then(|| hold(inner, 1, WaitCode::StoreTrouble, "the claim was lost"))
        }
    }
}

async fn busy<S: Store, T: Station>(inner: &Inner<S, T>, host: &HostName) -> Wait {
    let asked = timeout(inner.settings.busy_retry, inner.store.find_claim(host)).await;
    let holder = match asked {
        Ok(Ok(Some(claim))) => claim.holder,
        Ok(Ok(None) | Err(_)) | Err(_) => "somebody".to_owned(),
    };
    hold(
        inner,
        1,
        WaitCode::HostBusy,
        &format!("{holder} is at work on the host"),
    )
}

fn trouble<S: Store, T: Station>(inner: &Inner<S, T>, error: &FlowError) -> Wait {
    let detail = error.to_string();
    match error {
        FlowError::Store(StoreError::Unavailable(_) | StoreError::Fenced { .. }) => {
            warn!(error = %detail, "flow ended early");
            hold(inner, 1, WaitCode::StoreTrouble, &detail)
        }
        FlowError::Store(StoreError::Refused { source, .. }) => {
            error!(error = %detail, source = %source, "flow ended early");
            hold(inner, FAULT_HOLD, WaitCode::StoreTrouble, &detail)
        }
        FlowError::Illegal(_) => {
            error!(error = %detail, "flow ended early");
            hold(inner, FAULT_HOLD, WaitCode::StoreTrouble, &detail)
        }
    }
}

fn hold<S: Store, T: Station>(inner: &Inner<S, T>, times: u32, code: WaitCode, detail: &str) -> Wait {
    let wait = crate::retry::jittered(inner.settings.busy_retry * times, &mut *inner.rng());
    Wait::until(code, later(inner.now(), wait), detail)
}

pub(crate) struct Flow<'a, S: Store, T: Station> {
    pub(crate) inner: &'a Inner<S, T>,
    pub(crate) held: &'a Held<S>,
    host: &'a HostName,
    /// The steps of each try so far, for its row in the history.
    tries: HashMap<(ReservationId, OperationKind), Vec<Value>>,
}

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Does what is due, one decision after the other; gives how many there were.
    async fn run(&mut self) -> Result<usize, FlowError> {
        for decisions in 0..MAX_DECISIONS {
            if self.inner.stopping.is_cancelled() {
                debug!("stopping between two steps");
                return Ok(decisions);
            }
            let items = self.read().await?;
            let plan = plan_host(self.inner.now(), &self.inner.settings, &items);
            let Some(decision) = plan.act else {
                return Ok(decisions);
            };
            let item = items
                .iter()
                .find(|item| item.reservation.id == decision.reservation);
            // The reservation was changed since the pass: there is no host to do that on.
            let impossible = self.is_stand_in() && !matches!(decision.act, Act::Missed(_));
            let Some(item) = item.filter(|_| !impossible) else {
                return Ok(decisions);
            };
            let kind = decision.kind.as_str();
            let span = info_span!("decision", reservation.id = %decision.reservation, operation.kind = kind);
            self.carry_out(item, decision).instrument(span).await?;
        }
        Ok(MAX_DECISIONS)
    }

    fn is_stand_in(&self) -> bool {
        stand_in().is_some_and(|none| none == *self.host)
    }

    /// Reads all reservations of the host anew, so that a cancellation is seen between two steps.
    async fn read(&self) -> Result<Vec<WorkItem>, StoreError> {
        let mut items = Vec::new();
        for id in self.inner.slots.reservations(self.host) {
            let found = insist(|| self.inner.store.find_work(&id)).await?;
            items.extend(found.filter(|item| self.is_here(item)));
        }
        Ok(items)
    }

    /// An operation may have been opened on another host since, by a copy with another catalog.
    fn is_here(&self, item: &WorkItem) -> bool {
        item.end
            .as_ref()
            .or(item.start.as_ref())
            .is_none_or(|operation| operation.host == *self.host)
    }

    async fn carry_out(&mut self, item: &WorkItem, decision: Decision) -> Result<(), FlowError> {
        let kind = decision.kind;
        match decision.act {
            Act::Run {
                step,
                args,
                due_at,
                note,
            } => {
                let operation = match operation_of(item, kind) {
                    Some(operation) => operation.clone(),
                    None => {
                        self.open(item, kind, State::first(first_step(kind)), due_at)
                            .await?
                    }
                };
                self.run_step(item, operation, step, args, note).await
            }
            Act::Missed(reason) => self.miss(item, reason).await,
            Act::Check => self.check(item, kind).await,
            Act::Postpone { until, reason } => {
                self.close(item, kind, Event::Postponed { reason, until }).await
            }
            Act::Settle(note) => {
                info!(reason = %note, "nothing more is needed");
                self.close(
                    item,
                    kind,
                    Event::Settled {
                        note,
                        at: self.inner.now(),
                    },
                )
                .await
            }
            Act::GiveUp(reason) => {
                warn!(%reason, "given up");
                self.close(
                    item,
                    kind,
                    Event::GaveUp {
                        reason,
                        at: self.inner.now(),
                    },
                )
                .await
            }
        }
    }

    async fn open(
        &self,
        item: &WorkItem,
        kind: OperationKind,
        state: State,
        due_at: chrono::DateTime<chrono::Utc>,
    ) -> Result<Operation, StoreError> {
        let reservation = &item.reservation;
        let new = NewOperation {
            key: format!("{}:{}", kind.as_str(), reservation.id),
            kind,
            reservation: reservation.id.clone(),
            lab: Some(reservation.lab.clone()),
            host: self.host.clone(),
            state,
            due_at,
        };
        let now = self.inner.now();
        insist(|| {
            self.inner
                .store
                .open_operation(self.held.claim(), new.clone(), now)
        })
        .await
    }

    /// Records a reservation that was over before anything was done for it.
    async fn miss(&mut self, item: &WorkItem, reason: Reason) -> Result<(), FlowError> {
        warn!(%reason, "missed");
        let now = self.inner.now();
        let state = State::NeedsAttention {
            step: None,
            at: now,
            reason: reason.clone(),
        };
        let due_at = crate::instant::earlier(item.reservation.starts_at, self.inner.settings.lead);
        let operation = self
            .open(item, OperationKind::Start, state.clone(), due_at)
            .await?;
        if operation.state != state {
            debug!("another copy was faster");
            return Ok(());
        }
        let row = try_row(
            &(&operation).into(),
            OperationKind::Start,
            &[],
            Some(&reason),
            now,
        );
        insist(|| self.inner.store.add_history(&row)).await?;
        Ok(())
    }

    /// Saves a state that is reached without a try of a step.
    async fn close(&mut self, item: &WorkItem, kind: OperationKind, event: Event) -> Result<(), FlowError> {
        let Some(mut operation) = operation_of(item, kind).cloned() else {
            return Ok(());
        };
        let now = self.inner.now();
        let steps = self.steps(&operation);
        let row = match &event {
            Event::GaveUp { reason, .. } => {
                Some(try_row(&(&operation).into(), kind, &steps, Some(reason), now))
            }
            _ => None,
        };
        operation.state = operation.state.apply(event)?;
        self.save(&operation, row.as_slice()).await
    }

    pub(crate) async fn save(
        &self,
        operation: &Operation,
        rows: &[crate::ports::HistoryRow],
    ) -> Result<(), FlowError> {
        let now = self.inner.now();
        insist(|| {
            self.inner
                .store
                .save_operation(self.held.claim(), operation, rows, now)
        })
        .await?;
        Ok(())
    }

    /// Notes a step for the row of the whole try.
    pub(crate) fn note_step(&mut self, operation: &Operation, entry: Value) {
        self.tries
            .entry((operation.reservation.clone(), operation.kind))
            .or_default()
            .push(entry);
    }

    /// The steps of the try that ends now.
    pub(crate) fn steps(&mut self, operation: &Operation) -> Vec<Value> {
        self.tries
            .remove(&(operation.reservation.clone(), operation.kind))
            .unwrap_or_default()
    }
}

pub(crate) fn operation_of(item: &WorkItem, kind: OperationKind) -> Option<&Operation> {
    match kind {
        OperationKind::Start => item.start.as_ref(),
        OperationKind::End => item.end.as_ref(),
        OperationKind::ManualStart | OperationKind::ManualEnd => None,
    }
}

fn first_step(kind: OperationKind) -> Step {
    match kind {
        OperationKind::Start | OperationKind::ManualStart => Step::Wake,
        OperationKind::End | OperationKind::ManualEnd => Step::Release,
    }
}

//! A flow: everything that is due for one host now, under one claim, planned anew before each step.

mod open;

use std::collections::HashMap;
use std::sync::Arc;

use lab_model::{HostName, ReservationId};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, info, info_span, warn};

use crate::engine::{Inner, Interrupted};
use crate::events::scheduled_span;
use crate::explain::WaitCode;
use crate::held::{Held, insist};
use crate::history::try_row;
use crate::hold::{Hold, Place, busy, hold, trouble};
use crate::operation::{Operation, OperationId, OperationKind, Step};
use crate::pace::{Place as QueuePlace, Ticket};
use crate::plan::{Act, Decision, HostFacts, begun_on, plan_host, stand_in};
use crate::ports::{Station, Store, StoreError, TimingSample, WorkItem};
use crate::reservation::ReservationStatus;
use crate::state::{Event, IllegalTransition, State};
use crate::turn::wait_for_turn;

pub(crate) use open::first_step;

/// How many decisions one flow carries out at most; the next pass goes on. A whole turnaround takes about eight.
const MAX_DECISIONS: usize = 64;
/// The same where there is no host: these need nothing but a row each, and are read at once.
const MAX_WITHOUT_HOST: usize = 512;

/// How far a flow came under one claim.
enum Ran {
    /// Nothing more is due now; so many decisions were carried out.
    Through(usize),
    /// The next step is a wake whose turn has not come.
    ToWake(QueuePlace),
}

/// What follows a time under a claim.
enum Ended {
    /// The flow is over; the host is left alone for a moment, if there is a reason.
    Over(Option<Hold>),
    /// It goes on under another claim when the turn of its wake has come.
    ToWake(QueuePlace),
}

/// What ends a flow before it is done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FlowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
}

/// Runs one flow and frees the host's place, whatever happens in between. `queued` is its place in the queue of wakes,
/// if it is to begin with one.
pub(crate) async fn run<S: Store, T: Station>(
    inner: Arc<Inner<S, T>>,
    host: HostName,
    mut queued: Option<QueuePlace>,
) {
    let mut place = Place::new(&inner, &host);
    let mut turn = None;
    loop {
        let span = info_span!("flow", host.name = %host, claim.token = tracing::field::Empty);
        let under_claim = claim_and_run(&inner, &host, turn.take(), queued.take());
        match under_claim.instrument(span).await {
            Ended::Over(hold) => {
                place.hold = hold;
                return;
            }
            Ended::ToWake(queued) => turn = wait_for_turn(&inner, &host, queued).await,
        }
        if turn.is_none() {
            return;
        }
    }
}

async fn claim_and_run<S: Store, T: Station>(
    inner: &Inner<S, T>,
    host: &HostName,
    turn: Option<Ticket>,
    place: Option<QueuePlace>,
) -> Ended {
    let held = match Held::take(inner, host).await {
        Ok(Some(held)) => held,
        Ok(None) => return Ended::Over(Some(busy(inner, host).await)),
        Err(error) => return Ended::Over(Some(trouble(inner, &error.into()))),
    };
    tracing::Span::current().record("claim.token", held.claim().token.0);
    let waited = turn.is_some();
    let result = {
        let mut flow = Flow {
            inner,
            held: &held,
            host,
            tries: HashMap::new(),
            spans: HashMap::new(),
            turn,
            place,
            asked_at: Instant::now(),
            samples: Vec::new(),
        };
        inner.under(&held, flow.run()).await
    };
    match result {
        Ok(Ok(Ran::ToWake(place))) => {
            held.give_back().await;
            Ended::ToWake(place)
        }
        Ok(Ok(Ran::Through(decisions))) => {
            held.give_back().await;
            // Without this, a store whose answers contradict each other would be asked without a pause.
            let idle = decisions == 0 && !waited;
            let detail = "what was due was no longer due when looked at";
            Ended::Over(idle.then(|| hold(inner, 1, WaitCode::Retry, detail)))
        }
        Ok(Err(error)) => {
            let hold = trouble(inner, &error);
            if matches!(error, FlowError::Store(StoreError::Fenced { .. })) {
                inner.listeners.claim_lost(host);
            }
            held.give_back().await;
            Ended::Over(Some(hold))
        }
        Err(interrupted) => {
            held.abandon();
            warn!(?interrupted, "flow was interrupted; it is resumed at its step");
            let lost = interrupted == Interrupted::ClaimLost;
            if lost {
                inner.listeners.claim_lost(host);
            }
            Ended::Over(lost.then(|| hold(inner, 1, WaitCode::StoreTrouble, "the claim was lost")))
        }
    }
}

pub(crate) struct Flow<'a, S: Store, T: Station> {
    pub(crate) inner: &'a Inner<S, T>,
    pub(crate) held: &'a Held<S>,
    pub(crate) host: &'a HostName,
    /// The steps of each try so far, for its row in the history.
    tries: HashMap<(ReservationId, OperationKind), Vec<Value>>,
    /// The spans of the operations that it has worked on.
    spans: HashMap<OperationId, Span>,
    /// The right to wake the host, when it has come and was not used yet.
    pub(crate) turn: Option<Ticket>,
    /// Its place in the queue of wakes, which the pass took before anybody behind it could begin.
    pub(crate) place: Option<QueuePlace>,
    /// When what the plan is made of was asked for.
    pub(crate) asked_at: Instant,
    /// How long its steps took, as far as that says how early the host has to be woken.
    pub(crate) samples: Vec<TimingSample>,
}

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Does what is due, and remembers how long it took.
    async fn run(&mut self) -> Result<Ran, FlowError> {
        let ran = self.decide().await?;
        self.learn().await;
        Ok(ran)
    }

    async fn decide(&mut self) -> Result<Ran, FlowError> {
        let mut told = false;
        let mut read = None;
        let most = if self.is_stand_in() {
            MAX_WITHOUT_HOST
        } else {
            MAX_DECISIONS
        };
        for decisions in 0..most {
            if self.inner.stopping.is_cancelled() {
                debug!("stopping between two steps");
                return Ok(Ran::Through(decisions));
            }
            self.asked_at = Instant::now();
            let (mut items, facts) = match read.take() {
                Some(read) => read,
                None => self.read().await?,
            };
            if !std::mem::replace(&mut told, true) {
                let takeover = items.iter().any(is_under_way);
                self.inner.listeners.claim_taken(self.held.claim(), takeover);
            }
            let plan = plan_host(self.inner.now(), &self.inner.settings, &facts, &items);
            let Some(mut decision) = plan.act else {
                return Ok(Ran::Through(decisions));
            };
            let item = items
                .iter()
                .find(|item| item.reservation.id == decision.reservation);
            // There is no host to do that on; the plan does not ask for it.
            let impossible = self.is_stand_in() && needs_host(&decision.act);
            let Some(item) = item.filter(|_| !impossible) else {
                return Ok(Ran::Through(decisions));
            };
            if self.is_hearsay(item, &decision, &facts) {
                debug!("somebody else prepared the host; it is looked at before it is handed over");
                decision.act = again_from_wake(decision.act);
            }
            let starts_at = item.reservation.starts_at;
            if let Err(place) = self.take_turn(&decision.act, starts_at) {
                return Ok(Ran::ToWake(place));
            }
            let span = self.span_of(item, &decision);
            let done = decision.reservation.clone();
            self.carry_out(item, decision).instrument(span).await?;
            // What has no host waits for nobody else: all of it is read once, and each is looked at once.
            if self.is_stand_in() {
                items.retain(|item| item.reservation.id != done);
                read = Some((items, facts));
            }
        }
        Ok(Ran::Through(most))
    }

    /// What happens because of a decision belongs to its operation, which is not opened yet before the first one.
    fn span_of(&mut self, item: &WorkItem, decision: &Decision) -> Span {
        match operation_of(item, decision.kind) {
            Some(operation) => self.operation_span(operation),
            None => info_span!("decision", reservation.id = %decision.reservation,
                operation.kind = decision.kind.as_str()),
        }
    }

    pub(crate) fn operation_span(&mut self, operation: &Operation) -> Span {
        let span = self.spans.entry(operation.id);
        span.or_insert_with(|| scheduled_span(operation, self.held.claim()))
            .clone()
    }

    /// Whether a reservation is to become active on a host of which this flow has seen nothing: whoever prepared it
    /// lost the claim since, and the host may have been rebooted or released by anybody.
    fn is_hearsay(&self, item: &WorkItem, decision: &Decision, facts: &HostFacts) -> bool {
        let activates = matches!(
            decision.act,
            Act::Run {
                step: Step::Activate,
                ..
            }
        );
        let key = (decision.reservation.clone(), decision.kind);
        let confirmed = item.reservation.status == ReservationStatus::Confirmed;
        activates && confirmed && facts.absence().is_none() && !self.tries.contains_key(&key)
    }

    pub(crate) fn is_stand_in(&self) -> bool {
        stand_in().is_some_and(|none| none == *self.host)
    }

    /// Reads all reservations of the host anew, so that a cancellation is seen between two steps.
    async fn read(&self) -> Result<(Vec<WorkItem>, HostFacts), StoreError> {
        let (ids, mut facts) = self.inner.slots.known(self.host);
        let (maintenance, mut items) = tokio::try_join!(
            insist(|| self.inner.maintenance_of(self.host)),
            insist(|| self.inner.store.find_work(&ids))
        )?;
        facts.maintenance = maintenance;
        items.retain(|item| self.is_here(item));
        Ok((items, facts))
    }

    /// An operation may have been opened on another host since, by a copy with another catalog.
    fn is_here(&self, item: &WorkItem) -> bool {
        begun_on(item).is_none_or(|host| host == self.host)
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
                if operation.host != *self.host {
                    debug!(other = %operation.host, "another copy has begun it on another host");
                    return Ok(());
                }
                self.run_step(item, operation, step, args, note).await
            }
            Act::Missed(reason) => self.miss(item, reason).await,
            Act::Check => self.check(item, kind).await,
            Act::Absent { reason, due_at } => self.absent(item, kind, reason, due_at).await,
            Act::HandOver { to, reason } => self.hand_over(item, kind, to, reason).await,
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

    /// Saves a state that is reached without a try of a step.
    async fn close(&mut self, item: &WorkItem, kind: OperationKind, event: Event) -> Result<(), FlowError> {
        match operation_of(item, kind) {
            Some(operation) => self.end(item, operation.clone(), event).await,
            None => Ok(()),
        }
    }

    async fn end(
        &mut self,
        item: &WorkItem,
        mut operation: Operation,
        event: Event,
    ) -> Result<(), FlowError> {
        let now = self.inner.now();
        let kind = operation.kind;
        let steps = self.steps(&operation);
        let row = match &event {
            Event::GaveUp { reason, .. } => {
                Some(try_row(&(&operation).into(), kind, &steps, Some(reason), now))
            }
            _ => None,
        };
        operation.state = operation.state.apply(event)?;
        self.tell_end(item, &operation);
        self.save(item, &operation, row.as_slice()).await
    }

    /// The line in the log when a person has to look: what an operator would be told who asked.
    pub(crate) fn tell_end(&self, item: &WorkItem, operation: &Operation) {
        if let State::NeedsAttention { reason, .. } = &operation.state {
            let explained = self.inner.last_word(item, operation);
            warn!(%reason, explained, "given up");
        }
    }

    pub(crate) async fn save(
        &self,
        item: &WorkItem,
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
        self.inner.listeners.stored_for(operation, &item.reservation);
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

/// The operation that goes on; none for what is started once more.
pub(crate) fn operation_of(item: &WorkItem, kind: OperationKind) -> Option<&Operation> {
    match kind {
        OperationKind::Start => item.start.as_ref().filter(|_| !item.is_confirmed_again()),
        OperationKind::End => item.end.as_ref(),
        OperationKind::ManualStart | OperationKind::ManualEnd => None,
    }
}

/// Whether a step was begun whose outcome nobody wrote, which a flow that has just taken the host has not done itself.
fn is_under_way(item: &WorkItem) -> bool {
    let open = |state: &State| matches!(state, State::Running { .. } | State::Checking { .. });
    item.start
        .iter()
        .chain(&item.end)
        .any(|operation| open(&operation.state))
}

/// The same start from its first step, which finds out whether the host is still prepared.
fn again_from_wake(act: Act) -> Act {
    match act {
        Act::Run {
            args, due_at, note, ..
        } => Act::Run {
            step: Step::Wake,
            args,
            due_at,
            note,
        },
        other => other,
    }
}

/// Whether an act reaches out to the host.
fn needs_host(act: &Act) -> bool {
    match act {
        Act::Run { step, .. } => !matches!(step, Step::Activate | Step::Complete),
        Act::Check => true,
        Act::Missed(_)
        | Act::Absent { .. }
        | Act::HandOver { .. }
        | Act::Postpone { .. }
        | Act::Settle(_)
        | Act::GiveUp(_) => false,
    }
}

//! What callers ask for: steps on one host at once, under the same claim that the scheduler takes.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use lab_model::{HostName, LabId, ReservationId};
use rand::RngExt;
use tokio::time::{Instant, sleep};
use tracing::{Instrument, Span, info_span};

use crate::check::{Found, decide};
use crate::engine::{Engine, Inner, Interrupted};
use crate::events::{StepEnd, manual_span, step_span};
use crate::flow::FlowError;
use crate::held::{Held, insist};
use crate::history::{Subject, step_row};
use crate::maintenance::Maintenance;
use crate::operation::{NewOperation, Operation, OperationKind, Repetition, Step};
use crate::perform::{observe, perform};
use crate::ports::{
    AttemptEnd, AttemptId, AttemptOutcome, Station, StepAction, StepOutcome, StepReport, Store, StoreError,
};
use crate::reason::Reason;
use crate::retry::jittered;
use crate::state::{Event, IllegalTransition, State};

/// How often a host that is busy is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct ManualOrder {
    /// For which reservation; it need not exist.
    pub reservation: ReservationId,
    /// For which lab, if one was named.
    pub lab: Option<LabId>,
    /// On which host.
    pub host: HostName,
    /// [`OperationKind::ManualStart`] or [`OperationKind::ManualEnd`].
    pub kind: OperationKind,
    /// What to do, in this order; the first failure ends it.
    pub steps: Vec<StepAction>,
    /// How long to wait for the host while somebody else acts on it.
    pub wait_for_host: Duration,
    /// The operation's key in the journal, by which its caller finds it again; `None` draws one. It has to be new: at
    /// most 190 characters that no other order ever had.
    pub key: Option<String>,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct ManualReport {
    /// Whether every step took effect.
    pub success: bool,
    /// The steps that were tried.
    pub steps: Vec<ManualStep>,
    /// Who works at the host, if somebody does. The order was carried out nevertheless: whoever gives it may be the one.
    pub maintenance: Option<Maintenance>,
}

impl ManualReport {
    fn of(success: bool, steps: Vec<ManualStep>) -> Self {
        Self {
            success,
            steps,
            maintenance: None,
        }
    }
}

/// One step of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct ManualStep {
    /// `wake`, `prepare`, `release` or `power:<mode>`.
    pub action: String,
    /// What came of it.
    pub report: StepReport,
}

/// Why an order was not carried out, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// Somebody else acts on the host; nothing was done. Worth another try after `left`.
    #[error("host {host} is busy: {holder} is at work on it")]
    HostBusy {
        /// Which host.
        host: HostName,
        /// Who.
        holder: String,
        /// How much of their lease is left.
        left: Duration,
    },
    /// This process stops: nothing was begun, or the step under way was dropped and its effect is unknown.
    #[error("the service is stopping")]
    Stopping,
    /// The store failed or the claim was lost; what was under way may have taken effect.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A fault of the program.
    #[error("the operation was moved in a way that cannot be")]
    Illegal(#[from] IllegalTransition),
}

impl From<FlowError> for ManualError {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Store(error) => Self::Store(error),
            FlowError::Illegal(error) => Self::Illegal(error),
        }
    }
}

impl<S: Store, T: Station> Engine<S, T> {
    /// Carries out a caller's steps: no retries, and the reservation's status is never touched. Each step leaves
    /// its row in the history and its try in the journal.
    ///
    /// # Errors
    /// See [`ManualError`]. A step that fails is no error but part of the report.
    ///
    /// # Cancel safety
    /// The steps run to their end also when this future is dropped.
    pub async fn run_manual(&self, order: ManualOrder) -> Result<ManualReport, ManualError> {
        if self.inner.stopping.is_cancelled() {
            return Err(ManualError::Stopping);
        }
        let inner = Arc::clone(&self.inner);
        let span = info_span!("manual", host.name = %order.host, reservation.id = %order.reservation,
            operation.kind = order.kind.as_str(), claim.token = tracing::field::Empty);
        let work = self
            .inner
            .tracker
            .spawn(async move { run(&inner, order).await }.instrument(span));
        work.await.unwrap_or(Err(ManualError::Stopping))
    }

    /// Runs `work` while holding the claim on `host`, for commands that are no operation.
    ///
    /// # Errors
    /// [`ManualError::HostBusy`] when the host is not free within `wait`; `work` was not polled then.
    /// [`ManualError::Store`] when the claim was lost; `work` was dropped then.
    ///
    /// # Cancel safety
    /// A dropped future drops `work` and gives the claim back.
    pub async fn with_host_claim<F: Future + Send>(
        &self,
        host: &HostName,
        wait: Duration,
        work: F,
    ) -> Result<F::Output, ManualError> {
        let held = acquire(&self.inner, host, wait).await?;
        finish(&self.inner, held, work).await
    }
}

async fn run<S: Store, T: Station>(
    inner: &Inner<S, T>,
    order: ManualOrder,
) -> Result<ManualReport, ManualError> {
    let Some(first) = order.steps.first() else {
        return Ok(ManualReport::of(true, Vec::new()));
    };
    let state = State::first(first.step());
    // For people only: an order is not refused for want of this.
    let maintenance = inner.maintenance_of(&order.host).await.unwrap_or_default();
    let held = acquire(inner, &order.host, order.wait_for_host).await?;
    tracing::Span::current().record("claim.token", held.claim().token.0);
    let work = carry_out(inner, &held, &order, state);
    let result = inner.under(&held, work).await;
    if matches!(result, Ok(Err(ManualError::Store(StoreError::Fenced { .. })))) {
        inner.listeners.claim_lost(&order.host);
    }
    let report = close(inner, &order.host, held, result).await??;
    Ok(ManualReport {
        maintenance,
        ..report
    })
}

async fn carry_out<S: Store, T: Station>(
    inner: &Inner<S, T>,
    held: &Held<S>,
    order: &ManualOrder,
    state: State,
) -> Result<ManualReport, ManualError> {
    let now = inner.now();
    let drawn = || format!("api:{:032x}", inner.rng().random::<u128>());
    let new = NewOperation {
        key: order.key.clone().unwrap_or_else(drawn),
        kind: order.kind,
        reservation: order.reservation.clone(),
        lab: order.lab.clone(),
        host: order.host.clone(),
        state,
        due_at: now,
    };
    let operation = insist(|| inner.store.open_operation(held.claim(), new.clone(), now)).await?;
    let span = manual_span(&operation, held.claim());
    let order_under_way = Manual {
        inner,
        held,
        operation,
        span: span.clone(),
    };
    order_under_way.run(&order.steps).instrument(span).await
}

async fn finish<S: Store, T: Station, F: Future>(
    inner: &Inner<S, T>,
    held: Held<S>,
    work: F,
) -> Result<F::Output, ManualError> {
    let host = held.claim().host.clone();
    let result = inner.under(&held, work).await;
    close(inner, &host, held, result).await
}

async fn close<S: Store, T: Station, R>(
    inner: &Inner<S, T>,
    host: &HostName,
    held: Held<S>,
    result: Result<R, Interrupted>,
) -> Result<R, ManualError> {
    match result {
        Ok(result) => {
            held.give_back().await;
            Ok(result)
        }
        Err(interrupted) => {
            held.abandon();
            Err(match interrupted {
                Interrupted::ClaimLost => {
                    inner.listeners.claim_lost(host);
                    StoreError::Fenced { host: host.clone() }.into()
                }
                Interrupted::Dropped => ManualError::Stopping,
            })
        }
    }
}

/// Takes the claim, waiting for it at most `wait`.
async fn acquire<S: Store, T: Station>(
    inner: &Inner<S, T>,
    host: &HostName,
    wait: Duration,
) -> Result<Held<S>, ManualError> {
    let started_at = Instant::now();
    loop {
        if inner.stopping.is_cancelled() {
            return Err(ManualError::Stopping);
        }
        if let Some(held) = Held::take(inner, host).await? {
            inner.listeners.claim_taken(held.claim(), false);
            return Ok(held);
        }
        if started_at.elapsed() >= wait {
            let info = inner.store.find_claim(host).await?;
            let (holder, left) = info.map_or_else(
                || ("somebody".to_owned(), Duration::ZERO),
                |info| (info.holder, info.left),
            );
            return Err(ManualError::HostBusy {
                host: host.clone(),
                holder,
                left,
            });
        }
        let pause = jittered(ASK_EVERY, &mut *inner.rng());
        sleep(
            pause
                .min(wait.saturating_sub(started_at.elapsed()))
                .max(Duration::from_millis(10)),
        )
        .await;
    }
}

/// One order under way.
struct Manual<'a, S: Store, T: Station> {
    inner: &'a Inner<S, T>,
    held: &'a Held<S>,
    operation: Operation,
    span: Span,
}

impl<S: Store, T: Station> Manual<'_, S, T> {
    async fn run(mut self, actions: &[StepAction]) -> Result<ManualReport, ManualError> {
        let mut steps = Vec::new();
        for (index, action) in actions.iter().enumerate() {
            let next = actions.get(index + 1);
            let number = self.operation.state.attempt() + 1;
            let span = step_span(&self.span, action.step(), number);
            let report = self.step(action, next).instrument(span).await?;
            let success = report.is_success();
            steps.push(ManualStep {
                action: action.history_name(),
                report,
            });
            if !success {
                return Ok(ManualReport::of(false, steps));
            }
        }
        Ok(ManualReport::of(true, steps))
    }

    async fn step(
        &mut self,
        action: &StepAction,
        next: Option<&StepAction>,
    ) -> Result<StepReport, ManualError> {
        let (inner, claim) = (self.inner, self.held.claim());
        let step = action.step();
        let now = inner.now();
        self.apply(Event::Begin { step, at: now })?;
        if step == Step::Prepare {
            self.operation.prepare_began_at.get_or_insert(now);
        }
        let number = self.operation.state.attempt();
        let id = insist(|| {
            inner
                .store
                .begin_attempt(claim, &self.operation, step, number, now)
        })
        .await?;
        let began_at = Instant::now();
        inner.listeners.step_began(&self.operation, step, number);
        if !self.held.may_act(step).await {
            return Err(self.held.fenced().into());
        }
        let mut report = perform(inner, &self.operation.host, action.clone()).await;
        if let StepOutcome::Unknown(reason) = report.outcome.clone() {
            self.find_out(action, reason, &mut report).await;
        }
        let (ended, reason) = self.finish(id, action, next, &report).await?;
        let ended = StepEnd {
            outcome: ended,
            duration: began_at.elapsed(),
            reason: reason.as_ref(),
        };
        inner.listeners.step_ended(&self.operation, step, number, ended);
        inner.listeners.stored(&self.operation);
        Ok(report)
    }

    async fn finish(
        &mut self,
        id: AttemptId,
        action: &StepAction,
        next: Option<&StepAction>,
        report: &StepReport,
    ) -> Result<(AttemptOutcome, Option<Reason>), ManualError> {
        let (inner, claim) = (self.inner, self.held.claim());
        let at = inner.now();
        let next = next.map(StepAction::step);
        let (ended, reason) = match &report.outcome {
            StepOutcome::Done => (AttemptOutcome::Done, None),
            StepOutcome::DoneWithWarnings => (AttemptOutcome::DoneWithWarnings, None),
            StepOutcome::Failed(reason) => (AttemptOutcome::Failed, Some(reason)),
            StepOutcome::Unknown(reason) => (AttemptOutcome::Unknown, Some(reason)),
        };
        self.apply(match reason.cloned() {
            None => Event::Succeeded { next, note: None, at },
            Some(reason) => Event::Failed {
                reason,
                retry_at: None,
                at,
            },
        })?;
        let rows = [step_row(
            &Subject::from(&self.operation),
            &action.history_name(),
            report,
            at,
        )];
        let end = AttemptEnd {
            operation: &self.operation,
            attempt: id,
            outcome: ended,
            reason,
            history: &rows,
            now: at,
        };
        insist(|| inner.store.finish_attempt(claim, end)).await?;
        Ok((ended, reason.cloned()))
    }

    /// Looks at the host when the answer to a step was lost. Nothing is sent a second time: the caller decides.
    async fn find_out(&self, action: &StepAction, reason: Reason, report: &mut StepReport) {
        let State::Running { step, since, .. } = self.operation.state else {
            return;
        };
        if step.repetition() == Repetition::Repeatable {
            return;
        }
        let seen = observe(self.inner, &self.operation.host).await;
        if decide(step, since, &seen) == Found::Done {
            tracing::warn!(action = action.history_name(), %reason, "answer lost, but the host shows the effect");
            report.outcome = StepOutcome::DoneWithWarnings;
        }
    }

    fn apply(&mut self, event: Event) -> Result<(), IllegalTransition> {
        self.operation.state = self.operation.state.clone().apply(event)?;
        Ok(())
    }
}

//! One step of a scheduled operation: intent committed, effect, outcome committed.

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::{Instrument, info, warn};

use crate::check::is_prepared_since;
use crate::events::{StepEnd, step_span};
use crate::flow::{Flow, FlowError, first_step};
use crate::held::insist;
use crate::history::{step_entry, step_row, try_row};
use crate::instant::{earlier, later};
use crate::look::released_for;
use crate::operation::{Operation, OperationKind, Repetition, Step};
use crate::perform::perform;
use crate::ports::{
    AttemptEnd, AttemptOutcome, HistoryRow, Observation, Station, StepAction, StepOutcome, StepReport, Store,
    StoreError, WakeOrder, WorkItem,
};
use crate::reason::Reason;
use crate::reservation::ReservationStatus;
use crate::retry::next_try;
use crate::settings::LocalModePolicy;
use crate::state::{Event, State};

/// How often a status that moved while it was being changed is read again.
const STATUS_TRIES: usize = 3;

/// What came of one step: what to write under the claim.
pub(crate) struct Outcome {
    pub(crate) attempt: AttemptOutcome,
    pub(crate) event: Event,
    pub(crate) reason: Option<Reason>,
    pub(crate) rows: Vec<HistoryRow>,
}

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Carries out one step. `args` follow the command word of a release; `note` says why steps were left out.
    pub(crate) async fn run_step(
        &mut self,
        item: &WorkItem,
        mut operation: Operation,
        step: Step,
        args: Vec<String>,
        note: Option<Reason>,
    ) -> Result<(), FlowError> {
        let now = self.inner.now();
        operation.state = operation.state.apply(Event::Begin { step, at: now })?;
        if step == Step::Prepare {
            operation.prepare_began_at.get_or_insert(now);
        }
        let attempt = operation.state.attempt();
        let span = step_span(&self.operation_span(&operation), step, attempt);
        let work = self.intend_and_act(item, operation, step, args, note);
        work.instrument(span).await
    }

    /// `operation` is the one whose state says that the step is under way, which nobody knows yet.
    async fn intend_and_act(
        &mut self,
        item: &WorkItem,
        mut operation: Operation,
        step: Step,
        args: Vec<String>,
        note: Option<Reason>,
    ) -> Result<(), FlowError> {
        let (claim, store) = (self.held.claim(), &self.inner.store);
        let attempt = operation.state.attempt();
        let now = self.inner.now();
        let id = insist(|| store.begin_attempt(claim, &operation, step, attempt, now)).await?;
        let began_at = Instant::now();
        self.tell_began(&operation, step, attempt);
        // What was planned that long ago may no longer be wanted; it is resumed as after a crash.
        if self.asked_at.elapsed() > self.inner.settings.lease / 3 && self.has_changed(item, step).await? {
            let late = "the intent was so long in coming that the plan behind it is too old";
            return Err(StoreError::Unavailable(late.into()).into());
        }
        if !self.held.may_act(step).await {
            return Err(self.held.fenced().into());
        }
        #[cfg(feature = "mutants")]
        if self.boast(id, &operation, step).await? {
            self.effect(item, &operation, step, args, note).await?;
            return Ok(());
        }
        let outcome = self.effect(item, &operation, step, args, note).await?;
        operation.state = operation.state.clone().apply(outcome.event)?;
        self.set_idle_due(&mut operation);
        tell(&operation.state, outcome.reason.as_ref());
        self.tell_end(item, &operation);
        let end = AttemptEnd {
            operation: &operation,
            attempt: id,
            outcome: outcome.attempt,
            reason: outcome.reason.as_ref(),
            history: &outcome.rows,
            now: self.inner.now(),
        };
        insist(|| store.finish_attempt(claim, end)).await?;
        let listeners = &self.inner.listeners;
        let ended = StepEnd {
            outcome: outcome.attempt,
            duration: began_at.elapsed(),
            reason: outcome.reason.as_ref(),
        };
        listeners.step_ended(&operation, step, attempt, ended);
        if step == Step::Activate && outcome.attempt == AttemptOutcome::Done {
            listeners.ready(&operation, &item.reservation, self.inner.now());
        }
        listeners.stored_for(&operation, &item.reservation);
        Ok(())
    }

    fn tell_began(&self, operation: &Operation, step: Step, attempt: u32) {
        let listeners = &self.inner.listeners;
        if attempt == 1 && step == first_step(operation.kind) {
            listeners.dispatched(operation, self.inner.now());
        }
        listeners.step_began(operation, step, attempt);
    }

    async fn effect(
        &mut self,
        item: &WorkItem,
        operation: &Operation,
        step: Step,
        args: Vec<String>,
        note: Option<Reason>,
    ) -> Result<Outcome, FlowError> {
        let action = match step {
            Step::Activate => return self.activate(item, operation).await,
            Step::Complete => return self.complete(item, operation, note).await,
            Step::Wake => StepAction::Wake(WakeOrder::default()),
            Step::Prepare => StepAction::Prepare {
                args: self.guard_args(),
            },
            Step::Release => StepAction::Release { args },
            Step::Power => return self.take_down(item, operation, args).await,
        };
        Ok(self.on_host(item, operation, action).await)
    }

    fn guard_args(&self) -> Vec<String> {
        vec![format!(
            "--guard-grace={}",
            self.inner.settings.guard_grace.as_secs()
        )]
    }

    /// A step that the station carries out.
    async fn on_host(&mut self, item: &WorkItem, operation: &Operation, action: StepAction) -> Outcome {
        let step = action.step();
        let name = action.history_name();
        let report = perform(self.inner, &operation.host, action).await;
        self.note_step(operation, step_entry(&name, &report));
        let now = self.inner.now();
        let row = step_row(&operation.into(), &name, &report, now);
        let mut outcome = match report.outcome.clone() {
            StepOutcome::Done | StepOutcome::DoneWithWarnings => {
                self.took_effect(item, operation, step, &report)
            }
            StepOutcome::Unknown(reason) if step.repetition() != Repetition::Repeatable => Outcome {
                attempt: AttemptOutcome::Unknown,
                event: Event::EffectUnknown,
                reason: Some(reason),
                rows: Vec::new(),
            },
            StepOutcome::Failed(reason) | StepOutcome::Unknown(reason) => {
                self.failed(item, operation, reason)
            }
        };
        outcome.rows.insert(0, row);
        outcome
    }

    fn took_effect(
        &mut self,
        item: &WorkItem,
        operation: &Operation,
        step: Step,
        report: &StepReport,
    ) -> Outcome {
        let attempt = match report.outcome {
            StepOutcome::DoneWithWarnings => AttemptOutcome::DoneWithWarnings,
            _ => AttemptOutcome::Done,
        };
        self.note_timing(operation, report);
        if let Some(reason) = self.blocked(step, report.observed.as_ref()) {
            return Outcome {
                attempt,
                ..self.failed(item, operation, reason)
            };
        }
        let next = match step {
            Step::Wake if self.is_prepared(item, operation, report.observed.as_ref()) => Some(Step::Activate),
            Step::Wake => Some(Step::Prepare),
            Step::Prepare => Some(Step::Activate),
            _ => Some(Step::Complete),
        };
        succeeded(attempt, next, None, self.inner.now(), Vec::new())
    }

    /// Why a host that is awake is not taken: somebody has put it into local mode.
    fn blocked(&self, step: Step, seen: Option<&Observation>) -> Option<Reason> {
        if step != Step::Wake || seen.and_then(|seen| seen.local_mode) != Some(true) {
            return None;
        }
        match self.inner.settings.local_mode {
            LocalModePolicy::Block => Some(Reason::new(
                "local_mode",
                "the station is in local mode and is not taken from whoever works there",
            )),
            LocalModePolicy::Warn => {
                warn!("the station is in local mode; it is taken nevertheless");
                None
            }
            LocalModePolicy::Ignore => None,
        }
    }

    /// Whether an earlier try prepared the host already, for the reservation as it is now: doing it again could
    /// log off the student who has begun.
    fn is_prepared(&self, item: &WorkItem, operation: &Operation, seen: Option<&Observation>) -> bool {
        let due_at = earlier(item.reservation.starts_at, self.lead());
        let since = operation.prepare_began_at.map(|began| began.max(due_at));
        since
            .zip(seen)
            .is_some_and(|(since, seen)| is_prepared_since(since, seen))
    }

    /// The try failed: it is planned again, or given up when its window is over.
    fn failed(&mut self, item: &WorkItem, operation: &Operation, reason: Reason) -> Outcome {
        let now = self.inner.now();
        let limit = self.limit(item, operation);
        let failed = operation.state.attempt();
        let retry_at = next_try(&self.inner.settings, now, failed, limit, &mut *self.inner.rng());
        let steps = self.steps(operation);
        let row = try_row(&operation.into(), operation.kind, &steps, Some(&reason), now);
        let event = Event::Failed {
            reason: reason.clone(),
            retry_at,
            at: now,
        };
        Outcome {
            attempt: AttemptOutcome::Failed,
            event,
            reason: Some(reason),
            rows: vec![row],
        }
    }

    /// Until when tries are worth it: a start until the end of the reservation, a release for its window.
    pub(crate) fn limit(&self, item: &WorkItem, operation: &Operation) -> DateTime<Utc> {
        match operation.kind {
            OperationKind::Start | OperationKind::ManualStart => item.reservation.ends_at,
            OperationKind::End | OperationKind::ManualEnd => {
                let is_idle = operation.state.step() == Some(Step::Power);
                let from = if is_idle {
                    operation.due_at
                } else {
                    // It may have been extended since its release was opened.
                    let end = released_for(item, Step::Release);
                    operation.created_at.max(end.unwrap_or(operation.created_at))
                };
                later(from, self.inner.settings.release_window)
            }
        }
    }

    async fn activate(&mut self, item: &WorkItem, operation: &Operation) -> Result<Outcome, FlowError> {
        let (from, to) = (ReservationStatus::Confirmed, ReservationStatus::Active);
        let id = &item.reservation.id;
        let now = self.inner.now();
        let (store, claim) = (&self.inner.store, self.held.claim());
        let moved = insist(|| store.change_status(claim, id, from, to, now)).await?;
        let status = if moved {
            Some(to)
        } else {
            self.status_of(item).await?
        };
        if status == Some(to) {
            return Ok(self.all_done(operation, None));
        }
        // Cancelled or taken back at the last moment: the plan releases the host if that is needed.
        let shown = status.map_or("gone", ReservationStatus::as_str);
        let note = Reason::new("no_longer_confirmed", format!("the reservation is {shown} now"));
        let event = Event::Settled {
            note: note.clone(),
            at: self.inner.now(),
        };
        Ok(Outcome {
            attempt: AttemptOutcome::Failed,
            event,
            reason: Some(note),
            rows: Vec::new(),
        })
    }

    async fn complete(
        &mut self,
        item: &WorkItem,
        operation: &Operation,
        note: Option<Reason>,
    ) -> Result<Outcome, FlowError> {
        let id = &item.reservation.id;
        let mut status = Some(item.reservation.status);
        for _ in 0..STATUS_TRIES {
            let Some(from @ (ReservationStatus::Active | ReservationStatus::Confirmed)) = status else {
                return Ok(self.all_done(operation, note));
            };
            let now = self.inner.now();
            let (store, claim, to) = (&self.inner.store, self.held.claim(), ReservationStatus::Completed);
            if insist(|| store.change_status(claim, id, from, to, now)).await? {
                return Ok(self.all_done(operation, note));
            }
            status = self.status_of(item).await?;
        }
        let reason = Reason::new(
            "status_moves",
            "the reservation's status changed each time it was to be completed",
        );
        Ok(self.failed(item, operation, reason))
    }

    /// Whether the reservation is another one than it was planned for, or somebody has begun to work at the host. A store
    /// that is merely slow holds nobody up.
    async fn has_changed(&self, item: &WorkItem, step: Step) -> Result<bool, StoreError> {
        let leaves = matches!(step, Step::Release | Step::Complete);
        if !leaves && insist(|| self.inner.maintenance_of(self.host)).await?.is_some() {
            return Ok(true);
        }
        let ids = std::slice::from_ref(&item.reservation.id);
        let found = insist(|| self.inner.store.find_work(ids)).await?;
        Ok(found.first().map(|found| &found.reservation) != Some(&item.reservation))
    }

    async fn status_of(&self, item: &WorkItem) -> Result<Option<ReservationStatus>, StoreError> {
        let ids = std::slice::from_ref(&item.reservation.id);
        let found = insist(|| self.inner.store.find_work(ids)).await?;
        Ok(found.first().map(|item| item.reservation.status))
    }

    fn all_done(&mut self, operation: &Operation, note: Option<Reason>) -> Outcome {
        let now = self.inner.now();
        let steps = self.steps(operation);
        let row = try_row(&operation.into(), operation.kind, &steps, None, now);
        let next = self.after_release(operation, note.as_ref());
        succeeded(AttemptOutcome::Done, next, note, now, vec![row])
    }
}

pub(crate) fn succeeded(
    attempt: AttemptOutcome,
    next: Option<Step>,
    note: Option<Reason>,
    at: DateTime<Utc>,
    rows: Vec<HistoryRow>,
) -> Outcome {
    Outcome {
        attempt,
        event: Event::Succeeded { next, note, at },
        reason: None,
        rows,
    }
}

/// One line per step for the operator's log.
fn tell(state: &State, reason: Option<&Reason>) {
    match (state, reason) {
        (State::NeedsAttention { .. }, _) => {}
        (_, Some(reason)) => warn!(state = state.name(), %reason, "step failed"),
        (_, None) => info!(state = state.name(), "step done"),
    }
}

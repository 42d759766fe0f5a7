//! Taking a host down that nobody needs: looked at first, ordered once, and seen to be off.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::info;

use crate::flow::{Flow, FlowError};
use crate::history::{found_row, step_entry, step_row};
use crate::instant::{between, earlier, later};
use crate::operation::{Operation, OperationKind, Step};
use crate::perform::{observe, perform};
use crate::plan::{STILL_UP, Standing, judge_idle, went_down};
use crate::ports::{
    AttemptOutcome, HistoryRow, Observation, Station, StepAction, StepOutcome, StepReport, Store, WorkItem,
};
use crate::reason::Reason;
use crate::retry::{next_look, next_try};
use crate::settings::IdlePower;
use crate::state::{Event, State};
use crate::steps::{Outcome, succeeded};

/// How long beyond the step's own deadline a host that took the order is left to go down.
const GOING_DOWN: Duration = Duration::from_mins(2);

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// What follows a release: the power action, where one is configured and the host is free.
    pub(crate) fn after_release(&self, operation: &Operation, note: Option<&Reason>) -> Option<Step> {
        let released = operation.kind == OperationKind::End && note.is_none() && !self.is_stand_in();
        (released && self.inner.settings.idle_power.is_some()).then_some(Step::Power)
    }

    /// Notes in an operation that has come to its power action when that is due.
    pub(crate) fn set_idle_due(&self, operation: &mut Operation) {
        let idle = self.inner.settings.idle_power;
        if let (
            State::Pending {
                step: Step::Power, ..
            },
            Some(idle),
        ) = (&operation.state, idle)
        {
            operation.due_at = later(self.inner.now(), idle.after);
        }
    }

    /// The power step: only a host at which nobody works is ordered down.
    pub(crate) async fn take_down(
        &mut self,
        item: &WorkItem,
        operation: &Operation,
        args: Vec<String>,
    ) -> Result<Outcome, FlowError> {
        let Some(idle) = self.inner.settings.idle_power else {
            return Ok(self.left_on(Reason::new("not_configured", "no power action is configured")));
        };
        let seen = observe(self.inner, &operation.host).await;
        let completed_at = earlier(operation.due_at, idle.after);
        match judge_idle(&seen, completed_at) {
            Standing::Free => {}
            Standing::Leave(reason) => return Ok(self.left_on(reason)),
            Standing::Unclear(reason) => return Ok(self.not_taken_down(item, operation, reason)),
        }
        // The look took its time: whoever has the host by now must not be shut down.
        if !self.held.may_act(Step::Power).await {
            return Err(self.held.fenced().into());
        }
        Ok(self.order_down(item, operation, idle, args).await)
    }

    async fn order_down(
        &mut self,
        item: &WorkItem,
        operation: &Operation,
        idle: IdlePower,
        args: Vec<String>,
    ) -> Outcome {
        let mode = idle.mode.as_str().to_owned();
        let action = StepAction::Power { mode, args };
        let name = action.history_name();
        let report = perform(self.inner, &operation.host, action).await;
        self.note_step(operation, step_entry(&name, &report));
        self.steps(operation);
        let row = step_row(&operation.into(), &name, &report, self.inner.now());
        let mut outcome = self.after_order(item, operation, &report);
        outcome.rows.push(row);
        outcome
    }

    fn after_order(&self, item: &WorkItem, operation: &Operation, report: &StepReport) -> Outcome {
        match report.outcome.clone() {
            StepOutcome::Done => succeeded(AttemptOutcome::Done, None, None, self.inner.now(), Vec::new()),
            StepOutcome::DoneWithWarnings => {
                let now = self.inner.now();
                succeeded(AttemptOutcome::DoneWithWarnings, None, None, now, Vec::new())
            }
            StepOutcome::Unknown(reason) => Outcome {
                attempt: AttemptOutcome::Unknown,
                event: Event::EffectUnknown,
                reason: Some(reason),
                rows: Vec::new(),
            },
            StepOutcome::Failed(reason) => self.not_taken_down(item, operation, reason),
        }
    }

    /// Nothing was ordered, and nothing will be.
    fn left_on(&self, note: Reason) -> Outcome {
        info!(reason = %note, "the host is left as it is");
        Outcome {
            attempt: AttemptOutcome::Done,
            event: Event::Settled {
                note,
                at: self.inner.now(),
            },
            reason: None,
            rows: Vec::new(),
        }
    }

    /// The try took no effect. The reservation was completed before, so that its history gets no failure of an end.
    fn not_taken_down(&self, item: &WorkItem, operation: &Operation, reason: Reason) -> Outcome {
        let at = self.inner.now();
        let limit = self.limit(item, operation);
        let failed = operation.state.attempt();
        let retry_at = next_try(&self.inner.settings, at, failed, limit, &mut *self.inner.rng());
        Outcome {
            attempt: AttemptOutcome::Failed,
            event: Event::Failed {
                reason: reason.clone(),
                retry_at,
                at,
            },
            reason: Some(reason),
            rows: Vec::new(),
        }
    }

    /// What follows from a look at a host that was, perhaps, ordered down at `since`.
    pub(crate) fn follow_power(
        &self,
        item: &WorkItem,
        operation: &Operation,
        since: DateTime<Utc>,
        seen: &Observation,
    ) -> (Event, Vec<HistoryRow>) {
        let at = self.inner.now();
        let patience = self.inner.settings.deadlines.power.saturating_add(GOING_DOWN);
        let found = went_down(seen, since, between(since, at) < patience);
        info!(step = Step::Power.as_str(), ?found, "looked at the host");
        let limit = self.limit(item, operation);
        let settings = &self.inner.settings;
        let attempt = operation.state.attempt();
        let idle = settings.idle_power;
        match found {
            Some(true) => {
                let mode = idle.map_or(Step::Power.as_str(), |idle| idle.mode.as_str());
                let row = found_row(&operation.into(), &format!("power:{mode}"), at);
                (Event::FoundDone { next: None, at }, vec![row])
            }
            // It never saw the order: that may be given again, as softly as before.
            Some(false) if !crate::check::is_since(seen.power_action_at, since) => {
                let reason = Reason::new("no_effect", "the host does not show that it was ordered down");
                let retry_at = next_try(settings, at, attempt, limit, &mut *self.inner.rng());
                (Event::FoundNotDone { reason, retry_at, at }, Vec::new())
            }
            Some(false) => {
                let reason = Reason::new(STILL_UP, "the host took the order and is still up");
                // The first order was the soft one, and only that is followed by a hard one.
                let again = attempt == 1 && idle.is_some_and(|idle| idle.force);
                let retry_at = again.then_some(at);
                (Event::FoundNotDone { reason, retry_at, at }, Vec::new())
            }
            None => {
                let reason = Reason::new("effect_unknown", "the host does not show whether it goes down");
                let retry_at = next_look(settings, at, since, limit, &mut *self.inner.rng());
                (Event::StillUnknown { reason, retry_at, at }, Vec::new())
            }
        }
    }
}

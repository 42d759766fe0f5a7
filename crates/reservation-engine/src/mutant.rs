//! Faults planted on purpose, to see that the tests which judge whole days find them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lab_model::SharedClock;
use tokio::time::Instant;

use crate::flow::{Flow, FlowError};
use crate::held::insist;
use crate::operation::{Operation, Step};
use crate::ports::{AttemptEnd, AttemptId, AttemptOutcome, Station, Store};
use crate::settings::Settings;
use crate::state::Event;

/// A fault that can be planted in the engine or in the store in memory. Only with the feature `mutants`, which no
/// program that runs a lab turns on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The store accepts writes under any token.
    SkipTokenCheck,
    /// The outcome of a step on a host is committed before the step is carried out.
    OutcomeBeforeEffect,
    /// A worker judges its own lease by its wall clock, which may be set back.
    WallClockLease,
    /// The plan does not look whether a reservation is over.
    ForgetEndCheck,
    /// The plan does not look whether somebody works at the host.
    ForgetMaintenance,
}

impl Mutant {
    /// Every mutant there is.
    pub const ALL: [Self; 5] = [
        Self::SkipTokenCheck,
        Self::OutcomeBeforeEffect,
        Self::WallClockLease,
        Self::ForgetEndCheck,
        Self::ForgetMaintenance,
    ];
}

/// A wall clock by which a lease is judged, which must not be.
pub(crate) struct Wall {
    clock: SharedClock,
    read_at: DateTime<Utc>,
    since: Instant,
}

impl Wall {
    pub(crate) fn planted(settings: &Settings, clock: &SharedClock) -> Option<Self> {
        settings.has(Mutant::WallClockLease).then(|| Self {
            clock: Arc::clone(clock),
            read_at: clock.now(),
            since: Instant::now(),
        })
    }

    pub(crate) fn now(&self) -> Instant {
        let went = self.clock.now() - self.read_at;
        match went.to_std() {
            Ok(forward) => self.since + forward,
            Err(_) => {
                let back = went.abs().to_std().unwrap_or_default();
                self.since.checked_sub(back).unwrap_or(self.since)
            }
        }
    }

    pub(crate) fn by_tokio(&self, at: Instant) -> Instant {
        Instant::now() + at.saturating_duration_since(self.now())
    }
}

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Says that a step on a host took effect although it was not even sent.
    pub(crate) async fn boast(
        &self,
        attempt: AttemptId,
        operation: &Operation,
        step: Step,
    ) -> Result<bool, FlowError> {
        let next = match step {
            Step::Wake => Step::Prepare,
            Step::Prepare => Step::Activate,
            Step::Release => Step::Complete,
            Step::Activate | Step::Complete | Step::Power => return Ok(false),
        };
        if !self.inner.settings.has(Mutant::OutcomeBeforeEffect) {
            return Ok(false);
        }
        let now = self.inner.now();
        let mut operation = operation.clone();
        operation.state = operation.state.apply(Event::Succeeded {
            next: Some(next),
            note: None,
            at: now,
        })?;
        let end = AttemptEnd {
            operation: &operation,
            attempt,
            outcome: AttemptOutcome::Done,
            reason: None,
            history: &[],
            now,
        };
        insist(|| self.inner.store.finish_attempt(self.held.claim(), end)).await?;
        Ok(true)
    }
}

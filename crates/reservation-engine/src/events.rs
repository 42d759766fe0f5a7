//! What happened, for whoever counts or watches: metrics, alerts, a live view. Nothing here decides anything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use tracing::{Span, error, info_span};

use crate::engine::Engine;
use crate::instant::between;
use crate::operation::{Operation, OperationId, OperationKind, Step};
use crate::ports::{AttemptOutcome, Claim, FencingToken, Station, Store};
use crate::reason::Reason;
use crate::reservation::Reservation;
use crate::state::State;

/// Hears what an engine did. Give it to [`Engine::listen`].
pub trait Listener: Send + Sync + 'static {
    /// Takes note of one event, in the order in which they happened on one host. It is called in the middle of the work
    /// on that host, so it must be done within microseconds: count, or put into a queue that drops what does not fit.
    ///
    /// A panic is caught and logged; the work goes on.
    fn heard(&self, event: &EngineEvent);
}

/// One thing that an engine did, told after the store took it: what is not stored did not happen. A process that dies
/// in between tells nobody, so events are for figures and for people, never for decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// The first step of a scheduled operation is about to be sent.
    Dispatched {
        /// To which host.
        host: HostName,
        /// For whom.
        reservation: ReservationId,
        /// [`OperationKind::Start`] or [`OperationKind::End`].
        kind: OperationKind,
        /// When it was due.
        due_at: DateTime<Utc>,
        /// How much later that is than it was due; what the host was waited for counts too.
        late: Duration,
    },
    /// The claim on a host was taken and the work under it begins.
    ClaimTaken {
        /// Which host.
        host: HostName,
        /// Under which token.
        token: FencingToken,
        /// Whether something is resumed that whoever had the host before left in the middle.
        takeover: bool,
    },
    /// The claim on a host was lost in the middle of the work: whoever has it now goes on.
    ClaimLost {
        /// Which host.
        host: HostName,
    },
    /// The intent of a step is stored; it goes out now.
    StepBegan {
        /// Of which operation.
        operation: OperationId,
        /// On which host.
        host: HostName,
        /// For whom.
        reservation: ReservationId,
        /// What the operation is for.
        kind: OperationKind,
        /// Which step.
        step: Step,
        /// Which try, from 1.
        attempt: u32,
    },
    /// The outcome of a step is stored. A step whose outcome could not be stored has no such event: it is looked at
    /// later, by whoever has the host then.
    StepEnded {
        /// Of which operation.
        operation: OperationId,
        /// On which host.
        host: HostName,
        /// For whom.
        reservation: ReservationId,
        /// What the operation is for.
        kind: OperationKind,
        /// Which step.
        step: Step,
        /// Which try, from 1.
        attempt: u32,
        /// How it ended.
        outcome: AttemptOutcome,
        /// From the stored intent to the outcome.
        duration: Duration,
        /// Why, when it failed or nobody knows. Its `rung` says where the wake ladder broke.
        reason: Option<Reason>,
    },
    /// An operation has come to its end.
    OperationEnded {
        /// Which.
        operation: OperationId,
        /// On which host.
        host: HostName,
        /// For whom.
        reservation: ReservationId,
        /// What it was for.
        kind: OperationKind,
        /// `done`, or `needs_attention` when a person has to look.
        state: &'static str,
        /// Why it ended without success, or why less was needed.
        reason: Option<Reason>,
    },
    /// A reservation's host was handed over: it became `ACTIVE`.
    Ready {
        /// Which host.
        host: HostName,
        /// Whose.
        reservation: ReservationId,
        /// When the student may begin.
        starts_at: DateTime<Utc>,
        /// When the host was ready. Before `starts_at` is in time.
        at: DateTime<Utc>,
    },
    /// A reservation was given up: its host was not handed over.
    Missed {
        /// Where it should have been; `unmapped` when no host serves its lab.
        host: HostName,
        /// Whose.
        reservation: ReservationId,
        /// When the student should have begun.
        starts_at: DateTime<Utc>,
        /// Until when the student had the right to it.
        ends_at: DateTime<Utc>,
        /// Why.
        reason: Reason,
    },
}

impl EngineEvent {
    /// The event's name: `dispatched`, `claim_taken`, `claim_lost`, `step_began`, `step_ended`, `operation_ended`,
    /// `ready`, `missed`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Dispatched { .. } => "dispatched",
            Self::ClaimTaken { .. } => "claim_taken",
            Self::ClaimLost { .. } => "claim_lost",
            Self::StepBegan { .. } => "step_began",
            Self::StepEnded { .. } => "step_ended",
            Self::OperationEnded { .. } => "operation_ended",
            Self::Ready { .. } => "ready",
            Self::Missed { .. } => "missed",
        }
    }

    /// The host that it is about.
    #[must_use]
    pub fn host(&self) -> &HostName {
        match self {
            Self::Dispatched { host, .. }
            | Self::ClaimTaken { host, .. }
            | Self::ClaimLost { host }
            | Self::StepBegan { host, .. }
            | Self::StepEnded { host, .. }
            | Self::OperationEnded { host, .. }
            | Self::Ready { host, .. }
            | Self::Missed { host, .. } => host,
        }
    }
}

impl<S: Store, T: Station> Engine<S, T> {
    /// Tells `listener` from now on what this engine and its clones do. It is never taken out again.
    pub fn listen(&self, listener: Arc<dyn Listener>) {
        self.inner.listeners.add(listener);
    }
}

/// Those who are told.
#[derive(Default)]
pub(crate) struct Listeners(RwLock<Arc<[Arc<dyn Listener>]>>);

impl Listeners {
    fn add(&self, listener: Arc<dyn Listener>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *all = all.iter().cloned().chain([listener]).collect();
    }

    /// Tells everybody; without anybody, the event is not even made.
    pub(crate) fn tell(&self, event: impl FnOnce() -> EngineEvent) {
        // Not under the lock: a listener may ask for another one to be told.
        let all = Arc::clone(&*self.0.read().unwrap_or_else(PoisonError::into_inner));
        if all.is_empty() {
            return;
        }
        let event = event();
        for listener in all.iter() {
            if catch_unwind(AssertUnwindSafe(|| listener.heard(&event))).is_err() {
                error!(event = event.name(), host.name = %event.host(), "a listener panicked; the work goes on");
            }
        }
    }

    pub(crate) fn claim_taken(&self, claim: &Claim, takeover: bool) {
        self.tell(|| EngineEvent::ClaimTaken {
            host: claim.host.clone(),
            token: claim.token,
            takeover,
        });
    }

    pub(crate) fn claim_lost(&self, host: &HostName) {
        self.tell(|| EngineEvent::ClaimLost { host: host.clone() });
    }

    /// The first intent of a scheduled operation is stored at `now`.
    pub(crate) fn dispatched(&self, operation: &Operation, now: DateTime<Utc>) {
        self.tell(|| EngineEvent::Dispatched {
            host: operation.host.clone(),
            reservation: operation.reservation.clone(),
            kind: operation.kind,
            due_at: operation.due_at,
            late: between(operation.due_at, now),
        });
    }

    pub(crate) fn step_began(&self, operation: &Operation, step: Step, attempt: u32) {
        self.tell(|| EngineEvent::StepBegan {
            operation: operation.id,
            host: operation.host.clone(),
            reservation: operation.reservation.clone(),
            kind: operation.kind,
            step,
            attempt,
        });
    }

    pub(crate) fn step_ended(&self, operation: &Operation, step: Step, attempt: u32, ended: StepEnd<'_>) {
        self.tell(|| EngineEvent::StepEnded {
            operation: operation.id,
            host: operation.host.clone(),
            reservation: operation.reservation.clone(),
            kind: operation.kind,
            step,
            attempt,
            outcome: ended.outcome,
            duration: ended.duration,
            reason: ended.reason.cloned(),
        });
    }

    /// An operation was stored; says so if that was its end.
    pub(crate) fn stored(&self, operation: &Operation) {
        let reason = match &operation.state {
            State::Done { note, .. } => note.as_ref(),
            State::NeedsAttention { reason, .. } => Some(reason),
            State::Pending { .. }
            | State::Running { .. }
            | State::Checking { .. }
            | State::Waiting { .. }
            | State::Foreign { .. } => return,
        };
        self.tell(|| EngineEvent::OperationEnded {
            operation: operation.id,
            host: operation.host.clone(),
            reservation: operation.reservation.clone(),
            kind: operation.kind,
            state: operation.state.name(),
            reason: reason.cloned(),
        });
    }

    /// The same for a scheduled operation: a start that ended without success is a reservation that was missed.
    pub(crate) fn stored_for(&self, operation: &Operation, reservation: &Reservation) {
        self.stored(operation);
        let State::NeedsAttention { reason, .. } = &operation.state else {
            return;
        };
        if operation.kind == OperationKind::Start {
            self.tell(|| EngineEvent::Missed {
                host: operation.host.clone(),
                reservation: reservation.id.clone(),
                starts_at: reservation.starts_at,
                ends_at: reservation.ends_at,
                reason: reason.clone(),
            });
        }
    }

    pub(crate) fn ready(&self, operation: &Operation, reservation: &Reservation, at: DateTime<Utc>) {
        self.tell(|| EngineEvent::Ready {
            host: operation.host.clone(),
            reservation: reservation.id.clone(),
            starts_at: reservation.starts_at,
            at,
        });
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepEnd<'a> {
    pub(crate) outcome: AttemptOutcome,
    pub(crate) duration: Duration,
    pub(crate) reason: Option<&'a Reason>,
}

/// The span of an operation for as long as one flow works on it: a trace of its own, whatever else that flow does.
pub(crate) fn scheduled_span(operation: &Operation, claim: &Claim) -> Span {
    info_span!(parent: None, "operation", operation.id = %operation.id,
        operation.kind = operation.kind.as_str(), host.name = %operation.host,
        reservation.id = %operation.reservation, claim.token = claim.token.0)
}

/// The span of an operation that somebody asked for: under the span of whoever asked.
pub(crate) fn manual_span(operation: &Operation, claim: &Claim) -> Span {
    info_span!("operation", operation.id = %operation.id,
        operation.kind = operation.kind.as_str(), host.name = %operation.host,
        reservation.id = %operation.reservation, claim.token = claim.token.0)
}

/// The span of one step, or of a look at the host because of it.
pub(crate) fn step_span(operation: &Span, step: Step, attempt: u32) -> Span {
    info_span!(parent: operation, "step", step = step.as_str(), attempt)
}

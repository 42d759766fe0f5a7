//! Where an operation stands, and the one pure function that moves it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::operation::{Repetition, Step};
use crate::reason::Reason;

/// The shape in which states are stored. It is kept with each operation: a row of an older version is resumed, one
/// of a newer version is left alone. It grows when an older release could act wrongly on what this one writes.
///
/// 2: an end goes on to a power step after the reservation was completed, and a start may change its host;
/// a reservation that was called off and confirmed again has a further start, and a further end.
pub const JOURNAL_VERSION: u32 = 2;

/// Where an operation stands. Stored as JSON; readers of a newer release must keep reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// `step` comes next; nothing of it was done.
    Pending {
        /// What comes next.
        step: Step,
        /// How many tries of the operation failed so far, so that waits keep growing over steps that succeed.
        #[serde(default)]
        failed: u32,
    },
    /// The intent of `step` is committed, its outcome is not.
    Running {
        /// What is under way.
        step: Step,
        /// Which try this is, from 1.
        attempt: u32,
        /// When the intent was committed.
        since: DateTime<Utc>,
        /// Why the try before failed; `None` when none did, or in a row from before this was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<FailedTry>,
    },
    /// Nobody knows whether `step` took effect: the host is looked at before anything else.
    Checking {
        /// What may have taken effect.
        step: Step,
        /// Which try this is, from 1.
        attempt: u32,
        /// When its intent was committed.
        since: DateTime<Utc>,
    },
    /// A try failed; the next one waits.
    Waiting {
        /// What failed, or could not be looked at.
        step: Step,
        /// How many tries failed.
        failed: u32,
        /// When the next one is due.
        until: DateTime<Utc>,
        /// Why the last one failed.
        reason: Reason,
        /// When the intent of a try whose effect is still unknown was committed: the host is looked at first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown_since: Option<DateTime<Utc>>,
        /// When the last try failed; `None` when none did, or in a row from before this was kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed_at: Option<DateTime<Utc>>,
    },
    /// All steps took effect, or none was needed.
    Done {
        /// When.
        at: DateTime<Utc>,
        /// Why no or fewer steps were needed; `None` when all ran.
        note: Option<Reason>,
    },
    /// Ended without success; a person has to look.
    NeedsAttention {
        /// The step that could not be done; `None` when none was tried.
        step: Option<Step>,
        /// When we gave up.
        at: DateTime<Utc>,
        /// Why.
        reason: Reason,
        /// How many tries had been begun; 0 when none was, or in a row from before this was kept.
        #[serde(default, skip_serializing_if = "is_zero")]
        tries: u32,
    },
    /// A newer release wrote it, in words that this one may not understand: it is left alone, and it has its host.
    /// Never stored.
    #[serde(skip)]
    Foreign {
        /// The journal version it was written in.
        version: u32,
        /// Whether it has come to its end.
        over: bool,
    },
}

/// Why a try failed that was followed by another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTry {
    /// What failed.
    pub step: Step,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: DateTime<Utc>,
}

/// What happened to an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The intent of `step` is about to be committed.
    Begin {
        /// What will be done.
        step: Step,
        /// Now.
        at: DateTime<Utc>,
    },
    /// The step under way took effect.
    Succeeded {
        /// What follows; `None` when this was the last step.
        next: Option<Step>,
        /// Why steps were left out, if any were.
        note: Option<Reason>,
        /// Now.
        at: DateTime<Utc>,
    },
    /// The try under way failed and took no effect.
    Failed {
        /// Why.
        reason: Reason,
        /// When the next try is due; `None` gives up.
        retry_at: Option<DateTime<Utc>>,
        /// Now.
        at: DateTime<Utc>,
    },
    /// Nobody knows whether the step under way took effect.
    EffectUnknown,
    /// A look at the host showed that the step took effect.
    FoundDone {
        /// What follows; `None` when this was the last step.
        next: Option<Step>,
        /// Now.
        at: DateTime<Utc>,
    },
    /// A look at the host showed that the step took no effect.
    FoundNotDone {
        /// Why it has to be tried again.
        reason: Reason,
        /// When; `None` gives up.
        retry_at: Option<DateTime<Utc>>,
        /// Now.
        at: DateTime<Utc>,
    },
    /// The host could not be looked at.
    StillUnknown {
        /// Why.
        reason: Reason,
        /// When it is looked at again; `None` gives up.
        retry_at: Option<DateTime<Utc>>,
        /// Now.
        at: DateTime<Utc>,
    },
    /// It is time to look at the host again.
    LookAgain,
    /// What was begun is taken up again later, from its first step.
    Postponed {
        /// Why.
        reason: Reason,
        /// When.
        until: DateTime<Utc>,
    },
    /// It goes on from its first step on another host.
    HandedOver {
        /// The step with which it begins there.
        step: Step,
        /// How many tries count as failed.
        failed: u32,
    },
    /// Nothing (more) is needed.
    Settled {
        /// Why.
        note: Reason,
        /// Now.
        at: DateTime<Utc>,
    },
    /// It ends without success.
    GaveUp {
        /// Why.
        reason: Reason,
        /// Now.
        at: DateTime<Utc>,
    },
}

/// An event that cannot happen in the state it met: a fault of the program or of the stored row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("operation that is {from} cannot take event {event}")]
pub struct IllegalTransition {
    /// The state's name.
    pub from: &'static str,
    /// The event's name.
    pub event: &'static str,
}

impl State {
    /// Where an operation begins whose first step is `step`.
    #[must_use]
    pub fn first(step: Step) -> Self {
        Self::Pending { step, failed: 0 }
    }

    /// The only way an operation changes. Pure: the caller saves the result under its claim.
    ///
    /// # Errors
    /// [`IllegalTransition`] when `event` cannot happen in this state; every event is illegal in a final one.
    pub fn apply(self, event: Event) -> Result<Self, IllegalTransition> {
        match (self, event) {
            // What is not ours is not moved, whatever happens.
            (from @ Self::Foreign { .. }, event) => Err(IllegalTransition {
                from: from.name(),
                event: event.name(),
            }),
            // Pending, Waiting -> Running: a new try, whichever step it begins with; only a step whose effect is
            // still unknown has to be looked at first.
            (Self::Pending { failed, .. }, Event::Begin { step, at }) => Ok(begun(step, failed, at, None)),
            (
                Self::Waiting {
                    step: was,
                    failed,
                    unknown_since,
                    reason,
                    failed_at,
                    ..
                },
                Event::Begin { step, at },
            ) if unknown_since.is_none() || was != step => {
                let last = failed_at.map(|at| FailedTry {
                    step: was,
                    reason,
                    at,
                });
                Ok(begun(step, failed, at, last))
            }
            // Pending -> Waiting: the reservation was moved away between two steps. What was begun counts as a try,
            // so that no number of a try is ever used twice.
            (Self::Pending { step, failed }, Event::Postponed { reason, until }) => Ok(Self::Waiting {
                step,
                failed: failed.saturating_add(1),
                until,
                reason,
                unknown_since: None,
                failed_at: None,
            }),
            // Pending, Waiting -> Pending: nothing of it is left on the host it leaves.
            (
                Self::Pending { .. }
                | Self::Waiting {
                    unknown_since: None, ..
                },
                Event::HandedOver { step, failed },
            ) => Ok(Self::Pending { step, failed }),
            // Running -> Running: found after a crash; only what may simply be repeated is. An activation goes back to
            // the wake, which finds out whether the host is still prepared.
            (
                Self::Running {
                    step: was,
                    attempt,
                    last,
                    ..
                },
                Event::Begin { step, at },
            ) if step.repetition() == Repetition::Repeatable
                && (was == step || (was == Step::Activate && step == Step::Wake)) =>
            {
                Ok(begun(step, attempt, at, last))
            }
            // Running, Checking -> Pending | Done.
            (Self::Running { attempt, .. }, Event::Succeeded { next, note, at }) => {
                Ok(after_success(attempt, next, note, at))
            }
            (Self::Checking { attempt, .. }, Event::FoundDone { next, at }) => {
                Ok(after_success(attempt, next, None, at))
            }
            // Running, Checking -> Waiting | NeedsAttention.
            (Self::Running { step, attempt, .. }, Event::Failed { reason, retry_at, at })
            | (Self::Checking { step, attempt, .. }, Event::FoundNotDone { reason, retry_at, at }) => {
                Ok(after_failure(step, attempt, None, reason, retry_at, at))
            }
            (Self::Checking { step, attempt, since }, Event::StillUnknown { reason, retry_at, at }) => {
                Ok(after_failure(step, attempt, Some(since), reason, retry_at, at))
            }
            // Running -> Checking, Waiting -> Checking: the try stays the same one.
            (
                Self::Running {
                    step, attempt, since, ..
                },
                Event::EffectUnknown,
            )
            | (
                Self::Waiting {
                    step,
                    failed: attempt,
                    unknown_since: Some(since),
                    ..
                },
                Event::LookAgain,
            ) => Ok(Self::Checking { step, attempt, since }),
            // Anything that is not final -> final.
            (from, Event::Settled { note, at }) if !from.is_final() => {
                Ok(Self::Done { at, note: Some(note) })
            }
            (from, Event::GaveUp { reason, at }) if !from.is_final() => Ok(Self::NeedsAttention {
                step: from.step(),
                at,
                reason,
                tries: from.attempt(),
            }),
            (from, event) => Err(IllegalTransition {
                from: from.name(),
                event: event.name(),
            }),
        }
    }

    /// The word that is stored beside the JSON, for queries and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Running { .. } => "running",
            Self::Checking { .. } => "checking",
            Self::Waiting { .. } => "waiting",
            Self::Done { .. } => "done",
            Self::NeedsAttention { .. } => "needs_attention",
            Self::Foreign { .. } => "foreign",
        }
    }

    /// The step it stands at, for queries and logs; `None` when there is none.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        match self {
            Self::Pending { step, .. }
            | Self::Running { step, .. }
            | Self::Checking { step, .. }
            | Self::Waiting { step, .. } => Some(*step),
            Self::NeedsAttention { step, .. } => *step,
            Self::Done { .. } | Self::Foreign { .. } => None,
        }
    }

    /// Which try it is at, or how many failed so far; 0 when none was begun or it is done.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        match self {
            Self::NeedsAttention { tries, .. } => *tries,
            Self::Running { attempt, .. } | Self::Checking { attempt, .. } => *attempt,
            Self::Pending { failed, .. } | Self::Waiting { failed, .. } => *failed,
            Self::Done { .. } | Self::Foreign { .. } => 0,
        }
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Done { .. } | Self::NeedsAttention { .. } | Self::Foreign { over: true, .. }
        )
    }
}

fn begun(step: Step, failed: u32, since: DateTime<Utc>, last: Option<FailedTry>) -> State {
    State::Running {
        step,
        attempt: failed.saturating_add(1),
        since,
        last,
    }
}

/// Keeps rows as they were before there was such a number.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn after_success(attempt: u32, next: Option<Step>, note: Option<Reason>, at: DateTime<Utc>) -> State {
    match next {
        Some(step) => State::Pending {
            step,
            failed: attempt.saturating_sub(1),
        },
        None => State::Done { at, note },
    }
}

fn after_failure(
    step: Step,
    failed: u32,
    unknown_since: Option<DateTime<Utc>>,
    reason: Reason,
    retry_at: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> State {
    match retry_at {
        Some(until) => State::Waiting {
            step,
            failed,
            until,
            reason,
            unknown_since,
            failed_at: Some(at),
        },
        None => State::NeedsAttention {
            step: Some(step),
            at,
            reason,
            tries: failed,
        },
    }
}

impl Event {
    /// The event's name, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "begin",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::EffectUnknown => "effect_unknown",
            Self::FoundDone { .. } => "found_done",
            Self::FoundNotDone { .. } => "found_not_done",
            Self::StillUnknown { .. } => "still_unknown",
            Self::LookAgain => "look_again",
            Self::Postponed { .. } => "postponed",
            Self::HandedOver { .. } => "handed_over",
            Self::Settled { .. } => "settled",
            Self::GaveUp { .. } => "gave_up",
        }
    }
}

#[cfg(test)]
mod tests;

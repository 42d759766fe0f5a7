//! The answer to "what is with this reservation, or this host?", as the API shows it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use serde::{Serialize, Serializer};

use super::Wait;
use crate::lead::Lead;
use crate::maintenance::Maintenance;
use crate::operation::{Operation, Step};
use crate::plan::Presence;
use crate::ports::ClaimInfo;
use crate::reason::Reason;
use crate::reservation::ReservationStatus;
use crate::state::State;

/// One reservation, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// When this was true.
    pub at: DateTime<Utc>,
    /// Which reservation.
    pub reservation_id: ReservationId,
    /// Its lab.
    pub lab_id: LabId,
    /// Its status, as last read.
    pub status: ReservationStatus,
    /// When the student may begin.
    pub starts_at: DateTime<Utc>,
    /// When the student has to stop.
    pub ends_at: DateTime<Utc>,
    /// The host that serves it; `None` when none does.
    pub host: Option<HostName>,
    /// All of this in one line.
    pub summary: String,
    /// What happens next; `None` when nothing will.
    pub next: Option<Next>,
    /// What that waits for; `None` when it waits for nothing.
    pub wait: Option<Wait>,
    /// Why the last try failed, if one did and nothing succeeded since.
    pub last_failure: Option<LastFailure>,
    /// What was begun for it, the start before the end.
    pub operations: Vec<OperationView>,
    /// Who acts on the host at this moment.
    pub claim: Option<ClaimView>,
    /// Who works at the host, if somebody does: nothing is begun on it then.
    pub maintenance: Option<Maintenance>,
    /// How early its host is woken, and why; `None` without a host.
    pub lead: Option<LeadView>,
}

/// One host, explained.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostExplanation {
    /// When this was true.
    pub at: DateTime<Utc>,
    /// Which host.
    pub host: HostName,
    /// Whether it is in the catalog.
    pub presence: Presence,
    /// All of this in one line.
    pub summary: String,
    /// What happens next on it; `None` when nothing will.
    pub next: Option<Next>,
    /// For which reservation.
    pub next_for: Option<ReservationId>,
    /// Who acts on it at this moment.
    pub claim: Option<ClaimView>,
    /// Who works at it, if somebody does: nothing is begun on it then.
    pub maintenance: Option<Maintenance>,
    /// How early it is woken, and why.
    pub lead: LeadView,
    /// Its reservations that may need something, in the order in which they are served.
    pub reservations: Vec<Explanation>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// What.
    pub what: NextStep,
    /// When, at the earliest; in the past when it is due and not begun yet.
    pub at: Option<DateTime<Utc>>,
}

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NextStep {
    /// The host is woken.
    Wake,
    /// The host is prepared.
    Prepare,
    /// The reservation becomes `ACTIVE`.
    Activate,
    /// The host is released.
    Release,
    /// The reservation becomes `COMPLETED`.
    Complete,
    /// The host is taken down.
    Power,
    /// The host is looked at, because nobody knows whether a step took effect.
    Check,
    /// A host is looked for.
    FindHost,
    /// It goes on on another host.
    HandOver,
    /// It is put off until the reservation is due.
    Postpone,
    /// It is closed, because nothing more is needed or possible.
    Close,
}

impl NextStep {
    /// The word as serialized.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Prepare => "prepare",
            Self::Activate => "activate",
            Self::Release => "release",
            Self::Complete => "complete",
            Self::Power => "power",
            Self::Check => "check",
            Self::FindHost => "find_host",
            Self::HandOver => "hand_over",
            Self::Postpone => "postpone",
            Self::Close => "close",
        }
    }
}

impl From<Step> for NextStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Wake => Self::Wake,
            Step::Prepare => Self::Prepare,
            Step::Activate => Self::Activate,
            Step::Release => Self::Release,
            Step::Power => Self::Power,
            Step::Complete => Self::Complete,
        }
    }
}

/// Why the last try failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// The reason's stable word.
    pub code: String,
    /// The reason in one sentence.
    pub detail: String,
    /// Which rung of the wake ladder failed, if it was one.
    pub rung: Option<String>,
    /// Which step; `None` when none was tried.
    pub step: Option<Step>,
    /// How many tries failed so far; 0 when that is not kept.
    pub attempt: u32,
    /// When; `None` in what an older release wrote.
    pub at: Option<DateTime<Utc>>,
    /// Whether no further try will be made: a person has to look.
    pub gave_up: bool,
}

impl LastFailure {
    pub(super) fn of(state: &State) -> Option<Self> {
        let (step, attempt, reason, at, gave_up) = match state {
            State::Waiting {
                step,
                failed,
                reason,
                failed_at,
                ..
            } => (Some(*step), *failed, reason, *failed_at, false),
            State::NeedsAttention {
                step,
                at,
                reason,
                tries,
            } => (*step, *tries, reason, Some(*at), true),
            State::Running {
                attempt,
                last: Some(last),
                ..
            } => (
                Some(last.step),
                attempt.saturating_sub(1),
                &last.reason,
                Some(last.at),
                false,
            ),
            State::Pending { .. }
            | State::Running { last: None, .. }
            | State::Checking { .. }
            | State::Done { .. }
            | State::Foreign { .. } => return None,
        };
        let Reason { code, rung, detail } = reason.clone();
        Some(Self {
            code,
            detail,
            rung,
            step,
            attempt,
            at,
            gave_up,
        })
    }
}

/// One operation, as an operator reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationView {
    /// Row id in the journal.
    pub id: i64,
    /// `start` or `end`.
    pub kind: &'static str,
    /// On which host.
    pub host: HostName,
    /// `pending`, `running`, `checking`, `waiting`, `done`, `needs_attention`; `foreign` for what a newer release wrote.
    pub state: &'static str,
    /// Where it stands.
    pub step: Option<Step>,
    /// Which try.
    pub attempt: u32,
    /// When the work became due.
    pub due_at: DateTime<Utc>,
    /// When a prepare was first about to be sent: from then on the host needs a release.
    pub prepare_began_at: Option<DateTime<Utc>>,
    /// Why it waits, failed, or needed less.
    pub reason: Option<Reason>,
}

impl From<&Operation> for OperationView {
    fn from(operation: &Operation) -> Self {
        let reason = match &operation.state {
            State::Waiting { reason, .. } | State::NeedsAttention { reason, .. } => Some(reason.clone()),
            State::Done { note, .. } => note.clone(),
            State::Pending { .. }
            | State::Running { .. }
            | State::Checking { .. }
            | State::Foreign { .. } => None,
        };
        Self {
            id: operation.id.0,
            kind: operation.kind.as_str(),
            host: operation.host.clone(),
            state: operation.state.name(),
            step: operation.state.step(),
            attempt: operation.state.attempt(),
            due_at: operation.due_at,
            prepare_began_at: operation.prepare_began_at,
            reason,
        }
    }
}

/// Who acts on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimView {
    /// The worker, and which of its flows.
    pub holder: String,
    /// How much of the lease is left, by the store's clock. Milliseconds.
    #[serde(rename = "leftMs", serialize_with = "millis")]
    pub left: Duration,
}

impl From<ClaimInfo> for ClaimView {
    fn from(claim: ClaimInfo) -> Self {
        Self {
            holder: claim.holder,
            left: claim.left,
        }
    }
}

/// How early a host is woken, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeadView {
    /// What counts. Seconds.
    #[serde(rename = "effectiveSecs", serialize_with = "seconds")]
    pub effective: Duration,
    /// The configured lead, below which it never goes. Seconds.
    #[serde(rename = "floorSecs", serialize_with = "seconds")]
    pub floor: Duration,
    /// How long 95 of 100 cold wakes took at most. Seconds.
    #[serde(rename = "wakeP95Secs", serialize_with = "some_seconds")]
    pub wake_p95: Option<Duration>,
    /// How long 95 of 100 prepares took at most. Seconds.
    #[serde(rename = "prepareP95Secs", serialize_with = "some_seconds")]
    pub prepare_p95: Option<Duration>,
    /// How many cold wakes are known.
    pub cold_wakes: usize,
    /// How many prepares are known.
    pub prepares: usize,
    /// Whether the history asks for more than the configured maximum.
    pub capped: bool,
}

impl From<Lead> for LeadView {
    fn from(lead: Lead) -> Self {
        Self {
            effective: lead.effective,
            floor: lead.floor,
            wake_p95: lead.wake_p95,
            prepare_p95: lead.prepare_p95,
            cold_wakes: lead.cold_wakes,
            prepares: lead.prepares,
            capped: lead.capped,
        }
    }
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn some_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

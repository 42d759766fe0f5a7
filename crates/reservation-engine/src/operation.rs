//! Operations: durable, resumable work for one host and one reservation. What moves them is in `state`.

use std::fmt;

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use serde::{Deserialize, Serialize};

use crate::state::State;

/// Row id of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub i64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Wake, prepare and hand over, because the reservation begins.
    Start,
    /// Release, because the reservation ends or was cancelled.
    End,
    /// A caller asked for wake and prepare.
    ManualStart,
    /// A caller asked for release and power.
    ManualEnd,
}

impl OperationKind {
    /// The word that is stored and logged.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::ManualStart => "manual_start",
            Self::ManualEnd => "manual_end",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Start, Self::End, Self::ManualStart, Self::ManualEnd]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// One action of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Magic packets until the host answers, booted and ready.
    Wake,
    /// `prepare-session`.
    Prepare,
    /// `CONFIRMED` to `ACTIVE`.
    Activate,
    /// `release-session`.
    Release,
    /// `power shutdown` or `power hibernate`.
    Power,
    /// To `COMPLETED`.
    Complete,
}

/// How a step may be repeated when nobody knows whether it took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repetition {
    /// Simply repeat.
    Repeatable,
    /// Look at the host before repeating.
    ReadBack,
    /// At most once: find out by looking, else stop with a reason.
    Fenced,
}

impl Step {
    /// Every step there is, for tests that must cover all of them.
    pub const ALL: [Self; 6] = [
        Self::Wake,
        Self::Prepare,
        Self::Activate,
        Self::Release,
        Self::Power,
        Self::Complete,
    ];

    /// The word that is stored and logged.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wake => "wake",
            Self::Prepare => "prepare",
            Self::Activate => "activate",
            Self::Release => "release",
            Self::Power => "power",
            Self::Complete => "complete",
        }
    }

    /// Reads the stored word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == word)
    }

    /// How this step may be repeated.
    #[must_use]
    pub fn repetition(self) -> Repetition {
        match self {
            Self::Wake | Self::Activate | Self::Complete => Repetition::Repeatable,
            Self::Prepare | Self::Release => Repetition::ReadBack,
            Self::Power => Repetition::Fenced,
        }
    }
}

/// One operation as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Row id.
    pub id: OperationId,
    /// What it is for.
    pub kind: OperationKind,
    /// For whom.
    pub reservation: ReservationId,
    /// The reservation's lab, if one was named.
    pub lab: Option<LabId>,
    /// On which host.
    pub host: HostName,
    /// Where it stands.
    pub state: State,
    /// Set when the intent of a prepare step was first committed: from then on the host needs a release.
    pub prepare_began_at: Option<DateTime<Utc>>,
    /// When the work became due.
    pub due_at: DateTime<Utc>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
}

/// What is needed to open an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewOperation {
    /// Unique: `start:<reservation>`, `end:<reservation>`, or one of a caller's own. A further start is
    /// `start:<reservation>:<id of the former start>`, its end `end:<reservation>:<id of its start>`. At most 190
    /// characters.
    pub key: String,
    /// What it is for.
    pub kind: OperationKind,
    /// For whom.
    pub reservation: ReservationId,
    /// The reservation's lab, if one was named.
    pub lab: Option<LabId>,
    /// On which host.
    pub host: HostName,
    /// Where it begins.
    pub state: State,
    /// When the work became due.
    pub due_at: DateTime<Utc>,
}

impl NewOperation {
    /// The operation as a store keeps it from now on, under the id that it gives it.
    #[must_use]
    pub fn open(self, id: OperationId, now: DateTime<Utc>) -> Operation {
        Operation {
            id,
            kind: self.kind,
            reservation: self.reservation,
            lab: self.lab,
            host: self.host,
            state: self.state,
            prepare_began_at: None,
            due_at: self.due_at,
            created_at: now,
        }
    }
}

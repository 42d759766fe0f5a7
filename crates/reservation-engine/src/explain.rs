//! Why something is not being done right now, for programs and for people.

mod answer;
mod ask;
mod say;

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

pub use answer::{
    ClaimView, Explanation, HostExplanation, LastFailure, LeadView, Next, NextStep, OperationView,
};

/// What kind of thing is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitCode {
    /// The instant has not come.
    NotDue,
    /// A try failed; the next one is due later.
    Retry,
    /// It is unknown whether a step took effect, and the host cannot be looked at yet.
    EffectUnknown,
    /// Another reservation still has the host.
    HostOccupied,
    /// Somebody acts on the host at this moment, for something else.
    HostBusy,
    /// Its own step is under way, or a flow of this process is at work on the host.
    UnderWay,
    /// The wake waits its turn: only so many hosts are woken in a minute.
    Paced,
    /// No host serves the lab.
    NoHost,
    /// The host was removed from the catalog while it had the reservation.
    HostRemoved,
    /// An engineer works at the host.
    Maintenance,
    /// The host is taken down if nobody needs it until then.
    HostIdle,
    /// The host stays on for a reservation that comes soon.
    HostWanted,
    /// A newer release sees to it.
    NewerRelease,
    /// The store did not answer the flow that was at work.
    StoreTrouble,
}

impl WaitCode {
    /// The word as serialized.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotDue => "not_due",
            Self::Retry => "retry",
            Self::EffectUnknown => "effect_unknown",
            Self::HostOccupied => "host_occupied",
            Self::HostBusy => "host_busy",
            Self::UnderWay => "under_way",
            Self::Paced => "paced",
            Self::NoHost => "no_host",
            Self::HostRemoved => "host_removed",
            Self::Maintenance => "maintenance",
            Self::HostIdle => "host_idle",
            Self::HostWanted => "host_wanted",
            Self::NewerRelease => "newer_release",
            Self::StoreTrouble => "store_trouble",
        }
    }
}

/// One thing that a reservation waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wait {
    /// What kind of thing.
    pub code: WaitCode,
    /// One sentence for the operator, without secrets.
    pub detail: String,
    /// When it is looked at again; `None` when something else has to happen first.
    pub until: Option<DateTime<Utc>>,
}

impl Wait {
    /// Makes a wait that ends at an instant.
    pub(crate) fn until(code: WaitCode, until: DateTime<Utc>, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            until: Some(until),
        }
    }

    /// Makes a wait that ends when something else happened.
    pub(crate) fn open(code: WaitCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            until: None,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail, self.code.as_str())?;
        match self.until {
            Some(until) => write!(f, ", next at {}", shown(until)),
            None => Ok(()),
        }
    }
}

/// An instant as operators read it: UTC, whole seconds.
pub(crate) fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn a_wait_reads_as_one_line_with_its_code_and_instant() {
        let at = Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap();
        let wait = Wait::until(WaitCode::HostOccupied, at, "host is used by reservation 0xa");
        assert_eq!(
            wait.to_string(),
            "host is used by reservation 0xa (host_occupied), next at 2026-03-01T09:00:00Z"
        );
    }
}

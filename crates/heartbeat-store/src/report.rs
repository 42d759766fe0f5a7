//! What a poll of one host brought, and what became of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use labstation_commands::{EventBatch, EventCursor, Heartbeat};

use crate::hosts::HostRecord;

/// What one poll of one host came to.
#[derive(Debug, Clone, PartialEq)]
pub struct PollReport {
    /// The host, as the catalog has it.
    pub host: HostRecord,
    /// When the poll ended, by our clock. Freshness is counted from it.
    pub observed_at: DateTime<Utc>,
    /// How long the poll took.
    pub took: Duration,
    /// What came of it.
    pub outcome: PollOutcome,
}

/// What came of a poll.
#[derive(Debug, Clone, PartialEq)]
pub enum PollOutcome {
    /// The station answered.
    Heard(Box<Heard>),
    /// It did not, or not as it should.
    Failed {
        /// Stable and machine-readable; cut to 64 characters.
        code: String,
        /// One line for the operator; cut to 512 characters.
        text: String,
    },
    /// Nothing answered at its address, and nothing had to: it counts as no failure.
    Off {
        /// One line for the operator; cut to 512 characters.
        text: String,
    },
}

/// What a station said.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The document as values.
    pub heartbeat: Heartbeat,
    /// The document as text. Where it is not strict JSON (raw control characters, say) the parsed form is stored.
    pub document: String,
    /// What was read of the event file; its `from` is the cursor that the store had.
    pub events: Option<EventBatch>,
    /// When the host booted, by our clock, where that was asked.
    pub booted_at: Option<DateTime<Utc>>,
}

/// Which reports become a row of their own. The host's state is brought up to date by every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every report, as the older worker does.
    Every,
    /// Those whose document changed in more than its own stamps, and one whenever the last kept one is this old.
    Changes {
        /// How long a document that does not change is not stored again.
        keep_alive: Duration,
    },
}

impl Keep {
    /// The time after which an unchanged document is stored again, unless something else is wanted: five minutes.
    pub const KEEP_ALIVE: Duration = Duration::from_secs(300);
}

impl Default for Keep {
    fn default() -> Self {
        Self::Changes {
            keep_alive: Self::KEEP_ALIVE,
        }
    }
}

/// What became of a report that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Row id of the host; `None` where it was not needed, as for a failed poll.
    pub host_id: Option<i64>,
    /// Row id of the report, or of the older one with the same document.
    pub heartbeat_id: Option<i64>,
    /// What is kept of the report.
    pub kept: Kept,
    /// What became of its events.
    pub events: EventsKept,
}

/// What is kept of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A row of its own.
    Row,
    /// The host's state only: the last row has the same document.
    Unchanged,
    /// The host's state, with the reason why the document has no row.
    SetAside(String),
    /// It came after a newer one, so the host's state was left alone; a row if rows are kept of it.
    Older,
    /// A failed poll.
    Failure,
    /// A look at a host that may be off.
    Off,
}

/// What became of the events of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventsKept {
    /// There were none to keep, and no cursor.
    None,
    /// They are stored, and the cursor stands behind them.
    Stored {
        /// How many were not stored before.
        new: usize,
        /// Where to go on.
        to: EventCursor,
    },
    /// They were read from a place that is no longer the store's, so nothing of them is stored: read again from here.
    Stale {
        /// Where the store is; `None` for the first sight.
        cursor: Option<EventCursor>,
    },
}

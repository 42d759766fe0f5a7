//! What a recorder did, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::report::{EventsKept, Kept, Recorded};

/// What a recorder did since it was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecorderFigures {
    /// Reports that wait or are being written now.
    pub waiting: u64,
    /// Transactions that were committed.
    pub batches: u64,
    /// Reports that were committed.
    pub reports: u64,
    /// Those among them that became a row.
    pub rows: u64,
    /// Those whose document was stored before.
    pub unchanged: u64,
    /// Those whose document was set aside.
    pub set_aside: u64,
    /// Those that came after a newer one.
    pub older: u64,
    /// Failed polls.
    pub failures: u64,
    /// Events that were stored.
    pub events: u64,
    /// Batches of events that were read from a place that is no longer the store's.
    pub stale_events: u64,
    /// Batches of events from a file that was no longer the same.
    pub resyncs: u64,
    /// Transactions that were tried again because the database did not answer.
    pub retries: u64,
    /// Reports that were taken and could not be written.
    pub lost: u64,
}

/// Where it is counted, in the order of the fields.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 13]);

#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    Waiting,
    Batches,
    Reports,
    Rows,
    Unchanged,
    SetAside,
    Older,
    Failures,
    Events,
    StaleEvents,
    Resyncs,
    Retries,
    Lost,
}

impl Counters {
    pub(super) fn add(&self, count: Count, more: u64) {
        self.0[count as usize].fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn left(&self) {
        self.0[Count::Waiting as usize].fetch_sub(1, Ordering::Relaxed);
    }

    /// A report was committed.
    pub(super) fn recorded(&self, recorded: &Recorded) {
        self.add(Count::Reports, 1);
        match &recorded.kept {
            Kept::Row => self.add(Count::Rows, 1),
            Kept::Unchanged => self.add(Count::Unchanged, 1),
            Kept::SetAside(_) => self.add(Count::SetAside, 1),
            Kept::Older => self.add(Count::Older, 1),
            Kept::Failure => self.add(Count::Failures, 1),
            Kept::Off => {}
        }
        match &recorded.events {
            EventsKept::Stored { new, .. } => self.add(Count::Events, *new as u64),
            EventsKept::Stale { .. } => self.add(Count::StaleEvents, 1),
            EventsKept::None => {}
        }
    }

    pub(super) fn read(&self) -> RecorderFigures {
        let of = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        RecorderFigures {
            waiting: of(Count::Waiting),
            batches: of(Count::Batches),
            reports: of(Count::Reports),
            rows: of(Count::Rows),
            unchanged: of(Count::Unchanged),
            set_aside: of(Count::SetAside),
            older: of(Count::Older),
            failures: of(Count::Failures),
            events: of(Count::Events),
            stale_events: of(Count::StaleEvents),
            resyncs: of(Count::Resyncs),
            retries: of(Count::Retries),
            lost: of(Count::Lost),
        }
    }
}

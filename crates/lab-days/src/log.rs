//! What happened, in order, as the simulation saw it from outside: the auditor reads nothing else of the day.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab_model::{HostName, ReservationId};
use reservation_engine::{
    AttemptId, AttemptOutcome, FencingToken, OperationId, OperationKind, Reservation, ReservationStatus, Step,
};

use crate::faults::FaultKind;

/// One effect that was sent to a host, counted over the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EffectId(pub(crate) u64);

/// The journal row under which a process acts on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) operation: OperationId,
    pub(crate) kind: OperationKind,
    pub(crate) reservation: ReservationId,
    pub(crate) step: Step,
    pub(crate) attempt: AttemptId,
    pub(crate) token: FencingToken,
}

/// One line of the log.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Since the day began.
    pub(crate) at: Duration,
    pub(crate) what: What,
}

/// A write that the store accepted under a claim.
#[expect(dead_code, reason = "the trace shows all of it, the auditor needs a part")]
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Opened(OperationId),
    Intent(AttemptId),
    Outcome(AttemptId, AttemptOutcome),
    Saved(OperationId),
    Status(ReservationId),
    Timing,
}

/// What happened.
#[expect(dead_code, reason = "the trace shows all of it, the auditor needs a part")]
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// The store gave a claim on a host.
    Granted {
        process: String,
        host: HostName,
        token: FencingToken,
    },
    /// The store prolonged a claim.
    Renewed { host: HostName, token: FencingToken },
    /// A claim was given back.
    Returned { host: HostName, token: FencingToken },
    /// The store accepted a write.
    Wrote {
        process: String,
        host: HostName,
        token: FencingToken,
        write: Write,
    },
    /// The engine changed a reservation's status.
    Status {
        host: HostName,
        reservation: ReservationId,
        to: ReservationStatus,
    },
    /// The gateway made or changed a reservation.
    Reservation(Reservation),
    /// Something left a process for a host and cannot be called back.
    Sent {
        process: String,
        host: HostName,
        effect: EffectId,
        step: Step,
        intent: Option<Intent>,
    },
    /// It took effect on the host.
    Took {
        host: HostName,
        effect: EffectId,
        step: Step,
    },
    /// A process looked at a host.
    Looked { process: String, host: HostName },
    /// A host came up.
    Up(HostName),
    /// A host went down, ordered or not.
    Down(HostName),
    /// A caller ordered something.
    Order {
        caller: &'static str,
        process: String,
        host: HostName,
        reservation: ReservationId,
    },
    /// What became of an order.
    Ordered(String),
    /// A process started, was stopped, went on, or died.
    Process { process: String, event: &'static str },
    /// An engineer began to work at a host, until an instant that he said, or until he says so.
    Maintenance { host: HostName, until: Option<Duration> },
    /// An engineer said that he is done.
    MaintenanceEnded(HostName),
    /// A fault was planted.
    Fault { kind: FaultKind, target: String },
}

/// The log of a day.
#[derive(Debug, Default)]
pub(crate) struct Log {
    inner: Mutex<Lines>,
}

#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) entries: Vec<Entry>,
    pub(crate) faults: BTreeMap<FaultKind, u64>,
    effects: u64,
}

impl Log {
    pub(crate) fn note(&self, at: Duration, what: What) {
        let mut lines = self.lines();
        if let What::Fault { kind, .. } = &what {
            *lines.faults.entry(*kind).or_insert(0) += 1;
        }
        lines.entries.push(Entry { at, what });
    }

    pub(crate) fn next_effect(&self) -> EffectId {
        let mut lines = self.lines();
        lines.effects += 1;
        EffectId(lines.effects)
    }

    pub(crate) fn take(&self) -> Lines {
        std::mem::take(&mut *self.lines())
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines {
    pub(crate) fn effects(&self) -> u64 {
        self.effects
    }
}

/// The log as text, one line per entry: two runs of one seed give the same bytes.
pub(crate) fn text(entries: &[Entry]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for Entry { at, what } in entries {
        let (hours, minutes) = (at.as_secs() / 3600, at.as_secs() / 60 % 60);
        let (seconds, millis) = (at.as_secs() % 60, at.subsec_millis());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{hours:02}:{minutes:02}:{seconds:02}.{millis:03} {what:?}");
    }
    text
}

/// A number that differs when the text does.
pub(crate) fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

//! What the engine needs from outside, in its own words: a store, a station, and (from `lab-model`) a clock.

mod station;

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use serde_json::Value;

use crate::maintenance::Maintenance;
use crate::operation::{NewOperation, Operation, Step};
use crate::reason::Reason;
use crate::reservation::{Reservation, ReservationStatus};

pub use station::{Observation, Station, StepAction, StepOrder, StepOutcome, StepReport, WakeOrder};

/// Grows with each change of holder; a write under an older token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(pub i64);

/// A right to act on one host that ends by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The host it is about.
    pub host: HostName,
    /// Who holds it.
    pub holder: String,
    /// Under which token every write goes.
    pub token: FencingToken,
}

/// Who holds a host now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimInfo {
    /// Who holds it.
    pub holder: String,
    /// How much of the lease is left, by the store's clock.
    pub left: Duration,
}

/// What stopped a store call.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another holder has a newer token, or our lease ran out: stop acting at once.
    #[error("the claim on host {host} is no longer ours")]
    Fenced {
        /// The host that was lost.
        host: HostName,
    },
    /// The store does not answer now; try again later.
    #[error("the store is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store refuses: a fault of ours or of the schema.
    #[error("the store refused {action}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A reservation and what was already done for it by the scheduler (not by callers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkItem {
    /// As read just now.
    pub reservation: Reservation,
    /// Its newest start operation, if one was opened.
    pub start: Option<Operation>,
    /// Its end operation, if one was opened for that start.
    pub end: Option<Operation>,
}

/// Row id of one try of a step in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptId(pub i64);

/// How a try of a step ended, for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// It took effect.
    Done,
    /// It took effect, with warnings.
    DoneWithWarnings,
    /// It did not take effect.
    Failed,
    /// Nobody knows.
    Unknown,
}

impl AttemptOutcome {
    /// The word that is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::DoneWithWarnings => "done_with_warnings",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// How a try of a step ended, and all that is written with that in one transaction.
#[derive(Debug, Clone, Copy)]
pub struct AttemptEnd<'a> {
    /// The operation with its new state.
    pub operation: &'a Operation,
    /// Which try.
    pub attempt: AttemptId,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Why, when it failed or nobody knows.
    pub reason: Option<&'a Reason>,
    /// The rows that the history gets.
    pub history: &'a [HistoryRow],
    /// Now.
    pub now: DateTime<Utc>,
}

/// How long something took on a host that decides how early its next reservation has to be prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimingSample {
    /// From the first packet until the host was ready, when it really had to boot.
    ColdWake(Duration),
    /// A `prepare-session` that succeeded.
    Prepare(Duration),
}

/// What is known of how long a host takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timings {
    /// The last cold wakes, newest last, at most [`MAX_TIMINGS`].
    pub cold_wakes: Vec<Duration>,
    /// The last prepares, newest last, at most [`MAX_TIMINGS`].
    pub prepares: Vec<Duration>,
    /// The lead that was stored with the last sample, for those who only show it.
    pub lead: Option<Duration>,
}

impl Timings {
    /// Adds a sample in whole milliseconds, as it is stored, and forgets the oldest of its kind beyond
    /// [`MAX_TIMINGS`]: whoever has measured and whoever reads it later work out the same lead.
    pub fn add(&mut self, sample: TimingSample) {
        let (list, took) = match sample {
            TimingSample::ColdWake(took) => (&mut self.cold_wakes, took),
            TimingSample::Prepare(took) => (&mut self.prepares, took),
        };
        list.push(Duration::from_secs(took.as_secs()) + Duration::from_millis(took.subsec_millis().into()));
        let surplus = list.len().saturating_sub(MAX_TIMINGS);
        list.drain(..surplus);
    }
}

/// How many samples of each kind are kept for a host.
pub const MAX_TIMINGS: usize = 50;

/// A row of `reservation_operations`, the history other services and the web page read.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryRow {
    /// For whom.
    pub reservation: ReservationId,
    /// The lab, if one was named.
    pub lab: Option<LabId>,
    /// The host's name, or `unmapped`.
    pub host: String,
    /// `wake`, `prepare`, `release`, `power:<mode>`, `scheduler:start`, `scheduler:end`. At most 32 characters.
    pub action: String,
    /// `completed` or `failed`.
    pub status: &'static str,
    /// The same as a boolean.
    pub success: bool,
    /// Exit code or HTTP-like status.
    pub response_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i32>,
    /// Details as JSON.
    pub payload: Option<Value>,
    /// One line.
    pub message: Option<String>,
    /// When; cut to whole seconds by the store.
    pub at: DateTime<Utc>,
}

/// Where reservations, operations and claims are kept. Every call is one short transaction; none is held open
/// while anything else is waited for.
///
/// What has a default may be left out by a small store; each says what is lost with it. No reservation is lost with
/// any of them, and no host is acted on twice.
pub trait Store: Send + Sync + 'static {
    /// Gives every reservation that may need something now or before `horizon`: `CONFIRMED` ones that start
    /// before it and are not settled, all `ACTIVE` ones whose end is not settled, those whose host was prepared and
    /// not yet released, and all with an operation that is not final. At most `limit`, earliest first. Settled
    /// means that the operation of that kind is final; but a `CONFIRMED` one whose start is done was called off and
    /// confirmed again, and is started once more. Operations are put to it as by [`WorkItem::new`].
    fn work(
        &self,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<WorkItem>, StoreError>> + Send;

    /// Reads reservations again, with their operations, in one go. Unknown ones are left out; the order is any.
    fn find_work(
        &self,
        reservations: &[ReservationId],
    ) -> impl Future<Output = Result<Vec<WorkItem>, StoreError>> + Send;

    /// Moves a reservation's status if it still is `from`, under the claim on its host; says whether it was.
    fn change_status(
        &self,
        claim: &Claim,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Takes the right to act on a host for `lease`, by the store's clock; `None` while somebody else has it.
    /// The same holder asking again while it holds gets `None` too: one flow per host, also within a process.
    fn claim_host(
        &self,
        host: &HostName,
        holder: &str,
        lease: Duration,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send;

    /// Gives the claim that a holder has on a host now, if he has it. It is asked when the answer to
    /// [`Store::claim_host`] was lost, by a holder whose name nobody has used before: what is held under it was granted
    /// to this very question. By default none is known: a host that was claimed without an answer is left alone until
    /// the lease has ended.
    fn find_own_claim(
        &self,
        _host: &HostName,
        _holder: &str,
    ) -> impl Future<Output = Result<Option<Claim>, StoreError>> + Send {
        async { Ok(None) }
    }

    /// Prolongs a claim; `false` when it was lost.
    fn renew_claim(
        &self,
        claim: &Claim,
        lease: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Gives a claim back. A lost one is left alone. By default it is renewed for no time at all; nothing is lost
    /// with that if [`Store::renew_claim`] takes such a lease.
    fn give_back(&self, claim: &Claim) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { self.renew_claim(claim, Duration::ZERO).await.map(drop) }
    }

    /// Says who holds a host now, for people. By default nobody is known: a host that is held still is, but whoever
    /// has to wait for it is told neither for whom nor for how long.
    fn find_claim(
        &self,
        _host: &HostName,
    ) -> impl Future<Output = Result<Option<ClaimInfo>, StoreError>> + Send {
        async { Ok(None) }
    }

    /// Opens an operation, or gives the one that already has its key.
    fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<Operation, StoreError>> + Send;

    /// Commits the intent of a step: the operation's new state, its `prepare_began_at`, and a journal row, under the
    /// claim. The same operation, step and number under the same token again gives the id it gave before: the
    /// answer to a commit may be lost.
    ///
    /// By default the operation is saved and no journal is kept: the operation's state is the intent. Lost is the
    /// list of tries that people read. A store has its own of this and of [`Store::finish_attempt`], or of neither.
    fn begin_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        _step: Step,
        attempt: u32,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<AttemptId, StoreError>> + Send {
        async move {
            self.save_operation(claim, operation, &[], now).await?;
            Ok(AttemptId(i64::from(attempt)))
        }
    }

    /// Commits the outcome of a step, the operation's new state and its rows of the history, under the claim. A try
    /// that has an outcome already is left as it is, and no row of the history is written twice.
    ///
    /// By default the operation is saved with its rows. Lost is how each try ended, and that a second, different
    /// outcome of a try is ignored; the engine repeats an outcome only as it was.
    fn finish_attempt(
        &self,
        claim: &Claim,
        end: AttemptEnd<'_>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        self.save_operation(claim, end.operation, end.history, end.now)
    }

    /// Saves a state that was reached without a try of a step (checked, given up, not needed, handed over to another
    /// host), under the claim on the host that the operation was stored with. The same state again writes no
    /// history again.
    fn save_operation(
        &self,
        claim: &Claim,
        operation: &Operation,
        history: &[HistoryRow],
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Gives callers' operations that are not final although the claim under which they were last written is over:
    /// its token is no longer the newest, or its lease ended. Oldest first, at most `limit`.
    ///
    /// By default none: where [`Engine::run_manual`](crate::Engine::run_manual) is used, a caller's operation whose
    /// process died stays as it was, and nobody looks at its host.
    fn abandoned_manual(
        &self,
        _limit: u32,
    ) -> impl Future<Output = Result<Vec<Operation>, StoreError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Gives operations of the scheduler that are not final, were last written before `before`, and whose reservation
    /// does not exist any more. Oldest first, at most `limit`. By default none: what was begun for a reservation that
    /// somebody deleted stays open for ever, which harms nothing but those who count.
    fn orphaned(
        &self,
        _before: DateTime<Utc>,
        _limit: u32,
    ) -> impl Future<Output = Result<Vec<Operation>, StoreError>> + Send {
        async { Ok(Vec::new()) }
    }

    /// Gives the hosts that are in maintenance at `now`: nothing is begun on them. Read by each
    /// pass, and again right before a step, when the last time was more than a second ago. By default none is: where nobody says so, there is no
    /// maintenance.
    fn maintenance(
        &self,
        _now: DateTime<Utc>,
    ) -> impl Future<Output = Result<HashMap<HostName, Maintenance>, StoreError>> + Send {
        async { Ok(HashMap::new()) }
    }

    /// Gives what is known of how long each of these hosts takes. Hosts of which nothing is known are left out. By
    /// default nothing is known: each host gets the configured lead, so one that takes longer is ready late.
    fn host_timings(
        &self,
        _hosts: &[HostName],
    ) -> impl Future<Output = Result<HashMap<HostName, Timings>, StoreError>> + Send {
        async { Ok(HashMap::new()) }
    }

    /// Adds samples for the claim's host, under the claim, forgets those beyond the newest [`MAX_TIMINGS`] of each
    /// kind, and stores the lead that follows for those who only show it. By default they are not kept, as
    /// [`Store::host_timings`] has it.
    fn record_timing(
        &self,
        _claim: &Claim,
        _samples: &[TimingSample],
        _lead: Duration,
        _now: DateTime<Utc>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async { Ok(()) }
    }
}

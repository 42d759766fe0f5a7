//! How much is asked of a database: what a reservation or an idle hour costs can only be kept small when it is
//! counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::fault::DbFault;

/// What was sent to a database since it was opened, by all clones of it together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Statements with a result of their own, inside and outside transactions.
    pub statements: u64,
    /// Transactions that were begun; each is ended once more, by a commit or a rollback.
    pub transactions: u64,
}

/// How a database's pool of connections stands, for monitoring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolState {
    /// Connections that somebody has.
    pub in_use: u32,
    /// Connections that are open and free.
    pub idle: u32,
    /// Most connections there can be.
    pub max: u32,
    /// Calls under way beyond the connections in use, which wait for one.
    pub waiting: u32,
}

/// How many calls failed for their caller, in the order of [`DbFault`](crate::DbFault): conflict (after the last retry),
/// unique, unavailable, refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Failures {
    /// Another writer was faster, again and again.
    pub conflict: u64,
    /// The key was taken; mostly no fault at all.
    pub unique: u64,
    /// No answer.
    pub unavailable: u64,
    /// A fault of ours or of the schema.
    pub refused: u64,
}

impl Traffic {
    /// What was sent after `earlier` was read.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            statements: self.statements.saturating_sub(earlier.statements),
            transactions: self.transactions.saturating_sub(earlier.transactions),
        }
    }

    /// How often an answer of the database was waited for: the beginning and the end of a transaction are two.
    #[must_use]
    pub fn round_trips(self) -> u64 {
        self.statements + 2 * self.transactions
    }
}

/// Where it is counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    statements: Arc<AtomicU64>,
    transactions: Arc<AtomicU64>,
    under_way: Arc<AtomicU32>,
    /// By [`Failures`].
    failed: Arc<[AtomicU64; 4]>,
}

/// One call under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<AtomicU32>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counters {
    pub(crate) fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn transaction(&self) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn call(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.under_way))
    }

    pub(crate) fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(crate) fn failure(&self, fault: DbFault) {
        let index = match fault {
            DbFault::Conflict => 0,
            DbFault::Unique => 1,
            DbFault::Unavailable => 2,
            DbFault::Refused => 3,
        };
        self.failed[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failures(&self) -> Failures {
        let [conflict, unique, unavailable, refused] =
            [0, 1, 2, 3].map(|index: usize| self.failed[index].load(Ordering::Relaxed));
        Failures {
            conflict,
            unique,
            unavailable,
            refused,
        }
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            statements: self.statements.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
        }
    }
}

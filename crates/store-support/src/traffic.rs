//! How much is asked of a database: what a reservation or an idle hour costs can only be kept small when it is
//! counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What was sent to a database since it was opened, by all clones of it together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Statements with a result of their own, inside and outside transactions.
    pub statements: u64,
    /// Transactions that were begun; each is ended once more, by a commit or a rollback.
    pub transactions: u64,
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
}

impl Counters {
    pub(crate) fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn transaction(&self) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Traffic {
        Traffic {
            statements: self.statements.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
        }
    }
}

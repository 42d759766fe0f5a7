//! The store itself, and what stops its calls.

use store_support::{Database, DbErr, DbFault, classify};

/// Keeps heartbeats, events and the state of each host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HeartbeatStore {
    pub(crate) db: Database,
}

impl HeartbeatStore {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db }
    }
}

/// What stopped a call.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatStoreError {
    /// The database does not answer now; try again later.
    #[error("the heartbeat store is not available")]
    Unavailable(#[source] DbErr),
    /// The database refuses: a fault of ours or of the schema.
    #[error("the heartbeat store refused to {action}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// What it said.
        #[source]
        source: DbErr,
    },
}

impl HeartbeatStoreError {
    pub(crate) fn from(action: &'static str) -> impl Fn(DbErr) -> Self {
        move |source| match classify(&source) {
            // A conflict that ten tries could not settle is an overloaded database.
            DbFault::Unavailable | DbFault::Conflict => Self::Unavailable(source),
            DbFault::Unique | DbFault::Refused => Self::Refused { action, source },
        }
    }
}

//! The store itself, and what stops its calls.

use std::sync::Arc;

use lab_model::{SharedClock, SystemClock};
use store_support::{Database, DbErr, DbFault, classify};

use crate::batch::{LimitsCell, Statements};
use crate::hosts::HostIds;
use crate::report::Keep;
use crate::tables::{TablePrefix, Tables};

/// Keeps heartbeats, events and the state of each host. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HeartbeatStore {
    pub(crate) db: Database,
    pub(crate) tables: Arc<Tables>,
    pub(crate) sql: Arc<Statements>,
    pub(crate) ids: Arc<HostIds>,
    pub(crate) limits: LimitsCell,
    pub(crate) keep: Keep,
    pub(crate) clock: SharedClock,
}

impl HeartbeatStore {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self::with_tables(db, &TablePrefix::default())
    }

    /// Works on tables under a prefix of their own, which [`schema::install`](crate::schema::install) made.
    #[must_use]
    pub fn with_tables(db: Database, prefix: &TablePrefix) -> Self {
        let tables = Tables::of(prefix);
        Self {
            sql: Arc::new(Statements::of(db.backend(), &tables)),
            tables: Arc::new(tables),
            ids: Arc::default(),
            limits: LimitsCell::default(),
            keep: Keep::Every,
            clock: Arc::new(SystemClock),
            db,
        }
    }

    /// Which reports that are recorded one by one become a row; without this, every one. A
    /// [`Recorder`](crate::Recorder) has a setting of its own.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// The clock that reports are stamped by, where that is not the machine's own: what is stored with a stamp to come was
    /// stamped before it was put back.
    #[must_use]
    pub fn with_clock(self, clock: SharedClock) -> Self {
        Self { clock, ..self }
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

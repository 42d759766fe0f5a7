//! What stops a call, by what the caller does about it.

use store_support::{DbErr, DbFault, TransactionFailure, classify};

/// Why the outbox could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The database does not answer now; try again later.
    #[error("the outbox's database is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database refuses: a fault of ours or of the schema.
    #[error("the database refused to {action}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl OutboxError {
    pub(crate) fn during(action: &'static str) -> impl Fn(Fault) -> Self {
        move |Fault(error)| match classify(&error) {
            // A conflict that ten tries could not settle is an overloaded database.
            DbFault::Unavailable | DbFault::Conflict => Self::Unavailable(Box::new(error)),
            DbFault::Unique | DbFault::Refused => Self::Refused {
                action,
                source: Box::new(error),
            },
        }
    }
}

/// The database's error while a call runs.
#[derive(Debug)]
pub(crate) struct Fault(DbErr);

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self(error)
    }
}

impl TransactionFailure for Fault {
    fn database_error(&self) -> Option<&DbErr> {
        Some(&self.0)
    }
}

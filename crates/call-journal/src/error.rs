//! What stops a call of this crate, by what the caller does about it.

use store_support::{DbErr, DbFault, classify};

/// The database's part.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The database does not answer now; whether a write under way took effect is unknown. Try again later.
    #[error("the journal's database is not available")]
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

impl JournalError {
    pub(crate) fn during(action: &'static str) -> impl Fn(DbErr) -> Self {
        move |error| match classify(&error) {
            // A conflict that ten tries could not settle is an overloaded database.
            DbFault::Unavailable | DbFault::Conflict => Self::Unavailable(Box::new(error)),
            DbFault::Unique | DbFault::Refused => Self::Refused {
                action,
                source: Box::new(error),
            },
        }
    }
}

//! What stops a call inside this crate, and what the engine gets to see of it.

use lab_model::HostName;
use reservation_engine::StoreError;
use store_support::{DbErr, DbFault, TransactionFailure, classify};

#[derive(Debug)]
pub(crate) enum Fault {
    /// The claim is no longer ours.
    Fenced(HostName),
    /// A row says something that cannot be.
    Corrupt(Corrupt),
    Database(DbErr),
}

/// A row, or a request, that contradicts itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Corrupt {
    #[error("{column} of operation {id} is unreadable")]
    Unreadable { id: i64, column: &'static str },
    #[error("operation {id} was written by a newer release (journal version {version})")]
    Newer { id: i64, version: i32 },
    #[error("operation {id} does not exist on this host")]
    NoOperation { id: i64 },
    #[error("attempt {id} does not belong to operation {operation}")]
    NoAttempt { id: i64, operation: i64 },
    #[error("the {column} is {chars} characters long, at most {limit} are stored")]
    TooLong {
        column: &'static str,
        chars: usize,
        limit: usize,
    },
    #[error("the state cannot be written as JSON")]
    State(#[source] serde_json::Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fenced(host) => write!(f, "the claim on host {host} is no longer ours"),
            Self::Corrupt(corrupt) => corrupt.fmt(f),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl From<DbErr> for Fault {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl From<Corrupt> for Fault {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

impl TransactionFailure for Fault {
    fn database_error(&self) -> Option<&DbErr> {
        match self {
            Self::Database(error) => Some(error),
            Self::Fenced(_) | Self::Corrupt(_) => None,
        }
    }
}

impl Fault {
    /// Translates for the engine; `action` completes "the store refused to ...".
    pub(crate) fn during(action: &'static str) -> impl Fn(Self) -> StoreError {
        move |fault| match fault {
            Self::Fenced(host) => StoreError::Fenced { host },
            Self::Corrupt(corrupt) => StoreError::Refused {
                action,
                source: Box::new(corrupt),
            },
            Self::Database(error) => match classify(&error) {
                // A conflict that ten tries could not settle is an overloaded database.
                DbFault::Unavailable | DbFault::Conflict => StoreError::Unavailable(Box::new(error)),
                DbFault::Unique | DbFault::Refused => StoreError::Refused {
                    action,
                    source: Box::new(error),
                },
            },
        }
    }
}

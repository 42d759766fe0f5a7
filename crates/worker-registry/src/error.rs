//! What stops a call, by what the caller does about it.

use store_support::{DbErr, DbFault, classify};

use crate::worker::{Incumbent, Status};

/// The database's part.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database does not answer now; try again later.
    #[error("the registry's database is not available")]
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

impl RegistryError {
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

/// Why a worker was not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A process whose lease still runs has the name.
    #[error("the worker name is in use: {0}")]
    Taken(Box<Incumbent>),
    /// A value that the table cannot keep.
    #[error("the worker's {what} is {chars} characters long, at most {limit} are stored")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// Its length.
        chars: usize,
        /// The longest that fits.
        limit: usize,
    },
    /// The database's part.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Why an operator's wish about a worker was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nobody registered under this name.
    #[error("no worker is named {name:?}")]
    Unknown {
        /// As it was sent.
        name: String,
    },
    /// Only a cordoned worker can be uncordoned.
    #[error("worker {name:?} is {status}, not cordoned")]
    NotCordoned {
        /// The worker.
        name: String,
        /// What it is instead.
        status: Status,
    },
    /// It holds no shards, so there is nothing to keep from it.
    #[error("worker {name:?} ({role}) takes no shards: there is nothing to withhold")]
    NothingToWithhold {
        /// The worker.
        name: String,
        /// Its role.
        role: String,
    },
    /// The reason is blank or too long.
    #[error("the reason {problem}")]
    Reason {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The database's part.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

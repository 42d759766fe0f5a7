//! What stops a call, by what the caller does about it. No variant holds anything of a credential or a key.

use lab_model::CredentialRef;
use store_support::{DbErr, DbFault, classify};

/// Why a row that is there cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The key it was sealed with is not in the ring. Put it there.
    #[error("its key {key_id:?} is not in the ring")]
    UnknownKey {
        /// The key's id.
        key_id: String,
    },
    /// The key does not open it: another key under the same id, a row that was altered, or one that was copied from
    /// another name. Write the credential again.
    #[error("it is sealed by another key of that id, or was altered")]
    NotAuthentic,
    /// A newer release wrote it. Upgrade.
    #[error("it has the format {format}, which this release does not know")]
    Format {
        /// The number of the format.
        format: i64,
    },
}

/// Why a credential was not written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is no key. Set one.
    #[error("no key for stored credentials is configured")]
    NoKey,
    /// The name is taken, and nothing was overwritten.
    #[error("a credential {reference:?} exists already", reference = .reference.as_str())]
    Exists {
        /// The name.
        reference: CredentialRef,
    },
    /// The row is there but cannot be used.
    #[error("the credential {reference:?} cannot be read", reference = .reference.as_str())]
    Unreadable {
        /// The name.
        reference: CredentialRef,
        /// Why.
        #[source]
        why: Unreadable,
    },
    /// The system gives no random numbers; nothing was written.
    #[error("no random numbers are to be had")]
    NoRandomness,
    /// The database does not answer now; try again later.
    #[error("the database of credentials is not available")]
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

impl CredentialError {
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

    pub(crate) fn unreadable(reference: &CredentialRef) -> impl Fn(Unreadable) -> Self {
        let reference = reference.clone();
        move |why| Self::Unreadable {
            reference: reference.clone(),
            why,
        }
    }
}

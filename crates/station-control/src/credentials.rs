//! Stored credentials, as this crate needs them: a name in, an account out.

use std::fmt;
use std::pin::Pin;

use lab_model::CredentialRef;
use secrecy::SecretString;

/// An account and its password. Neither is shown by `Debug`.
#[derive(Clone)]
pub struct StoredAccount {
    /// `DOMAIN\user`, `user@realm` or `user`.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

impl fmt::Debug for StoredAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredAccount(..)")
    }
}

/// Why there is no account under a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCredential {
    /// Nothing is stored under it.
    #[error("is not stored")]
    Missing,
    /// There is no key to open it with.
    #[error("cannot be opened: no key is configured")]
    NoKey,
    /// It is there, but the keys do not open it. The log of whoever tried says why.
    #[error("cannot be opened: {0}")]
    Unreadable(String),
    /// Nobody can say now; asking again may help.
    #[error("cannot be looked up now")]
    Unavailable,
}

/// What [`Credentials::find`] gives.
pub type FoundAccount<'a> = Pin<Box<dyn Future<Output = Result<StoredAccount, NoCredential>> + Send + 'a>>;

/// Where the credentials lie that entries of the catalog name (`winrm_credential_ref`).
///
/// Asked before every command, so it should keep what it knows for a moment. An answer that differs from the last
/// one closes the connections that stand.
pub trait Credentials: fmt::Debug + Send + Sync + 'static {
    /// The account of that name.
    fn find<'a>(&'a self, name: &'a CredentialRef) -> FoundAccount<'a>;
}

/// No credentials at all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Nowhere;

impl Credentials for Nowhere {
    fn find<'a>(&'a self, _: &'a CredentialRef) -> FoundAccount<'a> {
        Box::pin(std::future::ready(Err(NoCredential::NoKey)))
    }
}

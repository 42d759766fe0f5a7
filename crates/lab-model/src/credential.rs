//! The names of stored credentials.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name that is stored.
const MAX_CHARS: usize = 64;

/// Why a text names no stored credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 letters, digits, '.', '_' or '-'")]
pub struct CredentialRefError;

/// The name under which a credential is stored. Case does not count, and is not kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CredentialRef(String);

impl CredentialRef {
    /// Checks a name: 1 to 64 ASCII letters, digits, `.`, `_` and `-`; blanks around it are dropped.
    ///
    /// # Errors
    /// [`CredentialRefError`] when it is anything else.
    pub fn parse(text: &str) -> Result<Self, CredentialRefError> {
        let text = text.trim();
        let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=MAX_CHARS).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(CredentialRefError)
        }
    }

    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CredentialRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CredentialRef {
    type Error = CredentialRefError;

    fn try_from(text: String) -> Result<Self, CredentialRefError> {
        Self::parse(&text)
    }
}

impl From<CredentialRef> for String {
    fn from(name: CredentialRef) -> Self {
        name.0
    }
}

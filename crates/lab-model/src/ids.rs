//! Names that came from outside, checked once so that nothing behind this point has to doubt them.

use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

/// The widest value the shared tables keep in an id column, in characters.
const MAX_ID_CHARS: usize = 128;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing but blanks.
    #[error("must not be empty")]
    Empty,
    /// Longer than the column that stores it.
    #[error("is {chars} characters long, at most {MAX_ID_CHARS} are allowed")]
    TooLong {
        /// How long it is, in characters.
        chars: usize,
    },
    /// Line breaks and other control characters would forge log lines.
    #[error("contains a control character")]
    ControlCharacter,
}

fn check(text: &str) -> Result<&str, IdError> {
    let text = text.trim();
    let chars = text.chars().count();
    match () {
        () if text.is_empty() => Err(IdError::Empty),
        () if chars > MAX_ID_CHARS => Err(IdError::TooLong { chars }),
        () if text.chars().any(char::is_control) => Err(IdError::ControlCharacter),
        () => Ok(text),
    }
}

/// A host's name in the catalog. Shown as written, compared without regard to case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName {
    written: String,
    key: String,
}

impl HostName {
    /// Checks and keeps a name: 1 to 128 characters without control characters; blanks around it are dropped.
    ///
    /// # Errors
    /// [`IdError`] says which of these rules the text breaks.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let written = check(text)?.to_owned();
        let key = written.to_lowercase();
        Ok(Self { written, key })
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The name in the form that is compared: lower case.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for HostName {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for HostName {}
impl Hash for HostName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
impl PartialOrd for HostName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for HostName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}
impl TryFrom<String> for HostName {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}
impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.written
    }
}

/// A reservation's id: the `transaction_hash` of `lab_reservations`, or whatever a caller names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReservationId(String);

impl ReservationId {
    /// Checks and keeps an id: 1 to 128 characters without control characters; blanks around it are dropped.
    ///
    /// # Errors
    /// [`IdError`] says which of these rules the text breaks.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check(text).map(|text| Self(text.to_owned()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReservationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl TryFrom<String> for ReservationId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        Self::parse(&text)
    }
}
impl From<ReservationId> for String {
    fn from(id: ReservationId) -> Self {
        id.0
    }
}

/// A lab's id, in the form in which labs are compared: trimmed and lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabId(String);

impl LabId {
    /// Takes any text; a blank one makes an id that no host serves.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_lowercase())
    }

    /// The compared form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was named.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for LabId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_shown_as_written_and_compared_without_case() {
        let written = HostName::parse(" Lab-WS-01 ").unwrap();
        assert_eq!(written.as_str(), "Lab-WS-01");
        assert_eq!(written, HostName::parse("LAB-ws-01").unwrap());
    }

    #[test]
    fn ids_are_refused_with_the_rule_they_break() {
        assert_eq!(ReservationId::parse("  "), Err(IdError::Empty));
        assert_eq!(
            ReservationId::parse(&"x".repeat(129)),
            Err(IdError::TooLong { chars: 129 })
        );
        assert_eq!(HostName::parse("a\nb"), Err(IdError::ControlCharacter));
        assert!(ReservationId::parse(&"é".repeat(128)).is_ok());
    }
}

//! What a call is, before and after it was written down.

use std::fmt;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

/// Names a call, to its caller and in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(Uuid);

impl CallId {
    /// Draws a new one.
    #[must_use]
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads one; `None` for anything but a UUID in its usual spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_usual = text.len() == 36;
        Uuid::try_parse(text).ok().filter(|_| is_usual).map(Self)
    }

    /// The UUID.
    #[must_use]
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// `POST /api/reservations/start`.
    Start,
    /// `POST /api/reservations/end`.
    End,
    /// `POST /api/wol`.
    Wol,
    /// `POST /api/winrm`.
    Winrm,
}

impl CallKind {
    const ALL: [Self; 4] = [Self::Start, Self::End, Self::Wol, Self::Winrm];

    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::End => "end",
            Self::Wol => "wol",
            Self::Winrm => "winrm",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where a call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallState {
    /// Written down; nothing was begun.
    Queued,
    /// Under way.
    Running,
    /// Over, as the caller hoped.
    Succeeded,
    /// Over, otherwise.
    Failed,
    /// Whoever ran it is gone: what it did is in the journal of operations, if anything.
    Interrupted,
}

impl CallState {
    const ALL: [Self; 5] = [
        Self::Queued,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Interrupted,
    ];

    /// The word that is stored and shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether something may still come of it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A caller's own name for a call, by which it is the same call when it is asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 128 printable ASCII characters")]
pub struct KeyError;

impl IdempotencyKey {
    /// Takes 1 to 128 printable ASCII characters; blanks around them do not count.
    ///
    /// # Errors
    /// [`KeyError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_matches(' ');
        let printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if printable && (1..=128).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A call that is about to be written down.
#[derive(Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its name.
    pub id: CallId,
    /// What is asked for.
    pub kind: CallKind,
    /// On which host.
    pub host: Option<String>,
    /// For which reservation.
    pub reservation: Option<String>,
    /// For which lab.
    pub lab: Option<String>,
    /// The name of the caller's token.
    pub caller: String,
    /// By which request.
    pub request_id: Option<String>,
    /// The caller's own name for it.
    pub key: Option<IdempotencyKey>,
    /// The request in one spelling; only a digest of it is kept, see [`CallJournal::keyed_by`](crate::CallJournal::keyed_by).
    pub request: String,
    /// Which process runs it.
    pub worker: String,
    /// When it was asked for.
    pub at: DateTime<Utc>,
    /// Whether its effect begins at once; otherwise [`CallJournal::begin`](crate::CallJournal::begin) comes first.
    pub begun: bool,
}

/// The request may hold a password.
impl std::fmt::Debug for NewCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("NewCall");
        shown.field("id", &self.id).field("kind", &self.kind);
        shown.field("host", &self.host).field("caller", &self.caller);
        shown.finish_non_exhaustive()
    }
}

/// What came of writing a call down.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    /// It is there now, and ours to run.
    New,
    /// The caller asked for the same before under this key; this is that call.
    Known(Box<CallRecord>),
    /// The caller used the key for something else.
    Mismatch(CallId),
}

/// An answer as the journal has it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body; long texts in it may have been cut.
    pub body: Value,
}

/// A call as the journal has it.
#[derive(Debug, Clone, PartialEq)]
pub struct CallRecord {
    /// Its name.
    pub id: CallId,
    /// What was asked for.
    pub kind: CallKind,
    /// On which host.
    pub host: Option<String>,
    /// For which reservation.
    pub reservation: Option<String>,
    /// For which lab.
    pub lab: Option<String>,
    /// The name of the caller's token.
    pub caller: String,
    /// By which request.
    pub request_id: Option<String>,
    /// Where it stands.
    pub state: CallState,
    /// What was answered.
    pub answer: Option<StoredAnswer>,
    /// Which process ran it.
    pub worker: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When its effect was about to begin.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was over.
    pub ended_at: Option<DateTime<Utc>>,
    pub(crate) digest: String,
    /// Whether the lease of whoever runs it is over.
    pub(crate) left_behind: bool,
}

impl CallRecord {
    /// Whether nothing was begun and nobody is about to, so that the call may be taken over.
    #[must_use]
    pub fn never_began(&self) -> bool {
        let nobody_is = self.state == CallState::Interrupted || (self.state.is_open() && self.left_behind);
        self.started_at.is_none() && nobody_is
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEnd {
    /// A state that is not open.
    pub state: CallState,
    /// What was answered.
    pub answer: StoredAnswer,
    /// Nothing was done, so that the same call may be asked for again under its key.
    pub frees_key: bool,
}

impl CallEnd {
    /// Ends with an answer.
    #[must_use]
    pub fn new(state: CallState, status: u16, body: Value) -> Self {
        Self {
            state,
            answer: StoredAnswer { status, body },
            frees_key: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printable_and_bounded() {
        assert_eq!(IdempotencyKey::parse(" a b ").unwrap().as_str(), "a b");
        assert!(IdempotencyKey::parse(&"k".repeat(128)).is_ok());
        for wrong in ["", "  ", "a\tb", "ä", &"k".repeat(129)] {
            assert_eq!(IdempotencyKey::parse(wrong), Err(KeyError), "{wrong:?}");
        }
    }

    #[test]
    fn words_are_read_back() {
        for kind in CallKind::ALL {
            assert_eq!(CallKind::parse(kind.as_str()), Some(kind));
        }
        for state in CallState::ALL {
            assert_eq!(CallState::parse(state.as_str()), Some(state));
        }
        let id = CallId::random();
        assert_eq!(CallId::parse(&id.to_string()), Some(id));
        assert_eq!(CallId::parse(&id.uuid().simple().to_string()), None);
        assert_eq!(CallId::parse("17"), None);
    }
}

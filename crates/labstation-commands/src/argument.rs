//! Values on a command line, checked by type.

use std::time::Duration;

use crate::path::PathError;

/// Longest free text. Source: `shutdown /c` takes 512 characters, and the station passes reasons on to it.
const MAX_TEXT: usize = 512;
/// Longest delay or grace, so that a slip of the unit does not block a host for weeks.
pub(crate) const MAX_SECONDS: u64 = 86_400;

/// Why a value cannot be put on a command line. Every kind names the option, or the argument itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// The value is empty.
    #[error("{option} is empty")]
    Empty {
        /// Option or argument.
        option: String,
    },
    /// The value contains a character that a command line may take for more than itself.
    #[error("{option} contains {character:?}, which is not allowed on a command line")]
    ForbiddenCharacter {
        /// Option or argument.
        option: String,
        /// The first such character.
        character: char,
    },
    /// The value is too long.
    #[error("{option} has {length} characters, more than {limit}")]
    TooLong {
        /// Option or argument.
        option: String,
        /// Length of the value, in characters.
        length: usize,
        /// Greatest length.
        limit: usize,
    },
    /// The text is no name of a Windows account.
    #[error("{option} is not an account name: one to 20 letters, digits, or any of . _ - $")]
    NotAnAccount {
        /// Option.
        option: String,
    },
    /// The time is longer than a day.
    #[error("{option} is {seconds} s, more than {limit} s")]
    TooManySeconds {
        /// Option.
        option: String,
        /// The time, in seconds.
        seconds: u64,
        /// Greatest time, in seconds.
        limit: u64,
    },
    /// Two options exclude each other.
    #[error("{option} makes no sense {other}")]
    Contradiction {
        /// Option.
        option: String,
        /// The reason, such as "without --reboot".
        other: &'static str,
    },
    /// The value is no path to a file on the host.
    #[error("{option} is no usable path")]
    Path {
        /// Option.
        option: String,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// All arguments together do not fit into one command line.
    #[error("the command line has {length} characters, more than {limit}")]
    LineTooLong {
        /// Length in characters, with quotes.
        length: usize,
        /// Greatest length.
        limit: usize,
    },
}

/// Collects the words of one command.
#[derive(Default)]
pub(crate) struct Words(Vec<String>);

impl Words {
    pub(crate) fn word(&mut self, word: &str) {
        self.0.push(word.to_owned());
    }

    pub(crate) fn flag(&mut self, option: &str, set: bool) {
        if set {
            self.word(option);
        }
    }

    pub(crate) fn account(&mut self, option: &str, user: Option<&str>) -> Result<(), ArgumentError> {
        let Some(user) = user else { return Ok(()) };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-$".contains(c);
        if user.is_empty() || user.len() > 20 || !user.chars().all(allowed) {
            return Err(ArgumentError::NotAnAccount {
                option: option.to_owned(),
            });
        }
        self.0.push(format!("{option}={user}"));
        Ok(())
    }

    pub(crate) fn text(&mut self, option: &str, text: Option<&str>) -> Result<(), ArgumentError> {
        let Some(text) = text else { return Ok(()) };
        check_text(option, text)?;
        let length = text.chars().count();
        if length > MAX_TEXT {
            return Err(ArgumentError::TooLong {
                option: option.to_owned(),
                length,
                limit: MAX_TEXT,
            });
        }
        self.0.push(format!("{option}={text}"));
        Ok(())
    }

    /// The station reads whole seconds; a part of one is rounded up.
    pub(crate) fn seconds(&mut self, option: &str, time: Option<Duration>) -> Result<(), ArgumentError> {
        let Some(time) = time else { return Ok(()) };
        let seconds = whole_seconds(time);
        if seconds > MAX_SECONDS {
            return Err(ArgumentError::TooManySeconds {
                option: option.to_owned(),
                seconds,
                limit: MAX_SECONDS,
            });
        }
        self.0.push(format!("{option}={seconds}"));
        Ok(())
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

pub(crate) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// Refuses what `cmd.exe` or the splitting of arguments could take for more than text: there is no escape for
/// `%` and no shared one for `"`, and whether a shell stands between is the host's decision, not ours.
pub(crate) fn check_text(option: &str, text: &str) -> Result<(), ArgumentError> {
    if text.trim().is_empty() {
        return Err(ArgumentError::Empty {
            option: option.to_owned(),
        });
    }
    match text.chars().find(|&c| is_forbidden(c)) {
        Some(character) => Err(ArgumentError::ForbiddenCharacter {
            option: option.to_owned(),
            character,
        }),
        None => Ok(()),
    }
}

pub(crate) fn is_forbidden(c: char) -> bool {
    // The separators end a line for some readers although they are no control characters.
    c.is_control()
        || matches!(
            c,
            '"' | '%' | '!' | '^' | '&' | '|' | '<' | '>' | '\u{2028}' | '\u{2029}'
        )
}

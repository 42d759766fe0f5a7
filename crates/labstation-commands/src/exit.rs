//! What exit codes mean.

use std::fmt;

/// What the exit code of a station command says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitMeaning {
    /// All done.
    Done,
    /// Done, but the station noted something: a success that says so.
    DoneWithWarnings,
    /// Not done, or not known to be done.
    Failed {
        /// The exit code.
        code: i32,
    },
}

impl ExitMeaning {
    /// True unless the command failed.
    pub fn is_success(self) -> bool {
        !matches!(self, Self::Failed { .. })
    }
}

impl fmt::Display for ExitMeaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::DoneWithWarnings => f.write_str("done with warnings"),
            Self::Failed { code } => write!(f, "failed with exit code {code}"),
        }
    }
}

/// What the exit code of a command means, known by the command's first word.
///
/// Source: station contract: 0 is done, 1 done with warnings, 2 and above failed. `power` is the exception:
/// the station returns 1 when it could not schedule the action. Negative codes are how Windows reports a
/// program that crashed.
pub fn meaning_of(command_word: &str, exit_code: i32) -> ExitMeaning {
    let word = command_word.split_whitespace().next().unwrap_or_default();
    match exit_code {
        0 => ExitMeaning::Done,
        1 if !word.eq_ignore_ascii_case("power") => ExitMeaning::DoneWithWarnings,
        code => ExitMeaning::Failed { code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_warning_except_for_power() {
        for word in ["prepare-session", "release-session", "session", "powershell", ""] {
            assert_eq!(meaning_of(word, 0), ExitMeaning::Done);
            assert_eq!(meaning_of(word, 1), ExitMeaning::DoneWithWarnings, "{word}");
        }
        for word in ["power", " Power ", "power shutdown"] {
            assert_eq!(meaning_of(word, 1), ExitMeaning::Failed { code: 1 }, "{word}");
            assert_eq!(meaning_of(word, 0), ExitMeaning::Done);
        }
    }

    #[test]
    fn every_other_code_is_a_failure() {
        for code in [2, 3, 255, 9009, i32::MAX, -1, -1_073_741_510, i32::MIN] {
            assert_eq!(meaning_of("prepare-session", code), ExitMeaning::Failed { code });
        }
        assert!(!meaning_of("service", 2).is_success());
        assert!(meaning_of("service", 1).is_success());
    }
}

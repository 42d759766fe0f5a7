//! Windows command lines: one string that the program cuts into arguments again.
//!
//! Source: the parsing rules of `CommandLineToArgvW` and of the Microsoft C runtime: blanks and TABs separate, a
//! quote toggles, 2n backslashes before a quote are n backslashes, 2n+1 are n and a literal quote.

/// Longest line `CreateProcessW` takes, in UTF-16 units.
pub(crate) const DIRECT_LIMIT: usize = 32_767;
/// Longest line `cmd.exe` takes, in UTF-16 units.
pub(crate) const CMD_LIMIT: usize = 8_191;

/// Why a command is not sent. Nothing has left for the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// No program, or only blanks.
    #[error("the program is empty")]
    NoProgram,
    /// A program with a quote or a character that starts something else under `cmd.exe`.
    #[error("program {program:?} has {character:?}, which cmd.exe would misread")]
    Program {
        /// As given.
        program: String,
        /// The first offending character.
        character: char,
    },
    /// An argument with a character that XML cannot carry.
    #[error("argument {position} has the character U+{:04X}, which XML cannot carry", u32::from(*character))]
    IllegalCharacter {
        /// Counted from 1; 0 is the program.
        position: usize,
        /// The character.
        character: char,
    },
    /// An argument that `cmd.exe` would misread, should the host use it against our wish.
    #[error("argument {position} has {character:?}, which cmd.exe would misread even inside quotes")]
    UnsafeForCmd {
        /// Counted from 1.
        position: usize,
        /// The first offending character.
        character: char,
    },
    /// A working directory or an environment variable that the host could not take.
    #[error("{what} {name:?} cannot be sent: it is empty or has {character:?}")]
    Surroundings {
        /// `working directory`, `variable` or `value of variable`.
        what: &'static str,
        /// The directory, or the name of the variable.
        name: String,
        /// The first offending character, if it is not just empty.
        character: Option<char>,
    },
    /// The line is longer than the host can take.
    #[error("the command line has {length} characters, the limit is {limit}")]
    TooLong {
        /// In UTF-16 units.
        length: usize,
        /// In UTF-16 units.
        limit: usize,
    },
}

/// Says whether `arg`, quoted by this crate, means the same to `cmd.exe` and to the program.
///
/// `& | < > ^ ( )` and blanks do, as they are put in quotes; `%`, `!`, `"` and line breaks do not.
pub fn is_cmd_safe(arg: &str) -> bool {
    unsafe_for_cmd(arg).is_none()
}

fn unsafe_for_cmd(text: &str) -> Option<char> {
    text.chars().find(|c| matches!(c, '%' | '!' | '"' | '\r' | '\n'))
}

/// Characters XML 1.0 has no place for. Source: XML 1.0, production 2.
pub(crate) fn illegal_in_xml(text: &str) -> Option<char> {
    text.chars()
        .find(|c| (*c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}'))
}

pub(crate) fn check_argument(arg: &str, position: usize, allow_cmd: bool) -> Result<(), CommandRefused> {
    if let Some(character) = illegal_in_xml(arg) {
        return Err(CommandRefused::IllegalCharacter { position, character });
    }
    match unsafe_for_cmd(arg) {
        Some(character) if !allow_cmd => Err(CommandRefused::UnsafeForCmd { position, character }),
        _ => Ok(()),
    }
}

/// Quotes one argument, only when needed, so that the program gets exactly `arg`.
///
/// An inner quote becomes `\"`, never `""`: older runtimes read the latter differently.
pub fn quote(arg: &str) -> String {
    let needs_quotes =
        arg.is_empty() || arg.contains([' ', '\t', '\n', '\r', '\u{b}', '&', '|', '<', '>', '^', '(', ')']);
    let mut out = String::with_capacity(arg.len() + 2);
    if needs_quotes {
        out.push('"');
    }
    let mut backslashes = 0;
    for c in arg.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                // One more for each backslash before the quote, and one for the quote itself.
                out.extend(std::iter::repeat_n('\\', backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        out.push(c);
    }
    if needs_quotes {
        out.extend(std::iter::repeat_n('\\', backslashes));
        out.push('"');
    }
    out
}

/// Quotes the program. Its rules differ: no backslash escapes, and a quote cannot be part of it.
///
/// A program that needs quotes is refused under the strict rule, because `cmd /C` strips the first and the last
/// quote of a line that starts with one, which can leave a later argument unprotected.
pub(crate) fn quote_program(program: &str, allow_cmd: bool) -> Result<String, CommandRefused> {
    if program.trim().is_empty() {
        return Err(CommandRefused::NoProgram);
    }
    if let Some(character) = illegal_in_xml(program) {
        return Err(CommandRefused::IllegalCharacter {
            position: 0,
            character,
        });
    }
    let refuse = |character| {
        Err(CommandRefused::Program {
            program: program.to_owned(),
            character,
        })
    };
    if let Some(character) = program.chars().find(|c| matches!(c, '"' | '\r' | '\n')) {
        return refuse(character);
    }
    let special = [
        ' ', '\t', '&', '|', '<', '>', '^', '(', ')', '%', '!', ',', ';', '=',
    ];
    match program.chars().find(|c| special.contains(c)) {
        None => Ok(program.to_owned()),
        Some(_) if allow_cmd => Ok(format!("\"{program}\"")),
        Some(character) => refuse(character),
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod argv;

#[cfg(test)]
mod tests;

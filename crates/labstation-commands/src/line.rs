//! Whole command lines: a program and its arguments, not yet quoted.

use crate::argument::{ArgumentError, check_text};
use crate::command::StationCommand;
use crate::path::{PathError, check_path};

/// Windows' own, by its full path: what else is called `cmd` on a host is not asked.
const CMD: &str = r"C:\Windows\System32\cmd.exe";
/// Source: `cmd.exe` refuses longer lines; starting a program directly would allow 32767.
const MAX_LINE: usize = 8191;

/// A program on a host and its arguments, one element each and not quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// Absolute path of the program.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Why there is no command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The program's path cannot be used.
    #[error("the program cannot be started")]
    Program(#[source] PathError),
    /// An argument cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
}

/// The line that runs a typed command with the station's program at `exe`.
///
/// # Errors
/// [`LineError`], naming the path or the option at fault.
pub fn station_exe_line(exe: &str, command: &StationCommand) -> Result<CommandLine, LineError> {
    line(exe, command.name(), command.args()?)
}

/// The line that runs a command which a caller gave as words, after the allow list was asked.
///
/// The words are held to the same rule as free text: none may contain what a command line could take for more
/// than itself.
///
/// # Errors
/// [`LineError`], naming the path or the argument at fault.
pub fn raw_command_line(exe: &str, command: &str, args: &[String]) -> Result<CommandLine, LineError> {
    check_text("command", command)?;
    if let Some(character) = command.chars().find(|c| c.is_whitespace()) {
        let option = "command".to_owned();
        return Err(ArgumentError::ForbiddenCharacter { option, character }.into());
    }
    for (at, argument) in args.iter().enumerate() {
        check_text(&format!("argument {}", at + 1), argument)?;
    }
    line(exe, command, args.to_vec())
}

/// The line that prints a file of the host as it is, byte order mark included, with one cheap process.
///
/// # Errors
/// [`PathError`], naming the path.
pub fn read_file(path: &str) -> Result<CommandLine, PathError> {
    let path = check_path(path)?;
    // `/d` keeps a host's autorun entries out of the output.
    let args = ["/d", "/c", "type"]
        .map(str::to_owned)
        .into_iter()
        .chain([path])
        .collect();
    Ok(CommandLine {
        program: CMD.to_owned(),
        args,
    })
}

fn line(exe: &str, command: &str, arguments: Vec<String>) -> Result<CommandLine, LineError> {
    let program = check_path(exe).map_err(LineError::Program)?;
    let args: Vec<String> = [command.to_owned()].into_iter().chain(arguments).collect();
    // A blank before each argument and two quotes around it, at worst; backslashes are doubled at its end.
    let quoted = |word: &String| {
        word.encode_utf16().count() + 3 + word.bytes().rev().take_while(|b| *b == b'\\').count()
    };
    let length = program.encode_utf16().count() + 2 + args.iter().map(quoted).sum::<usize>();
    if length > MAX_LINE {
        return Err(ArgumentError::LineTooLong {
            length,
            limit: MAX_LINE,
        }
        .into());
    }
    Ok(CommandLine { program, args })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXE: &str = r"C:\LabStation\LabStation.exe";

    #[test]
    fn a_file_is_read_by_one_cheap_process() {
        let line = read_file(r"C:\\LabStation\\heartbeat.json").unwrap();
        assert_eq!(line.program, r"C:\Windows\System32\cmd.exe");
        assert_eq!(line.args, ["/d", "/c", "type", r"C:\LabStation\heartbeat.json"]);
        assert!(read_file(r"C:\a.json & calc").is_err());
    }

    #[test]
    fn a_typed_command_becomes_a_line() {
        let line = station_exe_line(EXE, &StationCommand::StatusJson).unwrap();
        assert_eq!(
            line,
            CommandLine {
                program: EXE.into(),
                args: vec!["status-json".into()]
            }
        );
        let error = station_exe_line("LabStation.exe", &StationCommand::StatusJson).unwrap_err();
        assert!(
            matches!(error, LineError::Program(PathError::NotAbsolute { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn words_of_a_caller_are_passed_on_as_they_are() {
        let words = ["shutdown".to_owned(), "--reason=Remote order".to_owned()];
        let line = raw_command_line(EXE, "power", &words).unwrap();
        assert_eq!(line.args, ["power", "shutdown", "--reason=Remote order"]);
    }

    #[test]
    fn words_of_a_caller_that_could_start_another_program_are_refused() {
        for word in ["& whoami", "%PATH%", "a\"b", "line\nbreak", "", "x|y", "^"] {
            let error = raw_command_line(EXE, "power", &["ok".into(), word.into()]).unwrap_err();
            assert!(error.to_string().starts_with("argument 2 "), "{word:?}: {error}");
        }
        assert!(raw_command_line(EXE, "power shutdown", &[]).is_err());
        assert!(raw_command_line(EXE, "", &[]).is_err());
    }

    #[test]
    fn a_line_too_long_for_the_host_is_refused() {
        let words = vec!["x".repeat(200); 50];
        let error = raw_command_line(EXE, "power", &words).unwrap_err();
        assert!(
            matches!(
                error,
                LineError::Argument(ArgumentError::LineTooLong { limit: 8191, .. })
            ),
            "{error:?}"
        );
    }
}

//! Whole command lines: a program and its arguments, not yet quoted.

use crate::argument::{ArgumentError, check_text};
use crate::command::StationCommand;
use crate::path::{PathError, check_path, file_url};

/// Windows' own, by its full path: what else is called `cmd` on a host is not asked.
const CMD: &str = r"C:\Windows\System32\cmd.exe";
/// Part of Windows since Windows 10 1803 and Server 2019.
const CURL: &str = r"C:\Windows\System32\curl.exe";
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

/// The line that prints `length` bytes of a file of the host from `offset` on, or as many as there are, with one cheap
/// process: `curl.exe`, which reads local files too and is part of Windows since Windows 10 1803 and Server 2019.
///
/// It ends with 0 also where the file has exactly `offset` bytes; with [`CURL_PAST_END`] where it has fewer, and with
/// [`CURL_CANNOT_OPEN`] where there is none. Anything else says that this host cannot do it.
///
/// # Errors
/// [`PathError`], naming the path: also [`PathError::NoUrl`] for a path that `type` would read.
pub fn read_file_from(path: &str, offset: u64, length: u64) -> Result<CommandLine, PathError> {
    let last = offset.saturating_add(length.max(1) - 1);
    curl(path, &["-r", &format!("{offset}-{last}")])
}

/// The line that prints the length of a file of the host, in the form of an HTTP header: see [`content_length`]. Ends
/// as [`read_file_from`] does.
///
/// # Errors
/// As for [`read_file_from`].
pub fn read_file_length(path: &str) -> Result<CommandLine, PathError> {
    curl(path, &["-I"])
}

/// Exit code of `curl`: the file is shorter than the place asked for.
pub const CURL_PAST_END: i32 = 36;
/// Exit code of `curl`: the file is not there, or not to be opened.
pub const CURL_CANNOT_OPEN: i32 = 37;

/// Reads what [`read_file_length`] prints.
#[must_use]
pub fn content_length(output: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(output).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.trim().eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    })
}

fn curl(path: &str, what: &[&str]) -> Result<CommandLine, PathError> {
    // `-q` first: no settings of the account. Nothing but files is ever asked for.
    let args = ["-q", "-s", "-S", "-g", "--proto", "=file"];
    let url = file_url(path)?;
    Ok(CommandLine {
        program: CURL.to_owned(),
        args: args
            .iter()
            .chain(what)
            .map(|&arg| arg.to_owned())
            .chain([url])
            .collect(),
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

//! PowerShell scripts as commands.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::cmdline::{CMD_LIMIT, CommandRefused, DIRECT_LIMIT};
use crate::command::Command;

/// What every script begins with: no progress records, stop at the first error, UTF-8 without a mark. Where that may not be
/// set, for want of a console or under constrained language, the code page of the shell is UTF-8 all the same.
const PRELUDE: &str = "$ProgressPreference='SilentlyContinue';$ErrorActionPreference='Stop';\
    try{[Console]::OutputEncoding=New-Object Text.UTF8Encoding($false)}catch{};";
/// What every script ends with: without it the exit code of a program that the script ran becomes 0 or 1.
const EPILOGUE: &str = "\nif($null -ne $LASTEXITCODE){exit $LASTEXITCODE};exit 0";
/// Reads the real script from standard input: one line of base64, so that no code page matters.
const BOOTSTRAP: &str = "$s=[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String([Console]::In.ReadLine()));\
    & ([ScriptBlock]::Create($s))";

/// A script for Windows PowerShell 5.1, which is on every host.
///
/// It is sent as an encoded command, which no command line parser can misread; one too long for that goes through
/// standard input. An interpreter takes 0.3 to 2 s and 60 to 100 MB on the host: prefer a program where there is one.
///
/// Values from outside never become part of the script's text: they travel as base64 and are variables there.
///
/// ```no_run
/// # async fn example(client: winrm_transport::Client) -> Result<(), winrm_transport::Error> {
/// use std::time::Duration;
/// use winrm_transport::PowerShell;
///
/// let script = PowerShell::script("Remove-Item -LiteralPath $path").value("path", r"C:\Users\O\u{2019}Brien\100%.txt");
/// let output = client.run(&script.command(), Duration::from_secs(60)).await?;
/// if output.exit_code != Some(0) {
///     println!("{}", output.error_text());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerShell {
    text: String,
    values: String,
}

impl PowerShell {
    /// A script. An error in it ends it with exit code 1 and an explanation on standard error, see
    /// [`Output::error_text`](crate::Output::error_text); the exit code of the last program that it ran is its own.
    pub fn script(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            values: String::new(),
        }
    }

    /// Gives the script a string as the variable `$name`, byte for byte, whatever is in it.
    ///
    /// # Panics
    /// When `name` is not made of ASCII letters, digits and underscores: it is part of your program, not an input.
    #[must_use]
    pub fn value(mut self, name: &str, value: &str) -> Self {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        assert!(plain, "{name:?} is no name for a variable");
        let encoded = STANDARD.encode(value);
        let written = write!(
            self.values,
            "${name}=[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('{encoded}'));"
        );
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        self
    }

    /// The script as it runs.
    fn whole(&self) -> String {
        format!("{PRELUDE}{}{}{EPILOGUE}", self.values, self.text)
    }

    /// The script as a command: encoded in its command line where that is short enough even for `cmd.exe`, which hosts
    /// have been reported to use against our wish, otherwise through standard input.
    pub fn command(&self) -> Command {
        let whole = self.whole();
        let command = interpreter(&whole);
        if length(&command) <= CMD_LIMIT {
            return command;
        }
        interpreter(BOOTSTRAP).stdin(STANDARD.encode(whole) + "\n")
    }

    /// The script in its command line and nowhere else, for hosts known to take 32,767 characters there
    /// (`skip_cmd_shell` true) or 8,191 (false).
    ///
    /// # Errors
    /// [`CommandRefused::TooLong`] with the length and the limit.
    pub fn encoded(&self, skip_cmd_shell: bool) -> Result<Command, CommandRefused> {
        let command = interpreter(&self.whole()).skip_cmd_shell(skip_cmd_shell);
        let limit = if skip_cmd_shell { DIRECT_LIMIT } else { CMD_LIMIT };
        match length(&command) {
            length if length > limit => Err(CommandRefused::TooLong { length, limit }),
            _ => Ok(command),
        }
    }
}

fn interpreter(script: &str) -> Command {
    let units: Vec<u8> = script.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let switches = [
        "-NoProfile",
        "-NonInteractive",
        "-ExecutionPolicy",
        "Bypass",
        "-EncodedCommand",
    ];
    Command::new("powershell.exe")
        .args(switches)
        .arg(STANDARD.encode(units))
}

/// Of the command line, which is plain ASCII without anything to quote.
fn length(command: &Command) -> usize {
    command.program().len() + command.arguments().iter().map(|arg| arg.len() + 1).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(command: &Command) -> String {
        let bytes = STANDARD.decode(command.arguments().last().unwrap()).unwrap();
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units).unwrap()
    }

    #[test]
    fn a_short_script_is_encoded_between_prelude_and_exit() {
        let command = PowerShell::script("Get-Date").command();
        let text = decoded(&command);
        assert!(
            text.starts_with(PRELUDE) && text.ends_with(EPILOGUE) && text.contains("Get-Date"),
            "{text}"
        );
        assert_eq!(length(&command), command.line().unwrap().len());
        assert!(!command.is_piped());
    }

    #[test]
    fn no_character_of_a_value_is_part_of_the_script() {
        let nasty = "'; Remove-Item C:\\ -Recurse; \u{2019}$(calc) `\r\n\0";
        let text = decoded(&PowerShell::script("$v").value("v", nasty).command());
        assert!(
            !text.contains("Remove-Item") && !text.contains('\u{2019}') && !text.contains("calc"),
            "{text}"
        );
        assert!(text.contains(&STANDARD.encode(nasty)));
    }

    #[test]
    fn a_script_too_long_for_cmd_goes_through_standard_input() {
        let long = PowerShell::script("#".repeat(3_000));
        let mut command = long.command();
        assert!(command.is_piped() && decoded(&command) == BOOTSTRAP);
        let sent = command.take_input().unwrap();
        assert_eq!(
            STANDARD.decode(sent.trim_ascii_end()).unwrap(),
            long.whole().into_bytes()
        );
    }

    #[test]
    fn the_limits_of_both_shells_are_named() {
        let long = PowerShell::script("#".repeat(3_000));
        let refused = long.encoded(false).unwrap_err();
        assert!(
            matches!(refused, CommandRefused::TooLong { limit: 8_191, .. }),
            "{refused}"
        );
        assert!(long.encoded(true).unwrap().line().is_ok());
        let refused = PowerShell::script("#".repeat(12_500)).encoded(true).unwrap_err();
        assert!(
            matches!(refused, CommandRefused::TooLong { limit: 32_767, .. }),
            "{refused}"
        );
    }
}

//! A program and its arguments.

use crate::cmdline::{self, CommandRefused};

/// One program to run on the host, with arguments that reach it exactly as given.
///
/// ```
/// use winrm_transport::Command;
///
/// let command = Command::new(r"C:\LabStation\LabStation.exe").arg("prepare-session").arg("--user=a student");
/// assert_eq!(command.line()?, r#"C:\LabStation\LabStation.exe prepare-session "--user=a student""#);
/// # Ok::<(), winrm_transport::CommandRefused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    program: String,
    args: Vec<String>,
    skip_cmd_shell: bool,
    allow_cmd_metacharacters: bool,
}

impl Command {
    /// A command without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            skip_cmd_shell: true,
            allow_cmd_metacharacters: false,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds several arguments.
    #[must_use]
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Asks the host to start the program directly (true, the default) or by `cmd.exe /C` (false).
    #[must_use]
    pub fn skip_cmd_shell(mut self, skip: bool) -> Self {
        self.skip_cmd_shell = skip;
        self
    }

    /// Lets arguments through that `cmd.exe` would misread (`%`, `!`, `"`, line breaks). Default: false.
    ///
    /// Hosts have been reported to ignore the request not to use `cmd.exe`, so by default a line is only sent
    /// when both parsers read it the same way. Allow this for fixed text of your own, never for outside input.
    #[must_use]
    pub fn allow_cmd_metacharacters(mut self, allow: bool) -> Self {
        self.allow_cmd_metacharacters = allow;
        self
    }

    /// The program, as given.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The arguments, as given and unquoted.
    pub fn arguments(&self) -> &[String] {
        &self.args
    }

    pub(crate) fn skips_cmd_shell(&self) -> bool {
        self.skip_cmd_shell
    }

    /// The quoted command line, as the host will put it together.
    ///
    /// # Errors
    /// [`CommandRefused`] when it cannot be sent, or not without `cmd.exe` misreading it.
    pub fn line(&self) -> Result<String, CommandRefused> {
        Ok(self.quoted()?.join(" "))
    }

    /// The program and each argument, quoted.
    pub(crate) fn quoted(&self) -> Result<Vec<String>, CommandRefused> {
        let mut words = Vec::with_capacity(1 + self.args.len());
        words.push(cmdline::quote_program(
            &self.program,
            self.allow_cmd_metacharacters,
        )?);
        for (position, arg) in self.args.iter().enumerate() {
            cmdline::check_argument(arg, position + 1, self.allow_cmd_metacharacters)?;
            words.push(cmdline::quote(arg));
        }
        let limit = if self.skip_cmd_shell {
            cmdline::DIRECT_LIMIT
        } else {
            cmdline::CMD_LIMIT
        };
        let length = words.iter().map(|w| w.encode_utf16().count() + 1).sum::<usize>() - 1;
        if length > limit {
            return Err(CommandRefused::TooLong { length, limit });
        }
        Ok(words)
    }
}

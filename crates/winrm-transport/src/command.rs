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
    surroundings: Surroundings,
    input: Option<Vec<u8>>,
    piped: bool,
}

/// What a program finds around it. In WinRM these belong to the shell, not to the command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) directory: Option<String>,
    pub(crate) variables: Vec<(String, String)>,
}

impl Surroundings {
    pub(crate) fn is_usual(&self) -> bool {
        self.directory.is_none() && self.variables.is_empty()
    }

    fn check(&self) -> Result<(), CommandRefused> {
        let refuse = |what, name: &str, character| {
            let name = name.to_owned();
            Err(CommandRefused::Surroundings {
                what,
                name,
                character,
            })
        };
        if let Some(directory) = &self.directory {
            let bad =
                cmdline::illegal_in_xml(directory).or_else(|| directory.chars().find(|c| c.is_control()));
            if bad.is_some() || directory.trim().is_empty() {
                return refuse("working directory", directory, bad);
            }
        }
        for (name, value) in &self.variables {
            let bad =
                cmdline::illegal_in_xml(name).or_else(|| name.chars().find(|c| *c == '=' || c.is_control()));
            if bad.is_some() || name.is_empty() {
                return refuse("variable", name, bad);
            }
            if let Some(character) = cmdline::illegal_in_xml(value) {
                return refuse("value of variable", name, Some(character));
            }
        }
        Ok(())
    }
}

impl Command {
    /// A command without arguments.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            skip_cmd_shell: true,
            allow_cmd_metacharacters: false,
            surroundings: Surroundings::default(),
            input: None,
            piped: false,
        }
    }

    /// Runs the program in this directory instead of the account's own.
    ///
    /// In WinRM directory and variables belong to the shell: a command that names its own gets a shell of its own,
    /// which costs two more requests (Create and Delete) and is deleted when the command is done.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<String>) -> Self {
        self.surroundings.directory = Some(directory.into());
        self
    }

    /// Sets one environment variable for the program. Costs a shell of its own, as [`Command::current_dir`] does.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.surroundings.variables.push((name.into(), value.into()));
        self
    }

    /// What the program reads from its standard input, which is closed after it.
    ///
    /// The input travels on a second connection while the output is read on the first, so that neither can block
    /// the other: it costs a connection and a handshake.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self.piped = true;
        self
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

    pub(crate) fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    pub(crate) fn take_input(&mut self) -> Option<Vec<u8>> {
        self.input.take()
    }

    /// Whether standard input is a pipe rather than the console.
    pub(crate) fn is_piped(&self) -> bool {
        self.piped
    }

    /// Makes standard input a pipe for what will be sent later.
    pub(crate) fn with_pipe(mut self) -> Self {
        self.piped = true;
        self
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
        self.surroundings.check()?;
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

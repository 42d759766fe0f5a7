//! The programs behind the shell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::cmdline::{When, argv, cmd_pieces};
use super::{builtins, curl, files, labstation, powershell};
use crate::effects::EffectKind;
use crate::host::Inner;
use crate::script::Step;

/// Longest line `cmd.exe` takes, in characters.
const CMD_LIMIT: usize = 8191;
/// Longest line a new process takes, in characters.
const PROCESS_LIMIT: usize = 32_767;
/// Shells within shells, bounded.
const DEPTH_LIMIT: u8 = 4;
/// Code page UTF-8.
const UTF_8: u32 = 65_001;

/// Where a program writes.
pub(crate) trait Console: Send + Sync {
    /// Appends to standard output.
    fn out(&self, bytes: &[u8]);
    /// Appends to standard error.
    fn err(&self, bytes: &[u8]);
    /// Takes what came on standard input, and says whether that was all.
    fn input(&self) -> (Vec<u8>, bool);
    /// Notified when there is more input, or it was closed.
    fn input_changed(&self) -> &Notify;
}

/// What a shell gives its programs.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) shell_id: String,
    pub(crate) code_page: u32,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) directory: String,
}

impl Environment {
    fn variable(&self, host: &Inner, name: &str) -> Option<String> {
        let own = self
            .variables
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.clone());
        own.or_else(|| match name.to_ascii_uppercase().as_str() {
            "COMPUTERNAME" => Some(host.lock().computer.clone()),
            "USERNAME" => Some(host.spec.user.clone()),
            "SYSTEMROOT" | "WINDIR" => Some(r"C:\Windows".into()),
            "SYSTEMDRIVE" => Some("C:".into()),
            "CD" => Some(self.directory.clone()),
            _ => None,
        })
    }
}

/// One running program.
pub(super) struct Call<'a> {
    pub(super) host: &'a Arc<Inner>,
    pub(super) environment: &'a Environment,
    console: &'a dyn Console,
    silent: bool,
}

impl Call<'_> {
    /// Writes text as UTF-8, as the station's own program does whatever the code page is.
    pub(super) fn out(&self, text: &str) {
        self.out_bytes(text.as_bytes());
    }

    pub(super) fn out_bytes(&self, bytes: &[u8]) {
        if !self.silent {
            self.console.out(bytes);
        }
    }

    pub(super) fn err(&self, text: &str) {
        self.console.err(text.as_bytes());
    }

    /// The next part of standard input; nothing when it is closed.
    pub(super) async fn input(&self) -> Option<Vec<u8>> {
        loop {
            let changed = self.console.input_changed().notified();
            tokio::pin!(changed);
            // Registered before the look, so that input between look and wait is not slept over.
            changed.as_mut().enable();
            match self.console.input() {
                (bytes, _) if !bytes.is_empty() => return Some(bytes),
                (_, true) => return None,
                _ => changed.await,
            }
        }
    }

    /// Writes text as the console does: what the code page lacks becomes a question mark.
    pub(super) fn out_in_code_page(&self, text: &str) {
        if self.environment.code_page == UTF_8 {
            self.out(text);
        } else {
            let bytes: Vec<u8> = text
                .chars()
                .map(|c| u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or(b'?'))
                .collect();
            self.out_bytes(&bytes);
        }
    }
}

/// Runs a command line and gives its exit code. With `skip_cmd` the line goes to a new process as it is, otherwise
/// through `cmd.exe /C`.
pub(crate) async fn run(
    host: &Arc<Inner>,
    console: &dyn Console,
    environment: &Environment,
    line: &str,
    skip_cmd: bool,
) -> i32 {
    let call = Call {
        host,
        environment,
        console,
        silent: false,
    };
    if skip_cmd {
        start(&call, line, 0).await
    } else {
        cmd(&call, line, 0).await
    }
}

/// `cmd.exe /C <line>`.
async fn cmd(call: &Call<'_>, line: &str, depth: u8) -> i32 {
    if line.chars().count() > CMD_LIMIT {
        call.err("The command line is too long.\r\n");
        return 1;
    }
    let mut code = 0;
    for piece in cmd_pieces(line, |name| call.environment.variable(call.host, name)) {
        let runs = match piece.when {
            When::Always => true,
            When::IfDone => code == 0,
            When::IfFailed => code != 0,
        };
        if runs {
            let part = Call {
                silent: call.silent || piece.silent,
                ..*call
            };
            code = Box::pin(start(&part, &piece.line, depth)).await;
        }
    }
    code
}

/// Starts one program, logs it, and waits for its end.
async fn start(call: &Call<'_>, line: &str, depth: u8) -> i32 {
    let argv = argv(line);
    let program = argv.first().cloned().unwrap_or_default();
    let entry = call.host.log(EffectKind::Command {
        program: program.clone(),
        command_line: line.to_owned(),
        argv: argv.clone(),
        shell_id: call.environment.shell_id.clone(),
        exit_code: None,
    });
    let code = if line.chars().count() > PROCESS_LIMIT {
        call.err("The filename or extension is too long.\r\n");
        1
    } else {
        execute(call, line, &argv, depth).await
    };
    call.host.effects.set_exit_code(entry, code);
    code
}

async fn execute(call: &Call<'_>, line: &str, argv: &[String], depth: u8) -> i32 {
    let Some((program, args)) = argv.split_first() else {
        return 0;
    };
    if files::normalize(program) == files::normalize(files::paths::PROGRAM) {
        return labstation::run(call, args).await;
    }
    pause(call.host.spec.station.durations.other).await;
    let path = program.to_ascii_lowercase();
    let file = path.rsplit(['\\', '/']).next().unwrap_or_default();
    let mut made_up = call.host.spec.station.programs.iter();
    if let Some(program) = made_up.find(|program| program.file.eq_ignore_ascii_case(file)) {
        return play(call, &program.steps).await;
    }
    match file.strip_suffix(".exe").unwrap_or(file) {
        "cmd" if depth < DEPTH_LIMIT => match inner_line(line) {
            Some(inner) => cmd(call, inner, depth + 1).await,
            None => 0,
        },
        "type" => type_files(call, args),
        "curl" => curl::run(call, args),
        "copy" => builtins::copy(call, args),
        "del" | "erase" => builtins::del(call, args),
        "if" => builtins::if_exist(call, args),
        "echo" => {
            let text = line.trim_start().get(4..).unwrap_or_default();
            call.out_in_code_page(&format!("{}\r\n", text.strip_prefix(' ').unwrap_or(text)));
            0
        }
        "ver" => print(call, "Microsoft Windows [Version 10.0.20348.1]\r\n"),
        "exit" => args.iter().find_map(|a| a.parse().ok()).unwrap_or(0),
        "whoami" => {
            let text = format!("{}\\{}\r\n", call.host.lock().computer, call.host.spec.user).to_lowercase();
            print(call, &text)
        }
        "hostname" => {
            let text = format!("{}\r\n", call.host.lock().computer);
            print(call, &text)
        }
        "sort" => sort(call).await,
        "powershell" => powershell::run(call, args).await,
        _ => {
            call.err(&format!(
                "'{program}' is not recognized as an internal or external command,\r\n\
                 operable program or batch file.\r\n"
            ));
            1
        }
    }
}

/// A program that a test made up.
async fn play(call: &Call<'_>, steps: &[Step]) -> i32 {
    for step in steps {
        match step {
            Step::Out(bytes) => call.out_bytes(bytes),
            Step::Err(bytes) => call.console.err(bytes),
            Step::Fill(length) => call.out_bytes(&(b'a'..=b'z').cycle().take(*length).collect::<Vec<u8>>()),
            Step::Pause(time) => sleep(*time).await,
            Step::CopyInput => {
                while let Some(bytes) = call.input().await {
                    call.out_bytes(&bytes);
                }
            }
            Step::ShowVariable(name) => {
                call.out(&call.environment.variable(call.host, name).unwrap_or_default());
            }
            Step::ShowDirectory => call.out(&call.environment.directory),
            Step::Exit(code) => return *code,
            Step::Forever => std::future::pending().await,
        }
    }
    0
}

/// `sort`: the lines of standard input in order.
async fn sort(call: &Call<'_>) -> i32 {
    let mut all = Vec::new();
    while let Some(bytes) = call.input().await {
        all.extend(bytes);
    }
    let text = String::from_utf8_lossy(&all).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.iter().for_each(|line| call.out(&format!("{line}\r\n")));
    0
}

/// Works for so long. A time of zero costs no timer tick: heartbeat reads of a whole campus come through here.
pub(super) async fn pause(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

fn print(call: &Call<'_>, text: &str) -> i32 {
    call.out_in_code_page(text);
    0
}

/// The part of a `cmd.exe` line after `/c`, as it was written.
fn inner_line(line: &str) -> Option<&str> {
    let lower = line.to_ascii_lowercase();
    // ASCII lower case keeps every byte offset.
    lower.find(" /c").map(|at| line[at + 3..].trim_start())
}

/// `type`: the files one after the other, as bytes; with several files their names go to standard error.
fn type_files(call: &Call<'_>, names: &[String]) -> i32 {
    if names.is_empty() {
        call.err("The syntax of the command is incorrect.\r\n");
        return 1;
    }
    let mut code = 0;
    for name in names {
        match files::read(call.host, name) {
            Some(bytes) => {
                if names.len() > 1 {
                    call.err(&format!("\r\n{name}\r\n\r\n\r\n"));
                }
                call.out_bytes(&bytes);
            }
            None => {
                call.err("The system cannot find the file specified.\r\n");
                if names.len() > 1 {
                    call.err(&format!("Error occurred while processing: {name}.\r\n"));
                }
                code = 1;
            }
        }
    }
    code
}

//! The program as somebody in a shell runs it.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::script::Script;

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard output, which has to be one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The program with nothing in its environment but the zone and these variables.
pub(crate) fn command(variables: &[(&str, &str)], arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_opsctl"));
    command
        .env_clear()
        .env("TZ", "UTC")
        .envs(variables.iter().copied())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it against a scripted server.
pub(crate) fn opsctl(script: &Script, arguments: &[&str]) -> Ran {
    run(&[("OPSCTL_URL", &script.url())], arguments)
}

/// Runs it.
pub(crate) fn run(variables: &[(&str, &str)], arguments: &[&str]) -> Ran {
    Ran::of(command(variables, arguments).output().unwrap())
}

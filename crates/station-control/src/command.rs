//! Commands of the station, as steps and as callers give them.

use std::time::Duration;

use lab_model::Host;
use labstation_commands::{ExitMeaning, meaning_of, raw_command_line};
use tokio::time::Instant;
use winrm_transport::{Command, Effect, Output};

use crate::control::Inner;
use crate::error::StationError;
use crate::links::Link;

/// Longest wait that an argument may add to the deadline of its command.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Source: the station's guard waits at least 30 s for a user who is logged on, whatever the grace says.
const SHORTEST_GRACE: Duration = Duration::from_secs(30);

/// How long a host that is about to go down is given to delete its shells.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// How a command of the station ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReport {
    /// The program's exit code.
    pub exit_code: i32,
    /// What the station means by it.
    pub meaning: ExitMeaning,
    /// Standard output as text, as received.
    pub stdout: String,
    /// Standard error as text, as received.
    pub stderr: String,
    /// From the call to the end of the command, waiting in line included.
    pub duration: Duration,
    /// Output may be missing: there was more than is kept, or an answer was lost on the way.
    pub truncated: bool,
}

impl Inner {
    pub(crate) async fn run_command(
        &self,
        host: &Host,
        link: &Link,
        command: &str,
        args: &[String],
        deadline: Duration,
    ) -> Result<CommandReport, StationError> {
        let line = raw_command_line(&host.labstation_exe, command, args);
        let line = line.map_err(|why| StationError::refused(&host.name, why))?;
        let until = Instant::now() + deadline;
        let to_run = Command::new(line.program).args(line.args);
        // What only looks does not stand in line behind a guard that waits for a student to leave.
        let client = if only_looks(command) {
            link.looks()
        } else {
            &link.commands
        };
        let ended = client.run(&to_run, deadline).await;
        let report = match ended {
            Ok(output) => report(host, command, &output),
            Err(error) => Err(StationError::from_transport(&host.name, error)),
        };
        let had_effect = match &report {
            Ok(report) => report.meaning.is_success(),
            Err(error) => error.effect() == Effect::Unknown,
        };
        if had_effect && takes_host_down(command, args) {
            // Nothing of now will be there after the boot, and a request lost to it would look like a riddle. The
            // shells are deleted while the host can still be asked: one that hibernates would keep them.
            if report.is_ok() {
                link.close(FAREWELL.min(until.saturating_duration_since(Instant::now())))
                    .await;
            }
            link.disconnect();
        }
        report
    }
}

fn report(host: &Host, command: &str, output: &Output) -> Result<CommandReport, StationError> {
    let exit_code = output
        .exit_code
        .ok_or_else(|| StationError::no_exit_code(&host.name))?;
    Ok(CommandReport {
        exit_code,
        meaning: meaning_of(command, exit_code),
        stdout: output.stdout_text().into_owned(),
        stderr: output.stderr_text().into_owned(),
        duration: output.duration,
        truncated: output.truncated,
    })
}

/// Whether the command changes nothing on the host.
pub(crate) fn only_looks(command: &str) -> bool {
    matches!(command, "status-json" | "status")
}

/// Whether the host goes down when the command succeeds.
pub(crate) fn takes_host_down(command: &str, args: &[String]) -> bool {
    match command {
        "power" => args
            .first()
            .is_some_and(|mode| matches!(mode.as_str(), "shutdown" | "hibernate")),
        "release-session" => args.iter().any(|arg| arg == "--reboot"),
        _ => false,
    }
}

/// How long a command waits because its own arguments say so.
pub(crate) fn waits_for(args: &[String]) -> Duration {
    let waits = args.iter().filter_map(|arg| {
        let (option, seconds) = arg.split_once('=')?;
        let wait = Duration::from_secs(seconds.trim().parse().ok()?);
        match option {
            "--guard-grace" | "--grace" => Some(wait.max(SHORTEST_GRACE)),
            "--delay" => Some(wait),
            _ => None,
        }
    });
    waits
        .fold(Duration::ZERO, Duration::saturating_add)
        .min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_command_is_given_the_time_its_arguments_ask_for() {
        let seconds = |text| waits_for(&words(text)).as_secs();
        assert_eq!(seconds("--guard-grace=90 --user=x"), 90);
        assert_eq!(seconds("--guard-grace=0"), 30);
        assert_eq!(seconds("shutdown --delay=15 --reason=999"), 15);
        assert_eq!(seconds("--delay=99999999999 --grace=18446744073709551615"), 3600);
        assert_eq!(seconds("--delay=soon"), 0);
    }

    #[test]
    fn commands_that_take_the_host_down_are_known() {
        assert!(takes_host_down("power", &words("shutdown --delay=5")));
        assert!(takes_host_down("power", &words("hibernate")));
        assert!(takes_host_down("release-session", &words("--user=x --reboot")));
        assert!(!takes_host_down("release-session", &words("--reboot-timeout=5")));
        assert!(!takes_host_down("power", &words("status")));
        assert!(!takes_host_down("prepare-session", &words("--reboot")));
    }
}

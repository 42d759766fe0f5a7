//! The engine's port: steps in, reports in the words of the contract out.

use std::time::Duration;

use lab_model::HostName;
use labstation_commands::ExitMeaning;
use reservation_engine::{Observation, Reason, Station, StepAction, StepOrder, StepOutcome, StepReport};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use winrm_transport::Effect;

use crate::command::CommandReport;
use crate::control::{Inner, StationControl};
use crate::error::StationError;
use crate::power::PowerReport;
use crate::wake;

/// What the transport may take beyond a deadline to say so.
const GRACE: Duration = Duration::from_millis(500);

impl Station for StationControl {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let started = Instant::now();
        let mut report = match order.action {
            StepAction::Wake(wake) => {
                return wake::climb(&self.inner, &order.host, &wake, order.deadline)
                    .await
                    .into_step_report();
            }
            StepAction::Prepare { args } => {
                self.inner
                    .command_step(&order.host, "prepare-session", args, order.deadline)
                    .await
            }
            StepAction::Release { args } => {
                self.inner
                    .command_step(&order.host, "release-session", args, order.deadline)
                    .await
            }
            StepAction::Power { mode, args } => {
                let args = std::iter::once(mode).chain(args).collect();
                self.inner.power_step(&order.host, args, order.deadline).await
            }
        };
        report.duration = started.elapsed();
        report.details["durationMs"] = json!(u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX));
        report
    }

    async fn observe(&self, host: &HostName, deadline: Duration) -> Observation {
        let Ok((entry, link)) = self.inner.host(host).await else {
            return Observation::default();
        };
        timeout(deadline + GRACE, self.inner.look(&entry, &link, deadline))
            .await
            .unwrap_or_default()
    }
}

impl Inner {
    async fn command_step(
        &self,
        name: &HostName,
        command: &str,
        args: Vec<String>,
        deadline: Duration,
    ) -> StepReport {
        let ended = match self.host(name).await {
            Ok((host, link)) => self.run_command(&host, &link, command, &args, deadline).await,
            Err(error) => Err(error),
        };
        ended.map_or_else(|error| failed(&args, &error), |report| ended_with(&args, &report))
    }

    /// Done only when the host is seen to go down: the station's "ordered" may still be called off.
    async fn power_step(&self, name: &HostName, args: Vec<String>, deadline: Duration) -> StepReport {
        let (host, link) = match self.host(name).await {
            Ok(found) => found,
            Err(error) => return failed(&args, &error),
        };
        let PowerReport { command, went_down } = self.power(&host, &link, &args, deadline).await;
        let mut report = match command {
            Some(Ok(report)) => ended_with(&args, &report),
            Some(Err(error)) => failed(&args, &error),
            None => silent(&args, "The host went down before it could answer"),
        };
        if went_down {
            report.outcome = StepOutcome::Done;
        } else if report.outcome == StepOutcome::Done {
            let detail = format!("host {name} took the order and its WinRM port is still open");
            report.outcome = StepOutcome::Unknown(Reason::new("still_up", detail));
        }
        report.details["wentDown"] = json!(went_down);
        report
    }
}

fn ended_with(args: &[String], report: &CommandReport) -> StepReport {
    let message = format!("Exit code {}", report.exit_code);
    let outcome = match report.meaning {
        ExitMeaning::Done => StepOutcome::Done,
        ExitMeaning::DoneWithWarnings => StepOutcome::DoneWithWarnings,
        ExitMeaning::Failed { .. } => StepOutcome::Failed(Reason::new("exit_code", why(report))),
    };
    StepReport {
        outcome,
        message,
        response_code: Some(report.exit_code),
        details: details(
            args,
            Some(report.exit_code),
            report.stdout.trim(),
            report.stderr.trim(),
        ),
        duration: report.duration,
        observed: None,
    }
}

fn failed(args: &[String], error: &StationError) -> StepReport {
    let reason = error.reason();
    let mut report = silent(args, &error.sentence());
    report.details["error"] = json!({ "code": error.code() });
    report.outcome = match error.effect() {
        Effect::None => StepOutcome::Failed(reason),
        Effect::Unknown => StepOutcome::Unknown(reason),
    };
    report
}

/// A command of which there is neither exit code nor output. Its outcome is done unless the caller says otherwise.
fn silent(args: &[String], message: &str) -> StepReport {
    StepReport {
        outcome: StepOutcome::Done,
        message: message.to_owned(),
        response_code: None,
        details: details(args, None, "", ""),
        duration: Duration::ZERO,
        observed: None,
    }
}

fn details(args: &[String], exit_code: Option<i32>, stdout: &str, stderr: &str) -> Value {
    json!({ "exitCode": exit_code, "stdout": stdout, "stderr": stderr, "args": args })
}

/// The exit code and the first line the station wrote about it.
fn why(report: &CommandReport) -> String {
    let first_line = |text: &str| {
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(str::to_owned)
    };
    let said = first_line(&report.stderr).or_else(|| first_line(&report.stdout));
    let said = said
        .map(|line| format!(": {}", line.chars().take(200).collect::<String>()))
        .unwrap_or_default();
    format!("the station ended with exit code {}{said}", report.exit_code)
}

//! The few arguments both services take, and their way to a checked plan.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::plan::Plan;
use crate::settings::{Gathered, Settings};

/// Arguments of both services; everything else is a setting.
#[derive(Debug, Clone, clap::Args)]
pub struct CommandLine {
    /// Reads settings and hosts, prints every problem, and starts nothing
    #[arg(long)]
    pub check_config: bool,
    /// A TOML file with settings; the environment overrides it
    #[arg(long, value_name = "FILE", global = true)]
    pub settings: Option<PathBuf>,
}

/// What comes of reading settings and hosts.
#[derive(Debug)]
pub enum Startup {
    /// All is well: go on.
    Go(Box<Plan>),
    /// Leave with this code; what was to be said has been said.
    Leave(ExitCode),
}

/// Reads settings and catalog, starts logging, and says on standard error all that is wrong. Exit code 2 means that
/// the configuration is at fault. `check` adds what only one service asks of the settings.
pub fn start_up(line: &CommandLine, check: impl FnOnce(&Settings) -> Vec<String>) -> Startup {
    let Gathered {
        settings,
        warnings,
        mut problems,
    } = Gathered::from_environment(line.settings.as_deref());
    crate::init_logging(&settings);
    problems.extend(check(&settings));
    let plan = match Plan::new(settings) {
        Ok(plan) => Some(plan),
        Err(error) => {
            problems.extend(error.problems);
            None
        }
    };
    for warning in warnings.iter().chain(plan.iter().flat_map(Plan::warnings)) {
        tracing::warn!("{warning}");
    }
    match plan {
        Some(plan) if problems.is_empty() && line.check_config => {
            say(&format!(
                "the configuration is good; hosts: {}",
                plan.catalog().hosts().len()
            ));
            Startup::Leave(ExitCode::SUCCESS)
        }
        Some(plan) if problems.is_empty() => Startup::Go(Box::new(plan)),
        _ => {
            let error = crate::journal::error_prefix();
            for problem in &problems {
                say(&format!("{error}{problem}"));
            }
            let plural = if problems.len() == 1 { "" } else { "s" };
            say(&format!(
                "{error}not started: {} problem{plural} in the configuration",
                problems.len()
            ));
            Startup::Leave(ExitCode::from(2))
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "said to the person who started the program, whatever the log filter"
)]
fn say(text: &str) {
    eprintln!("{text}");
}

//! That something is under way, on standard error, where somebody looks.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::clean;
use crate::client::model::Operation;

/// A line that moves while something goes on; nothing where no terminal is.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn new(what: &str) -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(clean(what));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar }
    }

    /// Says how far an operation is.
    pub(crate) fn show(&self, operation: &Operation) {
        self.bar.set_message(clean(&of(operation)));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `lab-ws-01: prepare, attempt 2, running`
fn of(operation: &Operation) -> String {
    let whom = operation
        .host
        .as_deref()
        .or(operation.kind.as_deref())
        .unwrap_or("operation");
    let state = operation.state.as_deref().unwrap_or("under way");
    match operation.steps.last() {
        None => format!("{whom}: {state}"),
        Some(step) => {
            let attempt = step.attempt.filter(|attempt| *attempt > 1);
            let attempt = attempt
                .map(|attempt| format!(", attempt {attempt}"))
                .unwrap_or_default();
            let name = step.step.as_deref().unwrap_or("step");
            format!(
                "{whom}: {name}{attempt}, {}",
                step.state.as_deref().unwrap_or(state)
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_host_step_and_attempt() {
        let operation = serde_json::json!({"host": "h", "state": "running", "steps": [
            {"step": "wake", "attempt": 1, "state": "done"}, {"step": "prepare", "attempt": 2, "state": "running"}]});
        let operation: Operation = serde_json::from_value(operation).unwrap();
        assert_eq!(of(&operation), "h: prepare, attempt 2, running");
        assert_eq!(of(&Operation::default()), "operation: under way");
    }
}

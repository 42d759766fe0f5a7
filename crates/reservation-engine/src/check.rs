//! Whether a step took effect, judged by what the host shows. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use crate::operation::Step;
use crate::ports::Observation;

/// What a look at the host showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// The step took effect.
    Done,
    /// The step took no effect.
    NotDone,
    /// The host does not say.
    Unclear,
}

/// The station's stamps are whole seconds, and its clock is translated to ours with an error.
const SLACK: TimeDelta = TimeDelta::seconds(2);

/// Decides whether `step`, whose intent was committed at `since`, took effect.
#[must_use]
pub fn decide(step: Step, since: DateTime<Utc>, seen: &Observation) -> Found {
    match step {
        // Nothing is lost by doing these once more.
        Step::Wake | Step::Activate | Step::Complete => Found::NotDone,
        Step::Prepare if is_prepared_since(since, seen) => Found::Done,
        // A host that left in the middle of a release may be rebooting because of it: a boot is as good as a stamp.
        Step::Release if is_since(seen.released_at, since) || seen.booted_at.is_some_and(|at| at > since) => {
            Found::Done
        }
        // A heartbeat from before the try cannot know of it.
        Step::Prepare | Step::Release if seen.reachable && seen.reported_at.is_some_and(|at| at > since) => {
            Found::NotDone
        }
        Step::Prepare | Step::Release => Found::Unclear,
        // Not to answer is not to be off: the host may hang, or be cut off.
        Step::Power if seen.off || is_since(seen.power_action_at, since) => Found::Done,
        // It went down and somebody else has started it since.
        Step::Power if seen.booted_at.is_some_and(|at| at > since) => Found::Done,
        Step::Power if seen.reachable && seen.reported_at.is_some_and(|at| at > since) => Found::NotDone,
        Step::Power => Found::Unclear,
    }
}

/// Whether the host has been prepared since an instant, and neither released nor rebooted after that.
pub(crate) fn is_prepared_since(since: DateTime<Utc>, seen: &Observation) -> bool {
    let Some(prepared_at) = seen.prepared_at.filter(|at| *at + SLACK >= since) else {
        return false;
    };
    let undone = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > prepared_at);
    !undone(seen.released_at) && !undone(seen.booted_at)
}

pub(crate) fn is_since(at: Option<DateTime<Utc>>, since: DateTime<Utc>) -> bool {
    at.is_some_and(|at| at + SLACK >= since)
}

#[cfg(test)]
mod tests;

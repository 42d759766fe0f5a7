//! Calls to the station, each with a limit of our own behind the station's.

use std::time::Duration;

use lab_model::HostName;
use serde_json::Value;
use tokio::time::timeout;

use crate::engine::Inner;
use crate::operation::Step;
use crate::ports::{Observation, Station, StepAction, StepOrder, StepOutcome, StepReport, Store};
use crate::reason::Reason;
use crate::settings::Settings;

/// How much later than promised a station may answer before it counts as broken.
const OVERTIME: Duration = Duration::from_secs(5);

/// Carries out one step; a station that breaks its promise to answer in time leaves the effect unknown.
pub(crate) async fn perform<S: Store, T: Station>(
    inner: &Inner<S, T>,
    host: &HostName,
    action: StepAction,
) -> StepReport {
    let deadline = deadline(&inner.settings, action.step());
    let order = StepOrder {
        host: host.clone(),
        action,
        deadline,
    };
    let limit = deadline.saturating_add(OVERTIME);
    match timeout(limit, inner.station.perform(order)).await {
        Ok(report) => report,
        Err(_) => overdue(limit),
    }
}

/// Looks at a host; one that does not answer in time is not reachable.
pub(crate) async fn observe<S: Store, T: Station>(inner: &Inner<S, T>, host: &HostName) -> Observation {
    let deadline = inner.settings.deadlines.check;
    let seen = timeout(
        deadline.saturating_add(OVERTIME),
        inner.station.observe(host, deadline),
    )
    .await;
    seen.unwrap_or_default()
}

fn deadline(settings: &Settings, step: Step) -> Duration {
    let deadlines = &settings.deadlines;
    match step {
        Step::Wake => deadlines.wake,
        Step::Prepare => settings.guard_grace.saturating_add(deadlines.prepare),
        Step::Release => deadlines.release,
        Step::Power => deadlines.power,
        // Steps on the store alone; the claim bounds them.
        Step::Activate | Step::Complete => deadlines.check,
    }
}

fn overdue(limit: Duration) -> StepReport {
    let detail = format!("no answer within {} s", limit.as_secs());
    StepReport {
        outcome: StepOutcome::Unknown(Reason::new("overdue", detail.clone())),
        message: detail,
        response_code: None,
        details: Value::Null,
        duration: limit,
        observed: None,
    }
}

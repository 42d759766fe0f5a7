//! Rows of the history that other services and the web page read, worded as they expect them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};
use serde_json::{Map, Value, json};

use crate::operation::{Operation, OperationKind};
use crate::ports::{HistoryRow, StepOutcome, StepReport};
use crate::reason::Reason;

/// For whom and where something was done.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) reservation: ReservationId,
    pub(crate) lab: Option<LabId>,
    pub(crate) host: HostName,
}

impl From<&Operation> for Subject {
    fn from(operation: &Operation) -> Self {
        Self {
            reservation: operation.reservation.clone(),
            lab: operation.lab.clone(),
            host: operation.host.clone(),
        }
    }
}

impl StepReport {
    /// Whether the step took effect, with or without warnings.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self.outcome, StepOutcome::Done | StepOutcome::DoneWithWarnings)
    }
}

/// The word for a success or a failure in rows and answers.
#[must_use]
pub fn status_word(success: bool) -> &'static str {
    if success { "completed" } else { "failed" }
}

/// The entry of a step in the `steps` of an answer.
///
/// Source: the contract's section 1.4; a wake shows its duration beside the details, a command within them.
#[must_use]
pub fn step_entry(action: &str, report: &StepReport) -> Value {
    let success = report.is_success();
    let mut entry = json!({
        "action": action,
        "success": success,
        "status": status_word(success),
        "message": report.message,
        "details": report.details,
    });
    if let (true, Some(entry)) = (action == "wake" && has_details(report), entry.as_object_mut()) {
        entry.insert("durationMs".to_owned(), json!(millis(report.duration)));
    }
    entry
}

/// The row of one step.
pub(crate) fn step_row(
    subject: &Subject,
    action: &str,
    report: &StepReport,
    at: DateTime<Utc>,
) -> HistoryRow {
    let success = report.is_success();
    let told = has_details(report);
    HistoryRow {
        response_code: report.response_code,
        duration_ms: told.then(|| millis(report.duration)),
        payload: told.then(|| report.details.clone()),
        message: Some(report.message.clone()),
        ..row(subject, action, success, at)
    }
}

/// The row of a step that was found to have taken effect although its answer was lost.
pub(crate) fn found_row(subject: &Subject, action: &str, at: DateTime<Utc>) -> HistoryRow {
    let message = Some("Answer lost; the host shows that it was done".to_owned());
    HistoryRow {
        message,
        ..row(subject, action, true, at)
    }
}

/// The row of a caller's step whose process vanished, and which was not found to have ended well.
pub(crate) fn interrupted_row(
    subject: &Subject,
    action: &str,
    reason: &Reason,
    at: DateTime<Utc>,
) -> HistoryRow {
    HistoryRow {
        message: Some(reason.detail.clone()),
        ..row(subject, action, false, at)
    }
}

/// The row of a whole try of the scheduler; `failure` says why it failed.
///
/// Source: the contract's section 1.8. The reason object is ours.
pub(crate) fn try_row(
    subject: &Subject,
    kind: OperationKind,
    steps: &[Value],
    failure: Option<&Reason>,
    at: DateTime<Utc>,
) -> HistoryRow {
    let (action, failed_message) = words(kind);
    let success = failure.is_none();
    let code = if success { 200 } else { 502 };
    let mut response = Map::new();
    response.insert("success".to_owned(), json!(success));
    response.insert("reservationId".to_owned(), json!(subject.reservation));
    response.insert("host".to_owned(), json!(subject.host));
    response.insert("labId".to_owned(), json!(subject.lab));
    response.insert("steps".to_owned(), json!(steps));
    if let Some(reason) = failure {
        response.insert("reason".to_owned(), json!(reason));
    }
    HistoryRow {
        response_code: Some(code),
        payload: Some(json!({ "response": response, "status_code": code })),
        message: (!success).then(|| failed_message.to_owned()),
        ..row(subject, action, success, at)
    }
}

/// The row of a reservation whose lab no host serves.
pub(crate) fn unmapped_row(
    reservation: &ReservationId,
    lab: &LabId,
    kind: OperationKind,
    at: DateTime<Utc>,
) -> HistoryRow {
    HistoryRow {
        reservation: reservation.clone(),
        lab: Some(lab.clone()),
        host: UNMAPPED.to_owned(),
        action: words(kind).0.to_owned(),
        status: status_word(false),
        success: false,
        response_code: None,
        duration_ms: None,
        payload: None,
        message: Some(format!("No host mapping for lab {lab}")),
        at,
    }
}

/// The row of an operation that goes on on another host.
pub(crate) fn handed_over_row(
    subject: &Subject,
    to: &HostName,
    reason: &Reason,
    at: DateTime<Utc>,
) -> HistoryRow {
    HistoryRow {
        payload: Some(json!({ "from": subject.host, "to": to, "reason": reason })),
        message: Some(format!("Handed over to {to}: {reason}")),
        ..row(subject, "handover", true, at)
    }
}

/// What stands in the history for the host of a lab that has none.
pub(crate) const UNMAPPED: &str = "unmapped";

fn words(kind: OperationKind) -> (&'static str, &'static str) {
    match kind {
        OperationKind::Start | OperationKind::ManualStart => ("scheduler:start", "Reservation start failed"),
        OperationKind::End | OperationKind::ManualEnd => ("scheduler:end", "Reservation end failed"),
    }
}

fn row(subject: &Subject, action: &str, success: bool, at: DateTime<Utc>) -> HistoryRow {
    HistoryRow {
        reservation: subject.reservation.clone(),
        lab: subject.lab.clone(),
        host: subject.host.as_str().to_owned(),
        action: action.to_owned(),
        status: status_word(success),
        success,
        response_code: None,
        duration_ms: None,
        payload: None,
        message: None,
        at,
    }
}

/// A step that was refused before anything was sent has no details, and then its row has no payload.
fn has_details(report: &StepReport) -> bool {
    match &report.details {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        _ => true,
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

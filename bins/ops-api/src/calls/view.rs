//! Calls and operations as callers see them: one document for both.

use call_journal::{CallId, CallKind, CallRecord, CallState};
use chrono::{DateTime, SecondsFormat, Utc};
use lab_model::{HostName, ReservationId};
use ops_runtime::Site;
use reservation_engine::{OperationId, OperationKind};
use reservation_store::{AttemptRow, JournalEntry, JournalKey};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::error::ApiError;

/// Where a call or an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OperationState {
    /// It was taken; nothing was begun.
    Queued,
    /// It is under way.
    Running,
    /// It is over and did what it was for.
    Succeeded,
    /// It is over and did not.
    Failed,
    /// Whoever ran it is gone; it is not begun again by itself.
    Interrupted,
}

/// One try of one step.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StepDocument {
    /// `wake`, `prepare`, `activate`, `release`, `power` or `complete`.
    #[schema(example = "prepare")]
    step: String,
    /// Which try, from 1.
    #[schema(example = 1)]
    attempt: u32,
    /// `running`, `done`, `done_with_warnings`, `failed`, `unknown`, or `interrupted` when nobody lived to say.
    #[schema(example = "done")]
    state: String,
    /// When it was about to begin.
    #[schema(format = "date-time", example = "2026-03-01T08:58:00.000Z")]
    started_at: String,
    /// When it was over.
    #[schema(format = "date-time", example = "2026-03-01T08:58:09.500Z")]
    ended_at: Option<String>,
    /// How long it took.
    #[schema(example = 9500, minimum = 0)]
    duration_ms: Option<u64>,
    /// Why it failed: `{code, rung?, detail}`.
    #[schema(value_type = Option<Object>)]
    reason: Option<Value>,
}

/// What a caller that waits would have got, or got.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct AnswerDocument {
    /// HTTP status.
    #[schema(example = 200, minimum = 100, maximum = 599)]
    status: u16,
    /// The body; long texts in it may have been cut, and say so.
    #[schema(value_type = Object)]
    body: Value,
}

/// A call, or an operation of the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationDocument {
    /// A call's UUID, or an operation's number.
    #[schema(example = "0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e")]
    id: String,
    /// `start`, `end`, `wol` or `winrm` of a caller; `start`, `end`, `manual_start` or `manual_end` under a number.
    #[schema(example = "start")]
    kind: String,
    /// Where it stands.
    state: OperationState,
    /// On which host.
    #[schema(example = "lab-ws-01")]
    host: Option<String>,
    /// For which reservation.
    #[schema(example = "0x5f3a")]
    reservation_id: Option<String>,
    /// For which lab.
    #[schema(example = "7")]
    lab_id: Option<String>,
    /// The name of the caller's token; null for the scheduler's own.
    #[schema(example = "gateway")]
    caller: Option<String>,
    /// When it was asked for.
    #[schema(format = "date-time", example = "2026-03-01T08:57:59.900Z")]
    created_at: String,
    /// When it began.
    #[schema(format = "date-time", example = "2026-03-01T08:58:00.000Z")]
    started_at: Option<String>,
    /// When it was over.
    #[schema(format = "date-time", example = "2026-03-01T08:58:09.600Z")]
    ended_at: Option<String>,
    /// The tries of its steps, oldest first.
    steps: Vec<StepDocument>,
    /// What was answered.
    answer: Option<AnswerDocument>,
    /// What happens next with its reservation or host, and why; null in the event stream while it is under way, and
    /// where neither is known.
    #[schema(value_type = Option<Object>)]
    pub(super) explain: Option<Value>,
    /// The latest instant in it, for the ids of events.
    #[serde(skip)]
    pub(super) changed_at: DateTime<Utc>,
}

impl OperationDocument {
    /// Whether nothing more will come of it.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, OperationState::Queued | OperationState::Running)
    }
}

/// By what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OperationRef {
    /// A call.
    Call(CallId),
    /// A row of the journal of operations.
    Journal(i64),
}

impl OperationRef {
    /// Reads a UUID or a whole number above 0.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let number = || {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number > 0)
        };
        CallId::parse(text)
            .map(Self::Call)
            .or_else(|| number().map(Self::Journal))
            .ok_or_else(|| ApiError::field("id", "must be a UUID or a whole number above 0"))
    }
}

/// The operation's key in the engine's journal.
pub(crate) fn journal_key(call: CallId) -> String {
    format!("api:{call}")
}

/// The whole document; `None` when there is no such.
pub(crate) async fn document(site: &Site, id: OperationRef) -> Result<Option<OperationDocument>, ApiError> {
    let found = match id {
        OperationRef::Call(id) => call_document(site, id).await?,
        OperationRef::Journal(id) => journal_document(site, id).await?,
    };
    let Some(mut document) = found else {
        return Ok(None);
    };
    document.explain = explain(site, &document).await?;
    Ok(Some(document))
}

async fn call_document(site: &Site, id: CallId) -> Result<Option<OperationDocument>, ApiError> {
    let Some(call) = site.calls.find(id, site.clock.now()).await? else {
        return Ok(None);
    };
    let entry = if has_steps(call.kind) {
        site.reservations
            .journal_entry(JournalKey::Key(&journal_key(id)))
            .await?
    } else {
        None
    };
    Ok(Some(of_call(&call, entry.as_ref())))
}

async fn journal_document(site: &Site, id: i64) -> Result<Option<OperationDocument>, ApiError> {
    let entry = site
        .reservations
        .journal_entry(JournalKey::Id(OperationId(id)))
        .await?;
    Ok(entry.as_ref().map(of_entry))
}

/// The steps of a call, as far as anything is known of them.
pub(super) async fn steps_of_call(site: &Site, id: CallId) -> Result<Vec<StepDocument>, ApiError> {
    let entry = site
        .reservations
        .journal_entry(JournalKey::Key(&journal_key(id)))
        .await?;
    Ok(entry.map(|entry| steps(&entry, true)).unwrap_or_default())
}

/// Whether the engine keeps a journal of what it does.
pub(super) fn has_steps(kind: CallKind) -> bool {
    matches!(kind, CallKind::Start | CallKind::End)
}

pub(super) fn of_call(call: &CallRecord, entry: Option<&JournalEntry>) -> OperationDocument {
    let steps = entry.map(|entry| steps(entry, !call.state.is_open()));
    let mut document = OperationDocument {
        id: call.id.to_string(),
        kind: call.kind.as_str().to_owned(),
        state: call.state.into(),
        host: call.host.clone(),
        reservation_id: call.reservation.clone(),
        lab_id: call.lab.clone(),
        caller: Some(call.caller.clone()),
        created_at: stamp(call.created_at),
        started_at: call.started_at.map(stamp),
        ended_at: call.ended_at.map(stamp),
        steps: steps.unwrap_or_default(),
        answer: call.answer.as_ref().map(|answer| AnswerDocument {
            status: answer.status,
            body: answer.body.clone(),
        }),
        explain: None,
        changed_at: call.ended_at.or(call.started_at).unwrap_or(call.created_at),
    };
    document.changed_at = document
        .changed_at
        .max(entry.map_or(DateTime::UNIX_EPOCH, last_change));
    document
}

pub(super) fn of_entry(entry: &JournalEntry) -> OperationDocument {
    let manual = [OperationKind::ManualStart, OperationKind::ManualEnd];
    let by_caller = OperationKind::parse(&entry.kind).is_some_and(|kind| manual.contains(&kind));
    let last = entry.attempts.last();
    let cut_off =
        last.is_some_and(|attempt| reason(attempt).is_some_and(|reason| reason["code"] == "interrupted"));
    let state = match entry.state.as_str() {
        "pending" => OperationState::Queued,
        "done" => OperationState::Succeeded,
        "needs_attention" if by_caller && (cut_off || last.is_some_and(|last| last.outcome.is_none())) => {
            OperationState::Interrupted
        }
        "needs_attention" => OperationState::Failed,
        _ => OperationState::Running,
    };
    let over = !matches!(state, OperationState::Queued | OperationState::Running);
    OperationDocument {
        id: entry.id.to_string(),
        kind: entry.kind.clone(),
        state,
        host: Some(entry.host.clone()),
        reservation_id: Some(entry.reservation_id.clone()),
        lab_id: entry.lab_id.clone(),
        caller: None,
        created_at: stamp(entry.created_at),
        started_at: entry.attempts.first().map(|attempt| stamp(attempt.intent_at)),
        ended_at: over.then(|| stamp(entry.updated_at)),
        steps: steps(entry, over),
        answer: None,
        explain: None,
        changed_at: last_change(entry),
    }
}

fn last_change(entry: &JournalEntry) -> DateTime<Utc> {
    let tries = entry
        .attempts
        .iter()
        .map(|attempt| attempt.outcome_at.unwrap_or(attempt.intent_at));
    tries.fold(entry.updated_at, DateTime::max)
}

fn steps(entry: &JournalEntry, over: bool) -> Vec<StepDocument> {
    entry.attempts.iter().map(|attempt| step(attempt, over)).collect()
}

fn step(attempt: &AttemptRow, over: bool) -> StepDocument {
    let state = match (&attempt.outcome, over) {
        (Some(outcome), _) => outcome.as_str(),
        (None, false) => "running",
        (None, true) => "interrupted",
    };
    let took = attempt.outcome_at.map(|ended_at| ended_at - attempt.intent_at);
    StepDocument {
        step: attempt.step.clone(),
        attempt: attempt.attempt,
        state: state.to_owned(),
        started_at: stamp(attempt.intent_at),
        ended_at: attempt.outcome_at.map(stamp),
        duration_ms: took.map(|took| u64::try_from(took.num_milliseconds()).unwrap_or(0)),
        reason: reason(attempt),
    }
}

fn reason(attempt: &AttemptRow) -> Option<Value> {
    serde_json::from_str(attempt.reason_json.as_deref()?).ok()
}

/// What the engine says of the reservation, or of the host where the reservation is unknown.
async fn explain(site: &Site, document: &OperationDocument) -> Result<Option<Value>, ApiError> {
    let catalog = site.catalog.current();
    let reservation = document.reservation_id.as_deref();
    if let Some(id) = reservation.and_then(|id| ReservationId::parse(id).ok())
        && let Some(explained) = site.engine.explain_reservation(&id, &*catalog).await?
    {
        return Ok(Some(json!(explained)));
    }
    let host = document.host.as_deref();
    let Some(host) = host.and_then(|host| HostName::parse(host).ok()) else {
        return Ok(None);
    };
    let explained = site.engine.explain_host(&host, &*catalog).await?;
    Ok(explained.map(|explained| json!(explained)))
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

impl From<CallState> for OperationState {
    fn from(state: CallState) -> Self {
        match state {
            CallState::Queued => Self::Queued,
            CallState::Running => Self::Running,
            CallState::Succeeded => Self::Succeeded,
            CallState::Failed => Self::Failed,
            CallState::Interrupted => Self::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_named_by_a_uuid_or_a_number() {
        let call = CallId::random();
        assert_eq!(
            OperationRef::parse(&call.to_string()).unwrap(),
            OperationRef::Call(call)
        );
        assert_eq!(OperationRef::parse("17").unwrap(), OperationRef::Journal(17));
        for wrong in [
            "",
            "0",
            "-1",
            "+1",
            "1.5",
            "99999999999999999999",
            "recent",
            "0x1",
        ] {
            assert!(OperationRef::parse(wrong).is_err(), "{wrong}");
        }
    }
}

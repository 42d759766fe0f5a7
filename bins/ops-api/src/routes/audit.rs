//! `GET /api/audit`: who changed what, when, from where, and with which outcome.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use call_journal::{AuditFilter, AuditId, AuditRecord};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::calls::view::stamp;
use crate::error::ApiError;

/// Which entries of the audit trail.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, whose values are read one by one so that refusals name them"
)]
pub(crate) struct AuditQuery {
    /// Entries after the one of this id, which is the `next` of the page before.
    #[param(example = 4711, minimum = 1)]
    after: Option<i64>,
    /// Entries of a page.
    #[param(example = 100, minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
    /// Of this caller only, by the name of its token.
    #[param(
        example = "gateway",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    caller: Option<String>,
    /// About this host or reservation only.
    #[param(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    subject: Option<String>,
}

/// One change that somebody asked for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditDocument {
    /// Row id; newer entries have greater ones.
    #[schema(example = 4711)]
    id: i64,
    /// When it was asked for.
    #[schema(format = "date-time", example = "2026-03-01T08:57:59.900Z")]
    at: String,
    /// The id of the request, as in its answer and in the log.
    #[schema(example = "5f0c3c1e9a7b4d52a1f3b3a6d0c9e871")]
    request_id: String,
    /// The name of the caller's token.
    #[schema(example = "gateway")]
    caller: String,
    /// The role of that token.
    #[schema(example = "operator")]
    role: String,
    /// Where it came from.
    #[schema(example = "192.0.2.7")]
    from: String,
    /// Method and route.
    #[schema(example = "POST /api/wol")]
    action: String,
    /// The host or reservation it is about.
    #[schema(example = "lab-ws-01")]
    subject: Option<String>,
    /// What else tells it from others; never a secret.
    #[schema(value_type = Option<Object>)]
    detail: Option<Value>,
    /// The answer's HTTP status; null while it is under way, or when the process did not live to say.
    #[schema(example = 200)]
    status: Option<u16>,
    /// The answer's stable word, for a refusal or a failure.
    #[schema(example = "host_busy")]
    code: Option<String>,
    /// When it was answered.
    #[schema(format = "date-time", example = "2026-03-01T08:58:09.600Z")]
    ended_at: Option<String>,
}

/// Some of the audit trail.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditList {
    /// The entries, newest first.
    entries: Vec<AuditDocument>,
    /// What `after` has to be for the next page; null on the last.
    #[schema(example = 4612)]
    next: Option<i64>,
}

/// Lists the audit trail
///
/// Every change that was asked for, newest first.
#[utoipa::path(
    get, path = "/api/audit", operation_id = "list_audit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "Some of the trail", body = AuditList))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<AuditList>, ApiError> {
    let limit = limit(&query)?;
    let after = after(&query)?;
    let filter = AuditFilter {
        caller: name(&query, "caller")?,
        subject: name(&query, "subject")?,
    };
    let page = app
        .site()?
        .calls
        .audit_page(&filter, after.map(AuditId), limit)
        .await?;
    Ok(Json(AuditList {
        entries: page.rows.into_iter().map(AuditDocument::from).collect(),
        next: page.next.map(|id| id.0),
    }))
}

/// Of a list that is read by key: 1 to 500, otherwise 100.
pub(super) fn limit(query: &HashMap<String, String>) -> Result<u32, ApiError> {
    let Some(sent) = query.get("limit") else {
        return Ok(100);
    };
    let limit = sent.trim().parse().ok().filter(|limit| (1..=500).contains(limit));
    limit.ok_or_else(|| ApiError::field("limit", "must be a whole number from 1 to 500"))
}

/// Of a list that is read by key.
pub(super) fn after(query: &HashMap<String, String>) -> Result<Option<i64>, ApiError> {
    let Some(sent) = query.get("after") else {
        return Ok(None);
    };
    let after = sent.trim().parse().ok().filter(|after| *after > 0);
    after
        .map(Some)
        .ok_or_else(|| ApiError::field("after", "must be a whole number above 0"))
}

/// Text of at most 128 characters, which is all that the columns hold; absent and blank are `None`.
pub(super) fn name(query: &HashMap<String, String>, key: &str) -> Result<Option<String>, ApiError> {
    let sent = query.get(key);
    let text = sent.map(|text| text.trim()).filter(|text| !text.is_empty());
    let is_long = text.is_some_and(|text| text.chars().count() > 128);
    if is_long || sent.is_some_and(|text| text.chars().any(char::is_control)) {
        return Err(ApiError::field(
            key,
            "must be at most 128 characters without control characters",
        ));
    }
    Ok(text.map(str::to_owned))
}

impl From<AuditRecord> for AuditDocument {
    fn from(row: AuditRecord) -> Self {
        Self {
            id: row.id.0,
            at: stamp(row.entry.at),
            request_id: row.entry.request_id,
            caller: row.entry.caller,
            role: row.entry.role,
            from: row.entry.from,
            action: row.entry.action,
            subject: row.entry.subject,
            detail: row.entry.detail,
            status: row.status,
            code: row.code,
            ended_at: row.ended_at.map(stamp),
        }
    }
}

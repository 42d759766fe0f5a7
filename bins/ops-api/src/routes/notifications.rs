//! `GET /api/notifications`: what was told to whom, and how far that got.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use chrono::SecondsFormat;
use notifications::{OutboxError, Stored, StoredState, Webhook};
use ops_runtime::Chain;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;
use crate::error::ApiError;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;

/// One delivery of one notice to one receiver.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    /// Grows with each delivery; for `after`.
    #[schema(example = 4711)]
    id: i64,
    /// The notice's own id, the same for each receiver and in the header `X-LabOps-Notice`.
    #[schema(example = "5b0f3c1e-9f5e-4a3a-8a3f-2f6c1e7d9b10")]
    notice_id: String,
    /// `reservation_needs_attention`, `reservation_missed`, `step_failed`, `repeated_failures`, `host_silent`, `host_back`
    /// or `claim_taken_over`.
    #[schema(example = "step_failed")]
    kind: String,
    /// The host, in lower case.
    #[schema(example = "lab-ws-01")]
    host: Option<String>,
    /// The reservation.
    #[schema(example = "0xa1")]
    reservation_id: Option<String>,
    /// The document as it is sent.
    #[schema(value_type = Object)]
    notice: Value,
    /// The receiver without its path; null when there was none, or it is no longer configured.
    #[schema(example = "https://hooks.example.org/...")]
    receiver: Option<String>,
    /// `pending`, `delivered`, `dead` (given up), or `kept` (there was nobody to be told).
    #[schema(example = "pending")]
    state: &'static str,
    /// How often it was tried.
    #[schema(example = 2)]
    tries: u32,
    /// When it was written.
    #[schema(example = "2026-03-01T09:00:00.250Z", format = DateTime)]
    created_at: String,
    /// In how many milliseconds it is tried next, while it is pending.
    #[schema(example = 9500)]
    next_try_ms: Option<u64>,
    /// The receiver's last HTTP status.
    #[schema(example = 503)]
    last_status: Option<u16>,
    /// What stopped the last try.
    #[schema(example = "the receiver answered 503")]
    last_error: Option<String>,
}

/// A page of deliveries, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Notifications {
    /// The deliveries.
    notifications: Vec<Delivery>,
    /// For `after`, when there may be more.
    #[schema(example = 4612)]
    next: Option<i64>,
    /// Deliveries still to be made, in all.
    #[schema(example = 1)]
    pending: u64,
    /// Deliveries that were given up and are still kept, in all.
    #[schema(example = 0)]
    dead: u64,
    /// How long the oldest pending one has waited.
    #[schema(example = 9500)]
    oldest_pending_ms: u64,
}

/// What was told to operators, and how far that got.
#[utoipa::path(
    get,
    path = "/api/notifications", operation_id = "list_notifications",
    tag = "service",
    params(
        ("limit" = Option<u32>, Query, description = "Page size, 1 to 500; 100 without it", example = 100,
            minimum = 1, maximum = 500),
        ("after" = Option<i64>, Query, description = "Go on after this id (older ones)", example = 4711),
        ("state" = Option<String>, Query, description = "Only `pending`, `delivered`, `dead` or `kept` ones", example = "dead",
            pattern = "^(pending|delivered|dead|kept)?$"),
    ),
    responses((status = 200, description = "Deliveries, newest first", body = Notifications))
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<Notifications>, ApiError> {
    let limit = number(&query, "limit")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::field("limit", "must be from 1 to 500"));
    }
    let after = number::<i64>(&query, "after")?;
    let state = match query
        .get("state")
        .map(String::as_str)
        .filter(|word| !word.is_empty())
    {
        None => None,
        Some(word) => Some(find_state(word)?),
    };
    let site = app.site()?;
    let outbox = &site.notices.outbox;
    let stored = outbox.page(after, state, limit).await?;
    let depth = outbox.depth().await?;
    let next = stored
        .last()
        .filter(|_| stored.len() == limit as usize)
        .map(|last| last.id);
    let webhooks = &site.settings.notifications.webhooks;
    Ok(Json(Notifications {
        notifications: stored.into_iter().map(|stored| shown(stored, webhooks)).collect(),
        next,
        pending: depth.pending,
        dead: depth.dead,
        oldest_pending_ms: u64::try_from(depth.oldest.as_millis()).unwrap_or(u64::MAX),
    }))
}

fn shown(stored: Stored, webhooks: &[Webhook]) -> Delivery {
    let receiver = webhooks.iter().find(|hook| hook.is_target(&stored.target));
    Delivery {
        id: stored.id,
        notice_id: stored.notice_id,
        kind: stored.kind,
        host: stored.host,
        reservation_id: stored.reservation,
        notice: stored.body,
        receiver: receiver.map(|hook| hook.shown().to_owned()),
        state: stored.state.as_str(),
        tries: stored.tries,
        created_at: stored.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        next_try_ms: stored
            .next_try_in
            .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        last_status: stored.last_status,
        last_error: stored.last_error,
    }
}

fn number<T: std::str::FromStr>(query: &HashMap<String, String>, field: &str) -> Result<Option<T>, ApiError> {
    let Some(text) = query
        .get(field)
        .map(|text| text.trim())
        .filter(|text| !text.is_empty())
    else {
        return Ok(None);
    };
    let number = text
        .parse()
        .map_err(|_| ApiError::field(field, "must be a whole number"))?;
    Ok(Some(number))
}

fn find_state(word: &str) -> Result<StoredState, ApiError> {
    let found = StoredState::ALL.into_iter().find(|state| state.as_str() == word);
    found.ok_or_else(|| ApiError::field("state", "must be pending, delivered, dead or kept"))
}

impl From<OutboxError> for ApiError {
    fn from(error: OutboxError) -> Self {
        match &error {
            OutboxError::Unavailable(_) => Self::database_unavailable(),
            OutboxError::Refused { .. } => {
                tracing::error!(error = %Chain(&error), "the database refused a statement");
                Self::internal()
            }
        }
    }
}

//! `GET /api/events`: what the stations' guards did, oldest first, for those who follow it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use heartbeat_store::StoredEvent;
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::audit::{limit, name};
use crate::app::{App, not_in_config};
use crate::calls::view::stamp;
use crate::error::{ApiError, ErrorBody};

/// Which events.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, whose values are read one by one so that refusals name them"
)]
pub(crate) struct EventsQuery {
    /// Events after the one of this id, which is the `next` of the page before; from the first that is kept when absent.
    /// `newest` gives none, but the `next` to go on from with those that come from now on.
    #[param(example = "4711", pattern = "^(newest|[0-9]{1,18})$")]
    after: Option<String>,
    /// Of this host only.
    #[param(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: Option<String>,
    /// Events of a page.
    #[param(example = 100, minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventDocument {
    /// Row id; newer events have greater ones.
    #[schema(example = 4712)]
    id: i64,
    /// The host.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// `session-guard`.
    #[schema(example = "session-guard")]
    kind: String,
    /// When it happened, by the station's clock.
    #[schema(format = "date-time", example = "2026-03-01T08:57:59.000Z")]
    at: String,
    /// When it was stored, by ours.
    #[schema(format = "date-time", example = "2026-03-01T08:58:20.000Z")]
    stored_at: String,
    /// What the station wrote.
    #[schema(value_type = Object)]
    payload: Payload,
}

/// What a station wrote; an object unless an older writer stored something else, which is then its member `value`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Payload {
    Object(Value),
    Other { value: Value },
}

/// Some events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events, oldest first.
    events: Vec<EventDocument>,
    /// What `after` has to be the next time.
    #[schema(example = 4712)]
    next: i64,
    /// Whether there are more at once.
    more: bool,
}

/// Lists events since an id
///
/// Oldest first. Who goes on from `next` gets each event once and misses none; while another process may still be storing an
/// event with a smaller id, those behind it are held back, for 30 s at most.
#[utoipa::path(
    get, path = "/api/events", operation_id = "list_events", tag = "hosts", params(EventsQuery),
    responses(
        (status = 200, description = "Some events", body = EventList),
        (status = 404, description = "There is no such host: `unknown_host`", body = ErrorBody),
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<EventList>, ApiError> {
    let (limit, after) = (limit(&query)?, after(&query)?);
    let catalog = app.handle.catalog().current();
    let host = match name(&query, "host")? {
        None => None,
        Some(name) => {
            let found = catalog.find(&name).map(|entry| entry.name.clone());
            let missing = || ApiError::new(StatusCode::NOT_FOUND, "unknown_host", not_in_config(&name));
            Some(found.ok_or_else(missing)?)
        }
    };
    let site = app.site()?;
    let Some(after) = after else {
        let next = site.heartbeats.newest_event(host.as_ref()).await?;
        return Ok(Json(EventList {
            events: Vec::new(),
            next,
            more: false,
        }));
    };
    let page = site
        .heartbeats
        .events_since(after, host.as_ref(), limit, site.clock.now())
        .await?;
    Ok(Json(EventList {
        events: page.events.into_iter().map(EventDocument::from).collect(),
        next: page.next,
        more: page.more,
    }))
}

/// An id; `None` for that of the newest.
fn after(query: &HashMap<String, String>) -> Result<Option<i64>, ApiError> {
    let Some(sent) = query.get("after").map(|sent| sent.trim()) else {
        return Ok(Some(0));
    };
    if sent == "newest" {
        return Ok(None);
    }
    let after = sent.parse().ok().filter(|after| *after >= 0);
    let problem = || ApiError::field("after", "must be a whole number from 0, or newest");
    after.map(Some).ok_or_else(problem)
}

impl From<StoredEvent> for EventDocument {
    fn from(event: StoredEvent) -> Self {
        let payload = match event.payload {
            Some(object @ Value::Object(_)) => Payload::Object(object),
            other => Payload::Other {
                value: other.unwrap_or_default(),
            },
        };
        Self {
            id: event.id,
            host: event.host,
            kind: event.kind,
            at: stamp(event.at),
            stored_at: stamp(event.stored_at),
            payload,
        }
    }
}

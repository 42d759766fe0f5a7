//! `GET /api/operations/{id}`: what became of a call or an operation. `GET /api/operations/{id}/events`: the same while
//! it happens. `GET /api/operations/recent`: the newest of the history.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use axum::{Extension, Json};
use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use lab_model::ReservationId;
use reservation_store::{HistoryFilter, OperationRow};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

use super::timeline::{Page, Pagination};
use crate::app::App;
use crate::auth::Caller;
use crate::calls::view::{self, OperationDocument, OperationRef, stamp};
use crate::calls::watch::Frame;
use crate::error::{ApiError, ErrorBody};
use crate::limits::StreamPlace;

/// So that proxies and viewers see that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Shows a call or an operation
///
/// With the tries of its steps, its answer, and what happens next with its reservation or host.
#[utoipa::path(
    get, path = "/api/operations/{id}", operation_id = "show_operation", tag = "operations",
    params(("id" = String, Path, description = "A call's UUID, or the number of an operation",
        example = "0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e",
        pattern = "^([1-9][0-9]{0,17}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$")),
    responses(
        (status = 200, description = "The call or operation as it stands", body = OperationDocument),
        (status = 404, description = "No such call or operation, or it was forgotten", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<OperationDocument>, ApiError> {
    let id = OperationRef::parse(&id)?;
    let site = app.site()?;
    let document = view::document(&site, id).await?;
    document.map(Json).ok_or_else(unknown)
}

fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "unknown_operation", "Operation not found")
}

/// Follows a call or an operation
///
/// Server-sent events: `operation` with the document each time it changed, whose `id` grows, and `end` after the last
/// one. `Last-Event-ID` leaves out the document that was seen already. Comment lines keep the stream alive.
#[utoipa::path(
    get, path = "/api/operations/{id}/events", operation_id = "follow_operation", tag = "operations",
    params(
        ("id" = String, Path, description = "A call's UUID, or the number of an operation",
            example = "0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e",
        pattern = "^([1-9][0-9]{0,17}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"),
        ("Last-Event-ID" = Option<i64>, Header, description = "The id of the last event seen", example = 3),
    ),
    responses(
        (status = 200, description = "Events until it is over; the data of `operation` is this document", body = OperationDocument, content_type = "text/event-stream"),
        (status = 404, description = "No such call or operation", body = ErrorBody),
    )
)]
pub(crate) async fn events(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Sse<KeepAliveStream<Events>>, ApiError> {
    let id = OperationRef::parse(&id)?;
    let site = app.site()?;
    let place = app.streams.enter(&caller)?;
    let frames = app.calls.watches().watch(&site, id).await?.ok_or_else(unknown)?;
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let seen = seen.and_then(|id| id.trim().parse().ok()).unwrap_or(i64::MIN);
    let viewer = Viewer {
        frames,
        seen,
        ended: false,
        stopping: app.calls.stopping().clone(),
        place,
    };
    let over = app.gate.check.clone().until_unknown(caller);
    let stream: Events = Box::pin(unfold(Some(viewer), next).take_until(Box::pin(over)));
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

type Events = Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>;

struct Viewer {
    frames: watch::Receiver<Frame>,
    seen: i64,
    ended: bool,
    stopping: CancellationToken,
    #[expect(dead_code, reason = "held as long as the stream is open")]
    place: StreamPlace,
}

async fn next(viewer: Option<Viewer>) -> Option<(Result<Event, Infallible>, Option<Viewer>)> {
    let mut viewer = viewer?;
    if viewer.ended {
        return Some((Ok(Event::default().event("end").data("{}")), None));
    }
    let seen = viewer.seen;
    let fresh = |frame: &Frame| frame.number > seen || frame.document.is_over();
    // Without an `end`, so that the viewer goes on elsewhere: the operation may last longer than this process.
    let stopping = viewer.stopping.clone();
    let frame = match stopping
        .run_until_cancelled(viewer.frames.wait_for(fresh))
        .await?
    {
        Ok(frame) => frame.clone(),
        // Whoever read is gone, and the last frame was seen.
        Err(_) => return Some((Ok(Event::default().event("end").data("{}")), None)),
    };
    viewer.ended = frame.document.is_over();
    if frame.number <= viewer.seen {
        return Some((Ok(Event::default().event("end").data("{}")), None));
    }
    viewer.seen = frame.number;
    let data = serde_json::to_string(&*frame.document).unwrap_or_default();
    let event = Event::default()
        .event("operation")
        .id(frame.number.to_string())
        .data(data);
    Some((Ok(event), Some(viewer)))
}

/// Which rows of the history.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, which is read by hand as the contract wants it"
)]
pub(crate) struct RecentQuery {
    /// Of this host only.
    #[param(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: Option<String>,
    /// Of this reservation only; also `reservation_id`.
    #[param(
        rename = "reservationId",
        example = "0x5f3a",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reservation_id: Option<String>,
    /// Rows of a page; brought into range.
    #[param(example = 100)]
    limit: Option<i64>,
    /// Rows passed over; below 0 counts as 0.
    #[param(example = 0)]
    offset: Option<i64>,
}

/// A row of the history.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecentOperation {
    /// Row id.
    #[schema(example = 4711)]
    id: i64,
    /// For which reservation.
    #[schema(example = "0x5f3a")]
    reservation_id: String,
    /// For which lab.
    #[schema(example = "7")]
    lab_id: Option<String>,
    /// On which host, or `unmapped`.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// `wake`, `prepare`, `release`, `power:<mode>`, `scheduler:start` or `scheduler:end`.
    #[schema(example = "prepare")]
    action: String,
    /// `completed` or `failed`.
    #[schema(example = "completed")]
    status: String,
    /// The same as a boolean.
    success: bool,
    /// One line.
    #[schema(example = "Exit code 0")]
    message: Option<String>,
    /// Details.
    #[schema(value_type = Option<Object>)]
    payload: Option<Value>,
    /// Exit code or HTTP-like status.
    #[schema(example = 0)]
    response_code: Option<i32>,
    /// How long it took.
    #[schema(example = 9500)]
    duration_ms: Option<i32>,
    /// When, in whole seconds.
    #[schema(format = "date-time", example = "2026-03-01T08:58:09.000Z")]
    created_at: String,
}

/// The newest of the history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecentOperations {
    /// The rows, newest first.
    operations: Vec<RecentOperation>,
    /// Where this page lies.
    pagination: Pagination,
}

/// Lists the newest of the history
///
/// The rows of all reservations, newest first, with the paging of the timeline.
#[utoipa::path(
    get, path = "/api/operations/recent", operation_id = "list_recent_operations", tag = "operations", params(RecentQuery),
    responses((status = 200, description = "A page of the history", body = RecentOperations))
)]
pub(crate) async fn recent(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<RecentOperations>, ApiError> {
    let page = Page::read(&query, app.settings())?;
    let filter = filter(&app, &query)?;
    let site = app.site()?;
    let rows = site
        .reservations
        .recent_operations(&filter, page.limit(), page.offset())
        .await?;
    let total = app.totals.of(&site.reservations, &filter).await?;
    Ok(Json(RecentOperations {
        pagination: page.shown(rows.len() as u64, total),
        operations: rows.into_iter().map(RecentOperation::from).collect(),
    }))
}

fn filter(app: &App, query: &HashMap<String, String>) -> Result<HistoryFilter, ApiError> {
    let text = |key: &str| {
        query
            .get(key)
            .map(|text| text.trim())
            .filter(|text| !text.is_empty())
    };
    let reservation = ["reservationId", "reservation_id"]
        .iter()
        .find_map(|key| Some((*key, text(key)?)));
    let reservation = reservation
        .map(|(field, id)| ReservationId::parse(id).map_err(|problem| ApiError::field(field, problem)))
        .transpose()?;
    let host = match text("host") {
        None => None,
        Some(sent) => {
            // Rows have the name of the file; a host that was removed from it still has rows.
            let known = app.handle.catalog().current();
            let known = known.find(sent).map(|host| host.name.as_str().to_owned());
            let checked = lab_model::HostName::parse(sent);
            let checked = checked.map_err(|problem| ApiError::field("host", problem))?;
            Some(known.unwrap_or_else(|| checked.as_str().to_owned()))
        }
    };
    Ok(HistoryFilter { host, reservation })
}

impl From<OperationRow> for RecentOperation {
    fn from(row: OperationRow) -> Self {
        Self {
            id: row.id,
            reservation_id: row.reservation_id,
            lab_id: row.lab_id,
            host: row.host,
            action: row.action,
            status: row.status,
            success: row.success,
            message: row.message,
            payload: row.payload,
            response_code: row.response_code,
            duration_ms: row.duration_ms,
            created_at: stamp(row.created_at),
        }
    }
}

//! `GET /api/heartbeat/stream`: heartbeats as they come, as server-sent events.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use lab_model::{HostName, is_false_word};
use utoipa::ToSchema;

use crate::app::{App, not_in_config};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::stream::{
    DroppedEvent, ErrorEvent, HeartbeatAnswer, HelloEvent, LivenessEvent, ResetEvent, Watched, Wish,
    each_once,
};

/// Who watches more hosts than this watches all.
const MOST_HOSTS: usize = 200;
/// Longer than any id of ours.
const LONGEST_ID: usize = 64;

/// The data of one event of the stream, by its kind.
#[derive(ToSchema)]
#[schema(as = HeartbeatStreamEvent)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "it describes the events, each of which is written by itself"
)]
pub(crate) enum StreamEvent {
    /// `heartbeat`: what a station said.
    Heartbeat(HeartbeatAnswer),
    /// `liveness`: the verdict on a host is another one.
    Liveness(LivenessEvent),
    /// `error`: a host could not be polled.
    Error(ErrorEvent),
    /// `hello`: how the stream begins.
    Hello(HelloEvent),
    /// `reset`: what was missed is no longer known.
    Reset(ResetEvent),
    /// `dropped`: the viewer read too slowly.
    Dropped(DroppedEvent),
}

/// Streams heartbeats.
///
/// Events: `hello` first; then for each host `heartbeat` (the answer of `POST /api/heartbeat/poll`), `liveness` when the
/// verdict on it changes, `error` when it cannot be polled; `reset` when what was missed since `Last-Event-ID` is no longer
/// known, followed by the newest of each host; `dropped`, the last, when the viewer reads too slowly. A comment every 15 s.
/// Each host is asked once per interval however many watch it, and not at all while somebody else polls it as often.
#[utoipa::path(
    get, path = "/api/heartbeat/stream", operation_id = "stream_heartbeats", tag = "heartbeat",
    params(
        ("host" = Option<Vec<String>>, Query, description = "A host to watch; may be given several times; all hosts without it", example = json!(["lab-ws-01"])),
        ("include_events" = Option<String>, Query, description = "A false word leaves out the session guard's last event", example = "true"),
        ("last_event_id" = Option<String>, Query, description = "As the header, for those who cannot set one", example = "5f0c3c1e-17"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen: what was missed is sent first", example = "5f0c3c1e-17"),
    ),
    responses(
        (status = 200, description = "The stream; the data of each event is one JSON object", body = StreamEvent,
            content_type = "text/event-stream"),
        (status = 404, description = "There is no such host: `unknown_host`"),
        (status = 429, description = "Too many streams are open: `too_many_streams`"),
    )
)]
pub(crate) async fn stream(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, ApiError> {
    let wish = wish(&app, &headers, &query)?;
    let place = app.streams.enter(&caller)?;
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // A proxy that collects what it passes on would hold each event back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    let events = app.hub.watch(&wish, place).into_data_stream();
    let over = Box::pin(app.gate.check.until_unknown(caller));
    Ok((headers, Body::from_stream(events.take_until(over))).into_response())
}

fn wish(app: &App, headers: &HeaderMap, query: &[(String, String)]) -> Result<Wish, ApiError> {
    let all = |name: &'static str| {
        let found = query.iter().filter(move |(key, _)| key == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    };
    let catalog = app.handle.catalog().current();
    let mut hosts = Vec::new();
    for sent in all("host") {
        let name = HostName::parse(sent).map_err(|problem| ApiError::field("host", problem))?;
        match catalog.find(name.as_str()) {
            Some(host) => hosts.push(host.name.clone()),
            None => {
                let text = not_in_config(name.as_str());
                return Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_host", text));
            }
        }
    }
    let hosts = each_once(hosts);
    if hosts.len() > MOST_HOSTS {
        let problem = format_args!("names more than {MOST_HOSTS} hosts; leave it out to watch all");
        return Err(ApiError::field("host", problem));
    }
    let header = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last = header
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .or_else(|| all("last_event_id").next());
    Ok(Wish {
        watched: if hosts.is_empty() {
            Watched::All
        } else {
            Watched::These(hosts)
        },
        with_events: !all("include_events").any(is_false_word),
        // An id that is none of ours is answered with a reset.
        last: last.map(|id| id.chars().take(LONGEST_ID).collect()),
    })
}

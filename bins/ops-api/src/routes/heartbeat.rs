//! `POST /api/heartbeat/poll`: reads a station's heartbeat now, shows it untouched, and keeps it.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};
use station_control::EventsRead;

use crate::app::{App, host_name, not_in_config};
use crate::body::Body;
use crate::error::ApiError;
use crate::station_error;

/// Answers `{heartbeat, last_event, duration_ms, host, persisted, warnings}`.
pub(crate) async fn poll(State(app): State<App>, bytes: Bytes) -> Result<Json<Value>, ApiError> {
    let body = Body::parse(&bytes)?;
    let Some(sent) = host_name(&body, "host")? else {
        return Err(ApiError::required("host is required"));
    };
    let host = app.find_host(sent, not_in_config)?;
    let events = if body.switch("include_events", true) {
        EventsRead::Yes
    } else {
        EventsRead::No
    };
    let site = app.site()?;
    let deadline = site.settings.poll.deadline;
    match ops_scheduler::poll_host(&site, &host, events, deadline).await {
        Ok(polled) => Ok(Json(json!({
            "heartbeat": polled.reading.heartbeat.raw,
            "last_event": polled.reading.last_event.map(|event| event.raw),
            "duration_ms": duration_ms(polled.reading.duration),
            "host": sent,
            "persisted": polled.persisted,
            "warnings": polled.reading.heartbeat.warnings,
        }))),
        Err(error) => Err(station_error::answer(&host.name, &error)),
    }
}

pub(super) fn duration_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

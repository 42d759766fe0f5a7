//! `POST /api/heartbeat/poll`: reads a station's heartbeat now, shows it untouched, and keeps it.

use axum::Json;
use axum::extract::State;
use station_control::EventsRead;
use utoipa::ToSchema;

use crate::app::{App, host_name, not_in_config};
use crate::body::Body;
use crate::error::ApiError;
use crate::station_error;
use crate::stream::HeartbeatAnswer;

/// Which host, and whether its session guard's last event is wanted.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read leniently")]
pub(crate) struct PollRequest {
    /// The host's name.
    #[schema(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: String,
    /// A false word leaves out the last event, which costs the station a second command.
    #[schema(default = true)]
    include_events: Option<bool>,
}

/// Reads a station's heartbeat now.
///
/// The document is shown as the station wrote it just now, and kept: as a row when it says something new or the last row is
/// older than the keep-alive, else only as one more report of the same. `persisted` is false when the database did not take it.
#[utoipa::path(
    post, path = "/api/heartbeat/poll", operation_id = "poll_heartbeat", tag = "heartbeat", request_body = PollRequest,
    responses(
        (status = 200, description = "What the station said", body = HeartbeatAnswer),
        (status = 404, description = "There is no such host: `unknown_host`"),
        (status = 502, description = "The station could not be read, with a code that says why and `effect`"),
        (status = 504, description = "The station did not answer in time: `deadline_expired`"),
    )
)]
pub(crate) async fn poll(State(app): State<App>, body: Body) -> Result<Json<HeartbeatAnswer>, ApiError> {
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
        Ok(polled) => Ok(Json(HeartbeatAnswer::of_poll(
            sent,
            polled.reading,
            polled.persisted,
        ))),
        Err(error) => Err(station_error::answer(&host.name, &error)),
    }
}

pub(super) fn duration_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

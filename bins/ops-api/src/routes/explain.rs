//! `GET /api/reservations/{id}/explain` and `GET /api/hosts/{name}/explain`: what happens next, when, what it waits
//! for, and why the last try failed.

mod described;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::SecondsFormat;
use heartbeat_store::HostState;
use lab_model::{HostName, ReservationId};
use reservation_engine::{Explanation, HostExplanation, WaitCode};

use crate::app::{App, not_in_config};
use crate::error::ApiError;
use described::{HostExplained, ReservationExplained};

/// Explains one reservation.
///
/// What happens next, when, what it waits for, and why the last try failed. Costs about as much as one look of the
/// scheduler at all reservations: ask when you wonder, do not poll.
#[utoipa::path(
    get, path = "/api/reservations/{id}/explain", operation_id = "explain_reservation", tag = "reservations",
    params(("id" = String, Path, description = "The reservation's id", example = "0x5f3c",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$")),
    responses(
        (status = 200, description = "The explanation", body = ReservationExplained),
        (status = 404, description = "There is no such reservation: `unknown_reservation`"),
    )
)]
pub(crate) async fn reservation(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Explanation>, ApiError> {
    let id = ReservationId::parse(&id).map_err(|problem| ApiError::field("reservationId", problem))?;
    let site = app.site()?;
    let catalog = site.catalog.current();
    let Some(mut explained) = site.engine.explain_reservation(&id, &*catalog).await? else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_reservation",
            "Reservation not found",
        ));
    };
    if let Some(host) = explained.host.as_ref().filter(|_| is_first_try(&explained)) {
        let state = site.heartbeats.host_state(host).await?;
        if let Some(poll) = state.as_ref().and_then(failed_poll) {
            explained.summary = format!("{}; {poll}", explained.summary);
        }
    }
    Ok(Json(explained))
}

/// Whether a step is under way before which none failed: nobody knows yet what stands in its way.
fn is_first_try(explained: &Explanation) -> bool {
    let wait = explained.wait.as_ref();
    wait.is_some_and(|wait| wait.code == WaitCode::UnderWay) && explained.last_failure.is_none()
}

/// What the host answered last, if that was no report: mostly the reason why the try under way takes long.
fn failed_poll(state: &HostState) -> Option<String> {
    let failure = state.last_failure.as_ref()?;
    let at = state.last_attempt_at?.to_rfc3339_opts(SecondsFormat::Secs, true);
    Some(format!(
        "the last poll, at {at}, failed: {} ({})",
        failure.text, failure.code
    ))
}

/// Explains one host.
///
/// What happens next on it, for whom, and its reservations of the next 24 hours.
#[utoipa::path(
    get, path = "/api/hosts/{name}/explain", operation_id = "explain_host", tag = "hosts",
    params(("name" = String, Path, description = "The host's name, whatever the case", example = "lab-ws-01",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$")),
    responses(
        (status = 200, description = "The explanation", body = HostExplained),
        (status = 404, description = "Neither in the catalog nor with reservations left: `unknown_host`"),
    )
)]
pub(crate) async fn host(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<HostExplanation>, ApiError> {
    let host = HostName::parse(&name).map_err(|problem| ApiError::field("host", problem))?;
    let site = app.site()?;
    let catalog = site.catalog.current();
    let explained = site.engine.explain_host(&host, &*catalog).await?;
    explained.map(Json).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_host",
            not_in_config(host.as_str()),
        )
    })
}

#[cfg(test)]
mod tests {
    use heartbeat_store::PollFailure;

    use super::*;

    #[test]
    fn a_poll_that_failed_is_told_with_its_time_and_a_good_one_is_not() {
        let mut state = HostState {
            last_attempt_at: "2026-03-01T08:58:10.125Z".parse().ok(),
            ..HostState::default()
        };
        assert_eq!(failed_poll(&state), None);
        state.last_failure = Some(PollFailure {
            code: "unauthorized".to_owned(),
            text: "the host refused the credentials".to_owned(),
        });
        assert_eq!(
            failed_poll(&state).as_deref(),
            Some(
                "the last poll, at 2026-03-01T08:58:10Z, failed: the host refused the credentials (unauthorized)"
            )
        );
    }
}

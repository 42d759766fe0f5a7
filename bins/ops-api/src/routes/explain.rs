//! `GET /api/reservations/{id}/explain` and `GET /api/hosts/{name}/explain`: what happens next, when, what it waits
//! for, and why the last try failed.

mod described;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lab_model::{HostName, ReservationId};
use reservation_engine::{Explanation, HostExplanation};

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
    let explained = site.engine.explain_reservation(&id, &*catalog).await?;
    explained.map(Json).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_reservation",
            "Reservation not found",
        )
    })
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

//! `GET /api/reservations/{id}/explain` and `GET /api/hosts/{name}/explain`: what happens next, when, what it waits
//! for, and why the last try failed.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use lab_model::{HostName, ReservationId};
use reservation_engine::{Explanation, HostExplanation};

use crate::app::{App, not_in_config};
use crate::error::ApiError;

/// Explains one reservation.
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

//! `GET /api/reservations`: what is booked, and which host serves it.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Query, State};
use chrono::{DateTime, Utc};
use lab_model::{Catalog, HostName, LabId};
use reservation_engine::ReservationStatus;
use reservation_store::{ReservationFilter, ReservationRow};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::audit::{after, limit, name};
use crate::app::{App, not_in_config};
use crate::calls::view::stamp;
use crate::error::{ApiError, ErrorBody};

/// Which reservations.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, whose values are read one by one so that refusals name them"
)]
pub(crate) struct ReservationQuery {
    /// Of the labs of this host only.
    #[param(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: Option<String>,
    /// Of this lab only.
    #[param(
        rename = "labId",
        example = "7",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    lab_id: Option<String>,
    /// In one of these states only: `PENDING`, `CONFIRMED`, `ACTIVE`, `COMPLETED`, `CANCELLED`, separated by commas.
    #[param(
        example = "CONFIRMED,ACTIVE",
        pattern = "^((PENDING|CONFIRMED|ACTIVE|COMPLETED|CANCELLED)(,(PENDING|CONFIRMED|ACTIVE|COMPLETED|CANCELLED))*)?$"
    )]
    status: Option<String>,
    /// That end after this instant.
    #[param(format = "date-time", example = "2026-03-01T00:00:00Z")]
    from: Option<String>,
    /// That start before this instant.
    #[param(format = "date-time", example = "2026-03-02T00:00:00Z")]
    to: Option<String>,
    /// Reservations after the one of this key, which is the `next` of the page before.
    #[param(example = 4711, minimum = 1)]
    after: Option<i64>,
    /// Reservations of a page.
    #[param(example = 100, minimum = 1, maximum = 500, default = 100)]
    limit: Option<u32>,
}

/// A reservation as stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReservationDocument {
    /// Its id.
    #[schema(example = "0x5f3a")]
    reservation_id: String,
    /// Its lab.
    #[schema(example = "7")]
    lab_id: Option<String>,
    /// `PENDING`, `CONFIRMED`, `ACTIVE`, `COMPLETED` or `CANCELLED`.
    #[schema(example = "CONFIRMED")]
    status: String,
    /// When the student may begin.
    #[schema(format = "date-time", example = "2026-03-01T09:00:00.000Z")]
    start: String,
    /// When the student has to stop.
    #[schema(format = "date-time", example = "2026-03-01T10:00:00.000Z")]
    end: String,
    /// The host of the lab, by the file as it is now.
    #[schema(example = "lab-ws-01")]
    host: Option<String>,
    /// Who booked it.
    #[schema(example = "0x1b2c3d4e5f60718293a4b5c6d7e8f90123456789")]
    wallet_address: Option<String>,
    /// When it was made.
    #[schema(format = "date-time", example = "2026-02-20T12:00:00.000Z")]
    created_at: Option<String>,
    /// When it was changed last.
    #[schema(format = "date-time", example = "2026-02-20T12:00:00.000Z")]
    updated_at: Option<String>,
}

/// Some reservations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReservationList {
    /// The reservations, the last one made first.
    reservations: Vec<ReservationDocument>,
    /// What `after` has to be for the next page; null on the last.
    #[schema(example = 4612)]
    next: Option<i64>,
}

/// Lists reservations
///
/// The last one made first, each with the host that serves its lab.
#[utoipa::path(
    get, path = "/api/reservations", operation_id = "list_reservations", tag = "reservations", params(ReservationQuery),
    responses(
        (status = 200, description = "Some reservations", body = ReservationList),
        (status = 404, description = "No such host", body = ErrorBody),
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<ReservationList>, ApiError> {
    let (limit, after) = (limit(&query)?, after(&query)?);
    let catalog = app.handle.catalog().current();
    let filter = ReservationFilter {
        labs: labs(&app, &query, &catalog)?,
        statuses: statuses(&query)?,
        from: instant(&query, "from")?,
        to: instant(&query, "to")?,
    };
    let page = app
        .site()?
        .reservations
        .reservations_page(&filter, after, limit)
        .await?;
    let shown = page.rows.into_iter().map(|row| show(row, &catalog));
    Ok(Json(ReservationList {
        reservations: shown.collect(),
        next: page.next,
    }))
}

/// The labs that are asked for by host, by name, or by both.
fn labs(
    app: &App,
    query: &HashMap<String, String>,
    catalog: &Catalog,
) -> Result<Option<Vec<LabId>>, ApiError> {
    let lab = name(query, "labId")?.map(|lab| LabId::new(&lab));
    let Some(sent) = name(query, "host")? else {
        return Ok(lab.map(|lab| vec![lab]));
    };
    HostName::parse(&sent).map_err(|problem| ApiError::field("host", problem))?;
    let host = app.find_host(&sent, not_in_config)?;
    // A lab of several hosts belongs to the first.
    let is_its = |lab: &LabId| {
        catalog
            .host_for_lab(lab)
            .is_some_and(|first| first.name == host.name)
    };
    let mut labs: Vec<LabId> = host.labs.iter().filter(|lab| is_its(lab)).cloned().collect();
    if let Some(lab) = lab {
        labs.retain(|one| *one == lab);
    }
    Ok(Some(labs))
}

fn statuses(query: &HashMap<String, String>) -> Result<Vec<ReservationStatus>, ApiError> {
    let words = query.get("status").map(String::as_str).unwrap_or_default();
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    let read = |word: &str| {
        ReservationStatus::parse(&word.to_ascii_uppercase()).ok_or_else(|| {
            ApiError::field(
                "status",
                "must be PENDING, CONFIRMED, ACTIVE, COMPLETED or CANCELLED",
            )
        })
    };
    let mut statuses: Vec<ReservationStatus> = Vec::new();
    for status in words.map(read) {
        let status = status?;
        if !statuses.contains(&status) {
            statuses.push(status);
        }
    }
    Ok(statuses)
}

/// An instant of the years 1970 to 9999; absent is `None`.
pub(super) fn instant(query: &HashMap<String, String>, key: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    let Some(text) = query.get(key) else {
        return Ok(None);
    };
    let read = DateTime::parse_from_rfc3339(text.trim()).map(|at| at.to_utc());
    // The database's calendar is narrower than ours.
    let read = read
        .ok()
        .filter(|at| (1970..=9999).contains(&chrono::Datelike::year(at)));
    read.map(Some)
        .ok_or_else(|| ApiError::field(key, "must be an instant as 2026-03-01T09:00:00Z"))
}

fn show(row: ReservationRow, catalog: &Catalog) -> ReservationDocument {
    let lab = row.lab_id.as_deref().map(LabId::new);
    let host = lab.and_then(|lab| catalog.host_for_lab(&lab));
    ReservationDocument {
        host: host.map(|host| host.name.as_str().to_owned()),
        reservation_id: row.reservation_id,
        lab_id: row.lab_id,
        status: row.status,
        start: stamp(row.start),
        end: stamp(row.end),
        wallet_address: row.wallet_address,
        created_at: row.created_at.map(stamp),
        updated_at: row.updated_at.map(stamp),
    }
}

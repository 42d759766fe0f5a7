//! `GET /api/reservations/timeline`: all that was done for one reservation, and how its host is now.

mod document;

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use chrono::{DateTime, Utc};
use lab_model::{LabId, ReservationId};
use ops_runtime::settings::ApiSettings;
use reservation_engine::ReservationStatus;
use reservation_store::{OperationsPage, ReservationRow};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::error::{ApiError, ErrorBody};
use document::{HeartbeatView, HostView, OperationView, Phases, ReservationView, TimelineDocument};

/// Which reservation, and which rows of its history.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, which is read by hand as the contract wants it"
)]
pub(crate) struct TimelineQuery {
    /// The reservation's id; also `reservation_id`.
    #[param(
        rename = "reservationId",
        example = "0x5f3a",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reservation_id: String,
    /// Rows of a page; brought into range.
    #[param(example = 100)]
    limit: Option<i64>,
    /// Rows passed over; below 0 counts as 0.
    #[param(example = 0)]
    offset: Option<i64>,
}

/// Which rows are asked for.
pub(super) struct Page {
    limit: u32,
    offset: u64,
}

/// Tells a reservation's story
///
/// All that was done for it, page by page, the newest of each phase, and how its host is now.
#[utoipa::path(
    get, path = "/api/reservations/timeline", operation_id = "show_timeline", tag = "reservations", params(TimelineQuery),
    responses(
        (status = 200, description = "The reservation's story", body = TimelineDocument),
        (status = 404, description = "No such reservation", body = ErrorBody),
    )
)]
pub(crate) async fn show(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Response, ApiError> {
    let named = ["reservationId", "reservation_id"]
        .iter()
        .find_map(|key| Some((*key, query.get(*key)?.trim())));
    let Some((field, id)) = named.filter(|(_, id)| !id.is_empty()) else {
        return Err(ApiError::required("reservationId is required"));
    };
    let id = ReservationId::parse(id).map_err(|problem| ApiError::field(field, problem))?;
    let page = Page::read(&query, app.settings())?;
    let site = app.site()?;
    let story = site.reservations.story(&id, page.limit, page.offset).await?;
    let Some((reservation, OperationsPage { rows, total })) = story else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_reservation",
            "Reservation not found",
        ));
    };
    let lookback = app.settings().timeline_lookback;
    // Most reservations have a handful of rows: the page has them all, and they need not be read twice.
    let newest = if page.offset == 0 && rows.len() as u64 == total {
        Vec::new()
    } else {
        site.reservations.newest_operations(&id, lookback).await?
    };
    let catalog = site.catalog.current();
    let lab = reservation.lab_id.as_deref().map(LabId::new);
    let host = lab.as_ref().and_then(|lab| catalog.host_for_lab(lab));
    let heartbeat = match host {
        Some(host) => site.heartbeats.latest(&host.name).await?,
        None => None,
    };
    let under_way = match may_be_under_way(&reservation, site.clock.now()) {
        true => site.engine.under_way(&id).await?,
        false => None,
    };
    let phases = if newest.is_empty() {
        Phases::of(rows.iter().rev().take(lookback as usize))
    } else {
        Phases::of(newest.iter())
    };
    document::answer(&TimelineDocument {
        reservation: ReservationView::of(&reservation),
        host: HostView::of(host, &reservation),
        operations: rows.iter().map(OperationView::of).collect(),
        phases,
        heartbeat: heartbeat.as_ref().map(HeartbeatView::of),
        under_way: under_way.map(|wait| wait.detail),
        pagination: page.shown(rows.len() as u64, total),
    })
}

/// Whether a step may be at work for it: not in the middle of its hour, and not once it is over. Most of those that
/// are looked at are, and need no further question.
fn may_be_under_way(reservation: &ReservationRow, now: DateTime<Utc>) -> bool {
    match ReservationStatus::parse(&reservation.status) {
        Some(ReservationStatus::Confirmed | ReservationStatus::Cancelled) => true,
        Some(ReservationStatus::Active) => reservation.end <= now,
        Some(ReservationStatus::Pending | ReservationStatus::Completed) | None => false,
    }
}

/// Where a page lies among all rows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    /// Rows of a page.
    #[schema(example = 100)]
    limit: u32,
    /// Rows passed over.
    #[schema(example = 0)]
    offset: u64,
    /// Which page, from 1.
    #[schema(example = 1)]
    page: u64,
    /// The same as `limit`.
    #[schema(example = 100)]
    page_size: u32,
    /// Rows of this page.
    #[schema(example = 42)]
    returned: u64,
    /// Rows in all.
    #[schema(example = 42)]
    total: u64,
    /// Whether more follow.
    has_more: bool,
    /// What `offset` has to be for the next page.
    #[schema(example = 42)]
    next_offset: u64,
}

impl Page {
    /// Absent or no number means the default; a number is brought into range.
    pub(super) fn read(query: &HashMap<String, String>, settings: &ApiSettings) -> Result<Self, ApiError> {
        let number = |key: &str| query.get(key).and_then(|text| text.trim().parse::<i128>().ok());
        let limit = number("limit").map_or(settings.timeline_default, |limit| {
            u32::try_from(limit.clamp(1, i128::from(settings.timeline_max))).unwrap_or(1)
        });
        let offset = number("offset").unwrap_or(0).max(0);
        // The database counts rows in signed 64 bits.
        let offset = i64::try_from(offset).map_err(|_| ApiError::field("offset", "is beyond any row"))?;
        Ok(Self {
            limit,
            offset: offset.unsigned_abs(),
        })
    }

    /// How many rows.
    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    /// Behind how many.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn shown(&self, returned: u64, total: u64) -> Pagination {
        let next = self.offset + returned;
        Pagination {
            limit: self.limit,
            offset: self.offset,
            page: self.offset / u64::from(self.limit) + 1,
            page_size: self.limit,
            returned,
            total,
            has_more: total > next,
            next_offset: next,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_cannot_be_under_way_is_not_asked_for() {
        let now = DateTime::UNIX_EPOCH;
        let asked = |status: &str, ends_in: i64| {
            let row = ReservationRow {
                reservation_id: "0xaa".to_owned(),
                lab_id: None,
                status: status.to_owned(),
                start: now - TimeDelta::hours(1),
                end: now + TimeDelta::seconds(ends_in),
                wallet_address: None,
                created_at: None,
                updated_at: None,
            };
            may_be_under_way(&row, now)
        };
        for status in ["CONFIRMED", "CANCELLED"] {
            assert!(asked(status, 60) && asked(status, -60), "{status}");
        }
        assert!(!asked("ACTIVE", 60) && asked("ACTIVE", 0));
        for status in ["PENDING", "COMPLETED", "of another service"] {
            assert!(!asked(status, 60) && !asked(status, -60), "{status}");
        }
    }
}

//! `GET /api/hosts/{name}/hours`: what was counted about a host, hour by hour.

use std::collections::HashMap;

use axum::Json;
use axum::extract::{Path, Query, State};
use heartbeat_store::HourCount;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::history::{host, refused, window};
use crate::app::App;
use crate::calls::view::stamp;
use crate::error::{ApiError, ErrorBody};

/// When.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, whose values are read one by one so that refusals name them"
)]
pub(crate) struct HoursQuery {
    /// Hours that begin at this instant or after it; a day before `to` when absent. Of the years 1970 to 9999.
    #[param(format = "date-time", example = "2026-03-01T00:00:00Z")]
    from: Option<String>,
    /// Hours that begin before this instant; now when absent. At most 366 days after `from`.
    #[param(format = "date-time", example = "2026-03-02T00:00:00Z")]
    to: Option<String>,
}

/// What was counted about a host.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostHours {
    /// The host.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// From when.
    #[schema(format = "date-time", example = "2026-03-01T00:00:00.000Z")]
    from: String,
    /// Until when.
    #[schema(format = "date-time", example = "2026-03-02T00:00:00.000Z")]
    to: String,
    /// The hours in which somebody polled it, oldest first.
    hours: Vec<HourDocument>,
}

/// One hour.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HourDocument {
    /// When it begins.
    #[schema(format = "date-time", example = "2026-03-01T09:00:00.000Z")]
    hour: String,
    /// How many polls there were.
    #[schema(example = 60)]
    polls: u64,
    /// How many of them brought no report.
    #[schema(example = 2)]
    failures: u64,
    /// How many boots were seen.
    #[schema(example = 1)]
    boots: u64,
    /// For how many seconds it is known how the host was.
    #[schema(example = 3540.0)]
    known_secs: f64,
    /// Which share of that it was ready; null when nothing is known.
    #[schema(example = 0.98)]
    ready_share: Option<f64>,
    /// For how many seconds it was in local mode.
    #[schema(example = 0.0)]
    local_secs: f64,
    /// How long the good polls took; null without one.
    latency_ms: Option<LatencyDocument>,
}

/// How long polls took: interpolated from what was counted in buckets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatencyDocument {
    /// Half of them at most.
    #[schema(example = 14.5)]
    p50: f64,
    /// 95 of 100 at most.
    #[schema(example = 33.0)]
    p95: f64,
    /// 99 of 100 at most.
    #[schema(example = 190.0)]
    p99: f64,
}

/// Tells what was counted about a host, hour by hour
///
/// Polls and how many of them brought no report, boots, the share of time it was ready, and how long polls took. An hour
/// in which nobody polled it is left out.
#[utoipa::path(
    get, path = "/api/hosts/{name}/hours", operation_id = "show_host_hours", tag = "hosts",
    params(("name" = String, Path, description = "The host's name, whatever the case", example = "lab-ws-01",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"),
        HoursQuery),
    responses(
        (status = 200, description = "The hours", body = HostHours),
        (status = 404, description = "There is no such host: `unknown_host`", body = ErrorBody),
    )
)]
pub(crate) async fn hours(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<HostHours>, ApiError> {
    let host = host(&app, &name)?;
    let site = app.site()?;
    let (from, to) = window(&query, &site)?;
    let hours = site
        .heartbeats
        .hours(Some(&host), from, to)
        .await
        .map_err(refused)?;
    Ok(Json(HostHours {
        host: host.as_str().to_owned(),
        from: stamp(from),
        to: stamp(to),
        hours: hours.iter().map(HourDocument::of).collect(),
    }))
}

impl HourDocument {
    fn of(hour: &HourCount) -> Self {
        let quantile = |share| {
            let time = hour.latencies.quantile(share)?;
            Some((time.as_secs_f64() * 10_000.0).round() / 10.0)
        };
        let latency = || {
            Some(LatencyDocument {
                p50: quantile(0.5)?,
                p95: quantile(0.95)?,
                p99: quantile(0.99)?,
            })
        };
        Self {
            hour: stamp(hour.hour),
            polls: hour.polls,
            failures: hour.failures,
            boots: hour.boots,
            known_secs: hour.known.as_secs_f64(),
            ready_share: hour.ready_share(),
            local_secs: hour.local.as_secs_f64(),
            latency_ms: latency(),
        }
    }
}

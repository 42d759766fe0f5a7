//! `GET /api/hosts/{name}/history`: how one field of a host was over time; and how a question about a host and a window of
//! time is read and refused.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{AskProblem, Field, HistoryAsk, HistoryError, MAX_POINTS, Point};
use lab_model::HostName;
use ops_runtime::Site;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::reservation_list::instant;
use crate::app::{App, not_in_config};
use crate::calls::view::stamp;
use crate::error::{ApiError, ErrorBody};

/// How long a window is that nobody chose.
const DAY: TimeDelta = TimeDelta::hours(24);
/// How many steps a window has for which nobody chose one.
const STEPS: u64 = 96;
/// The longest step: the longest window has one of it.
const LONGEST_STEP: u64 = 3_650 * 86_400;

/// The fields by their words here.
const FIELDS: [(&str, Field); 5] = [
    ("ready", Field::Ready),
    ("localMode", Field::LocalMode),
    ("localSession", Field::LocalSession),
    ("power", Field::Power),
    ("boot", Field::Boot),
];

/// Of which field, and when.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(
    dead_code,
    reason = "describes the query, whose values are read one by one so that refusals name them"
)]
pub(crate) struct HistoryQuery {
    /// `ready`, `localMode`, `localSession`, `power` (the mode of the last power order that the station knew of) or `boot`
    /// (when the host booted).
    #[param(example = "ready", pattern = "^(ready|localMode|localSession|power|boot)$")]
    field: String,
    /// From this instant, by our clock; a day before `to` when absent. Of the years 1970 to 9999.
    #[param(format = "date-time", example = "2026-03-01T00:00:00Z")]
    from: Option<String>,
    /// Until this instant, which has to be after `from`; now when absent.
    #[param(format = "date-time", example = "2026-03-02T00:00:00Z")]
    to: Option<String>,
    /// How long each step is, in seconds. When absent, so long that there are 96 of them; at most 2000 are given.
    #[param(rename = "stepSecs", example = 3600, minimum = 1, maximum = 315360000)]
    step_secs: Option<u64>,
}

/// How one field of a host was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostHistory {
    /// The host.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// The field.
    #[schema(example = "ready")]
    field: &'static str,
    /// When the first step begins.
    #[schema(format = "date-time", example = "2026-03-01T00:00:00.000Z")]
    from: String,
    /// When the last step ends.
    #[schema(format = "date-time", example = "2026-03-02T00:00:00.000Z")]
    to: String,
    /// How long each step is; the last may be shorter.
    #[schema(example = 3600)]
    step_secs: u64,
    /// The steps, oldest first.
    points: Vec<PointDocument>,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PointDocument {
    /// When it begins.
    #[schema(format = "date-time", example = "2026-03-01T09:00:00.000Z")]
    at: String,
    /// For how many seconds of it the value is known: from the host's first report until its last.
    #[schema(example = 3600.0)]
    known_secs: f64,
    /// Which share of that a flag was true; null when nothing is known, and for `power` and `boot`.
    #[schema(example = 0.975)]
    share: Option<f64>,
    /// The value at the end of the step; null when it is not known.
    last: Option<FieldValue>,
    /// How many changes fell into it.
    #[schema(example = 2)]
    changes: u32,
}

/// What a field can be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum FieldValue {
    /// Of `ready`, `localMode` and `localSession`.
    Flag(bool),
    /// A mode of `power`, or the instant of a `boot`.
    Text(String),
}

/// Tells how one field of a host was over time
///
/// Step by step: for which share of it a flag was true, and the value at its end. Made of the changes, so a long window of a
/// steady host costs no more than a short one. A value counts as known until the host's last report.
#[utoipa::path(
    get, path = "/api/hosts/{name}/history", operation_id = "show_host_history", tag = "hosts",
    params(("name" = String, Path, description = "The host's name, whatever the case", example = "lab-ws-01",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"),
        HistoryQuery),
    responses(
        (status = 200, description = "The history", body = HostHistory),
        (status = 404, description = "There is no such host: `unknown_host`", body = ErrorBody),
    )
)]
pub(crate) async fn history(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Result<Json<HostHistory>, ApiError> {
    let host = host(&app, &name)?;
    let (word, field) = field(&query)?;
    let site = app.site()?;
    let (from, to) = window(&query, &site)?;
    let step = step(&query, from, to)?;
    let ask = HistoryAsk {
        field,
        from,
        to,
        step,
    };
    let points = site.heartbeats.history(&host, &ask).await.map_err(refused)?;
    Ok(Json(HostHistory {
        host: host.as_str().to_owned(),
        field: word,
        from: stamp(from),
        to: stamp(to),
        step_secs: step.as_secs(),
        points: points.into_iter().map(|point| show(point, field)).collect(),
    }))
}

/// The host as the catalog spells it.
pub(super) fn host(app: &App, name: &str) -> Result<HostName, ApiError> {
    let name = HostName::parse(name).map_err(|problem| ApiError::field("name", problem))?;
    let catalog = app.handle.catalog().current();
    let found = catalog.find(name.as_str()).map(|entry| entry.name.clone());
    found.ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "unknown_host",
            not_in_config(name.as_str()),
        )
    })
}

fn field(query: &HashMap<String, String>) -> Result<(&'static str, Field), ApiError> {
    let Some(sent) = query.get("field") else {
        return Err(ApiError::required("field is required"));
    };
    let found = FIELDS.into_iter().find(|(word, _)| *word == sent.trim());
    found.ok_or_else(|| {
        let words = FIELDS.map(|(word, _)| word).join(", ");
        ApiError::field("field", format_args!("must be one of {words}"))
    })
}

/// From when until when: a day until now, unless the caller chose.
pub(super) fn window(
    query: &HashMap<String, String>,
    site: &Site,
) -> Result<(DateTime<Utc>, DateTime<Utc>), ApiError> {
    let to = instant(query, "to")?.unwrap_or_else(|| site.clock.now());
    let from = match instant(query, "from")? {
        Some(from) => from,
        None => to
            .checked_sub_signed(DAY)
            .ok_or_else(|| ApiError::field("to", "is before any row"))?,
    };
    if to <= from {
        return Err(ApiError::field("to", "must be after from"));
    }
    Ok((from, to))
}

fn step(
    query: &HashMap<String, String>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<Duration, ApiError> {
    let Some(sent) = query.get("stepSecs") else {
        let window = (to - from).to_std().unwrap_or_default().as_secs();
        return Ok(Duration::from_secs(window.div_ceil(STEPS).max(1)));
    };
    let step = sent
        .trim()
        .parse()
        .ok()
        .filter(|step| (1..=LONGEST_STEP).contains(step));
    step.map(Duration::from_secs).ok_or_else(|| {
        ApiError::field(
            "stepSecs",
            format_args!("must be a whole number from 1 to {LONGEST_STEP}"),
        )
    })
}

/// What the store says of a question, by the names that the caller gave its parts.
pub(super) fn refused(error: HistoryError) -> ApiError {
    match error {
        HistoryError::Store(error) => error.into(),
        HistoryError::TooManyChanges { max } => ApiError::field(
            "from",
            format_args!("is too early: the field changed more than {max} times in this window"),
        ),
        HistoryError::Ask(problem) => match problem {
            AskProblem::EmptyWindow => ApiError::field("to", "must be after from"),
            AskProblem::BeyondTheCalendar => {
                ApiError::field("from", "and to must lie between the years 1000 and 9999")
            }
            AskProblem::ShortStep => ApiError::field("stepSecs", "must be 1 at least"),
            AskProblem::TooManyPoints { points, .. } => ApiError::field(
                "stepSecs",
                format_args!(
                    "is too short: the window would have {points} steps, and at most {MAX_POINTS} are given"
                ),
            ),
            AskProblem::LongWindow { max_days } => {
                ApiError::field("from", format_args!("must be at most {max_days} days before to"))
            }
        },
    }
}

fn show(point: Point, field: Field) -> PointDocument {
    let share = point.share().filter(|_| field.is_flag());
    let value = |text: String| {
        if field.is_flag() {
            FieldValue::Flag(matches!(text.as_str(), "true" | "1"))
        } else {
            FieldValue::Text(text)
        }
    };
    PointDocument {
        at: stamp(point.at),
        known_secs: point.known.as_secs_f64(),
        share,
        last: point.last.map(value),
        changes: point.changes,
    }
}

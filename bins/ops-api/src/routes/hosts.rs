//! `GET /api/hosts` and `GET /api/hosts/{name}`: which hosts there are, how they are, and who needs them.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use heartbeat_store::Verdict;
use lab_model::{HostName, LabId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::app::{App, not_in_config};
use crate::error::ApiError;
use crate::fleet::{Filter, HostView, UNKNOWN};

/// Longer than any lab's id or host's name.
const LONGEST: usize = 255;

/// Which hosts are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HostsQuery {
    /// Only hosts that serve this lab.
    #[param(example = "7", max_length = 255)]
    lab: Option<String>,
    /// Only hosts with this verdict: `fresh`, `stale`, `silent`, `expected-off`, `never-seen` or `unknown`.
    #[param(
        example = "silent",
        pattern = "^(fresh|stale|silent|expected-off|never-seen|unknown)?$"
    )]
    verdict: Option<String>,
    /// Only hosts whose name, address or lab holds this text, whatever the case.
    #[param(example = "ws-0", max_length = 255)]
    q: Option<String>,
}

/// The hosts, in the order of the catalog.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostsAnswer {
    /// Those that were asked for.
    hosts: Vec<HostView>,
    /// How many these are.
    #[schema(example = 1)]
    total: usize,
    /// When this was true.
    #[schema(example = "2026-03-01T09:00:02.125Z")]
    generated_at: String,
    /// Whether the database answered. If not, the verdicts are `unknown`, and the rest is what was last known.
    database: bool,
}

/// A host, and what may be shown of its entry in the catalog.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HostAnswer {
    #[serde(flatten)]
    host: HostView,
    /// The keys of the entry but the secret ones, in the catalog's own spelling.
    #[schema(value_type = Object)]
    config: Value,
    /// Whether the database answered.
    database: bool,
}

/// Lists the hosts of the catalog with their state.
///
/// Made at most once a second for all callers. The `ETag` changes with everything but ages and wordings; send it back as
/// `If-None-Match` to get 304 while nothing happened. While the database is away the hosts are listed all the same.
#[utoipa::path(
    get, path = "/api/hosts", operation_id = "list_hosts", tag = "hosts", params(HostsQuery),
    responses(
        (status = 200, description = "The hosts", body = HostsAnswer),
        (status = 304, description = "Nothing has changed since the `ETag` that was sent"),
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    Query(query): Query<HostsQuery>,
) -> Result<Response, ApiError> {
    let filter = filter(query)?;
    let snapshot = app.fleet.snapshot().await;
    let common = [
        (header::ETAG, snapshot.etag.clone()),
        // To be kept, but asked for each time.
        (header::CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    let sent = headers.get_all(header::IF_NONE_MATCH).iter();
    if sent
        .filter_map(|tags| tags.to_str().ok())
        .any(|tags| names(tags, &snapshot.etag))
    {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((common, json, snapshot.answer(&filter)).into_response())
}

/// Shows one host.
#[utoipa::path(
    get, path = "/api/hosts/{name}", operation_id = "show_host", tag = "hosts",
    params(("name" = String, Path, description = "The host's name, whatever the case", example = "lab-ws-01",
        max_length = 128, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$")),
    responses(
        (status = 200, description = "The host", body = HostAnswer),
        (status = 404, description = "There is no such host: `unknown_host`"),
    )
)]
pub(crate) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<HostAnswer>, ApiError> {
    let name = HostName::parse(&name).map_err(|problem| ApiError::field("name", problem))?;
    let snapshot = app.fleet.snapshot().await;
    let found = snapshot
        .find(name.as_str())
        .zip(snapshot.catalog.find(name.as_str()));
    let Some((host, entry)) = found else {
        let text = not_in_config(name.as_str());
        return Err(ApiError::new(StatusCode::NOT_FOUND, "unknown_host", text));
    };
    Ok(Json(HostAnswer {
        host: host.view.clone(),
        config: entry.public_view(),
        database: snapshot.database,
    }))
}

fn filter(query: HostsQuery) -> Result<Filter, ApiError> {
    let text = |field: &str, value: Option<String>| match value.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(text) if text.chars().count() > LONGEST => Err(ApiError::field(
            field,
            format_args!("is longer than {LONGEST} characters"),
        )),
        Some(text) => Ok(Some(text.to_lowercase())),
    };
    let verdict = match text("verdict", query.verdict)?.as_deref() {
        None => None,
        Some(UNKNOWN) => Some(UNKNOWN),
        Some(word) => match Verdict::parse(word) {
            Some(verdict) => Some(verdict.as_str()),
            None => {
                let words = Verdict::ALL.map(Verdict::as_str).join(", ");
                return Err(ApiError::field(
                    "verdict",
                    format_args!("must be one of {words}, {UNKNOWN}"),
                ));
            }
        },
    };
    Ok(Filter {
        lab: text("lab", query.lab)?.map(|lab| LabId::new(&lab)),
        verdict,
        words: text("q", query.q)?,
    })
}

/// Whether a list of tags names this one; a weak comparison, as for every `GET`.
fn names(tags: &str, etag: &str) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    tags.trim() == "*" || tags.split(',').any(|tag| bare(tag) == bare(etag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let etag = "W/\"abc\"";
        for sent in ["W/\"abc\"", "\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert!(names(sent, etag), "{sent}");
        }
        for sent in ["", "abc", "W/\"abcd\"", "\"x\""] {
            assert!(!names(sent, etag), "{sent}");
        }
    }
}

//! `POST /api/hosts/reload`: read the catalog again. `POST /api/hosts/local-mode`: keep a host for those who sit at it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use ops_runtime::{Chain, ReloadError};
use serde::Serialize;
use serde_json::{Value, json};
use station_control::LocalModeError;
use tracing::Instrument as _;
use utoipa::ToSchema;

use crate::app::{App, host_name};
use crate::body::Body;
use crate::error::ApiError;
use crate::{busy, station_error};

/// Three small commands.
const LOCAL_MODE_DEADLINE: Duration = Duration::from_secs(60);
/// Problems that are told; a file has as many as it has lines.
const MOST_PROBLEMS: usize = 200;

/// What a reload changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReloadAnswer {
    /// Always true: a file that cannot be used is an error.
    reloaded: bool,
    /// How many hosts there are now.
    #[schema(example = 12)]
    hosts: usize,
    /// Names that are new.
    #[schema(example = json!(["lab-ws-12"]))]
    added: Vec<String>,
    /// Names that are gone.
    #[schema(example = json!([]))]
    removed: Vec<String>,
    /// Names whose entry says something else now, if only a password.
    #[schema(example = json!(["lab-ws-01"]))]
    changed: Vec<String>,
    /// What an operator should know although the file is right.
    #[schema(example = json!([]))]
    warnings: Vec<String>,
    /// Whether the other processes on the database were asked to read their file too; they do within five seconds.
    announced: bool,
}

/// Reads `hosts.json` again, here and in every other process on the database.
///
/// A file with anything wrong in it is refused as a whole, and the hosts stay what they were: 500 `catalog_invalid` with
/// `problems`, each naming host and key. What is under way on a host goes on with the entry it began with.
#[utoipa::path(
    post, path = "/api/hosts/reload", operation_id = "reload_hosts", tag = "hosts",
    responses(
        (status = 200, description = "The hosts are those of the file", body = ReloadAnswer),
        (status = 500, description = "The file cannot be used: `catalog_invalid` with `problems`; the old hosts stay"),
    )
)]
pub(crate) async fn reload(State(app): State<App>) -> Result<Json<ReloadAnswer>, ApiError> {
    let reloaded = app.handle.reload().await.map_err(|error| refused(&error))?;
    ops_runtime::tell_reloaded(&reloaded, "a caller");
    let announced = match app.handle.current() {
        Some(site) => {
            let problem = match site.database.spare(site.signals.ask_to_reload()).await {
                Ok(asked) => asked.err().map(|error| Chain(&error).to_string()),
                Err(no_answer) => Some(no_answer.to_string()),
            };
            if let Some(error) = &problem {
                tracing::warn!(error, "the other processes were not asked to reload the hosts");
            }
            problem.is_none()
        }
        None => false,
    };
    Ok(Json(ReloadAnswer {
        reloaded: true,
        hosts: reloaded.hosts,
        added: reloaded.added,
        removed: reloaded.removed,
        changed: reloaded.changed,
        warnings: reloaded.warnings,
        announced,
    }))
}

fn refused(error: &ReloadError) -> ApiError {
    tracing::error!("the hosts are not reloaded, those of before stay: {error}");
    let problems: Vec<Value> = error
        .problems
        .iter()
        .take(MOST_PROBLEMS)
        .map(|problem| json!({"host": problem.host, "key": problem.key, "message": problem.message}))
        .collect();
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "catalog_invalid",
        "Hosts configuration reload failed",
    )
    .with("problems", problems)
}

/// Which host, and whether it is to be in local mode.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the body, which is read leniently")]
pub(crate) struct LocalModeRequest {
    /// The host's name.
    #[schema(
        example = "lab-ws-01",
        max_length = 128,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    host: String,
    /// True keeps remote reservations away; false lets them come.
    #[schema(example = true)]
    enabled: bool,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocalModeAnswer {
    /// The host, as it was sent.
    #[schema(example = "lab-ws-01")]
    host: String,
    /// What was asked for.
    enabled: bool,
    /// The same, under the name of a later release of the older worker.
    local_mode_enabled: bool,
    /// Whether the host had to be changed.
    changed: bool,
    /// Whether the host was seen to be so afterwards.
    verified: bool,
}

/// Puts a host into local mode or takes it out.
///
/// Writes or removes the file by which its station knows, under the host's claim, and looks whether that is so. The next
/// heartbeat says it too.
#[utoipa::path(
    post, path = "/api/hosts/local-mode", operation_id = "set_local_mode", tag = "hosts", request_body = LocalModeRequest,
    responses(
        (status = 200, description = "The host is as asked for", body = LocalModeAnswer),
        (status = 404, description = "There is no such host: `unknown_host`"),
        (status = 409, description = "Somebody else works on the host: `host_busy`"),
        (status = 502, description = "The host did not do it: a code of the station, or `local_mode_not_taken`"),
        (status = 504, description = "The host did not answer in time: `deadline_expired`"),
    )
)]
pub(crate) async fn local_mode(
    State(app): State<App>,
    body: Body,
) -> Result<Json<LocalModeAnswer>, ApiError> {
    let Some(sent) = host_name(&body, "host")? else {
        return Err(ApiError::required("host is required"));
    };
    if body.value("enabled").is_none() {
        return Err(ApiError::required("enabled is required"));
    }
    let enabled = body.switch("enabled", false);
    let host = app.find_host(sent, |host| format!("host '{host}' not found"))?;
    let site = app.site()?;
    busy::check(&site)?;
    let (name, wait) = (host.name.clone(), app.settings().host_wait);
    // In a task of its own, so that a caller who hangs up does not stop it halfway.
    let work = async move {
        let setting = site.station.set_local_mode(&name, enabled, LOCAL_MODE_DEADLINE);
        site.engine.with_host_claim(&name, wait, setting).await
    };
    let done = tokio::spawn(work.in_current_span())
        .await
        .map_err(|_| ApiError::stopping())?
        .map_err(busy::answer)?;
    let report = done.map_err(|error| not_done(&host.name, &error))?;
    tracing::info!(host.name = %host.name, enabled, changed = report.changed, "local mode, for a caller");
    Ok(Json(LocalModeAnswer {
        host: sent.to_owned(),
        enabled,
        local_mode_enabled: enabled,
        changed: report.changed,
        verified: report.verified,
    }))
}

fn not_done(host: &lab_model::HostName, error: &LocalModeError) -> ApiError {
    let (code, text) = match error {
        LocalModeError::Station(error) => return station_error::answer(host, error),
        LocalModeError::Path { .. } => ("path_refused", Chain(error).to_string()),
        LocalModeError::NotTaken { said, .. } => {
            tracing::info!(host.name = %host, said, "local mode was not taken");
            let text = format!("host {host} was told, and its local mode is still what it was");
            ("local_mode_not_taken", text)
        }
    };
    ApiError::new(StatusCode::BAD_GATEWAY, code, text).with("host", host.as_str())
}

//! `GET /api/workers`: who is alive and what each holds. `POST /api/workers/{name}/cordon` and `/uncordon`: keep new
//! work from a scheduler, or let it take work again.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::SecondsFormat;
use ops_runtime::Chain;
use serde_json::{Map, Value, json};
use worker_registry::{ChangeError, Duty, RegistryError, SHARDS, ShardCounts, WorkerRecord};

use crate::app::App;
use crate::body::Body;
use crate::error::ApiError;

/// Answers `{workers: [...], shards: {polls: {total, unserved}, reservations: {...}}}`.
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let registry = &app.site()?.workers;
    let workers = registry.list().await?;
    let (counts, unserved) = registry.shards(&workers).await?;
    let shown: Vec<Value> = workers
        .iter()
        .zip(counts)
        .map(|(worker, counts)| show(worker, Some(counts)))
        .collect();
    let shards: Map<String, Value> = Duty::ALL
        .into_iter()
        .zip(unserved)
        .map(|(duty, unserved)| {
            (
                duty.as_str().to_owned(),
                json!({"total": SHARDS, "unserved": unserved.len()}),
            )
        })
        .collect();
    Ok(Json(json!({"workers": shown, "shards": shards})))
}

/// Takes `{reason}`; answers the worker as it stands now.
pub(crate) async fn cordon(
    State(app): State<App>,
    Path(name): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, ApiError> {
    let body = Body::parse(&bytes)?;
    let Some(reason) = body.text("reason")? else {
        return Err(ApiError::required("reason is required"));
    };
    let worker = app.site()?.workers.cordon(&name, reason).await?;
    tracing::info!(worker.name = %worker.name, reason, "cordoned by a caller");
    Ok(Json(show(&worker, None)))
}

/// Needs no body; answers the worker as it stands now.
pub(crate) async fn uncordon(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let worker = app.site()?.workers.uncordon(&name).await?;
    tracing::info!(worker.name = %worker.name, "uncordoned by a caller");
    Ok(Json(show(&worker, None)))
}

fn show(worker: &WorkerRecord, counts: Option<ShardCounts>) -> Value {
    let mut shown = json!({
        "name": worker.name,
        "role": worker.role,
        "host": worker.host,
        "instance": worker.instance,
        "version": worker.version,
        "state": worker.status.as_str(),
        "reason": worker.status_reason,
        "alive": worker.alive(),
        "started_at": worker.started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        "heartbeat_age_ms": millis(worker.heartbeat_age),
        "progress_age_ms": millis(worker.progress_age),
        "lease_left_ms": worker.lease_left.map(millis),
        "running": worker.running_jobs,
        "capabilities": worker.capabilities,
    });
    if let (Some(counts), Some(shown)) = (counts, shown.as_object_mut()) {
        let shards = Duty::ALL.map(|duty| (duty.as_str().to_owned(), json!(counts.of(duty))));
        shown.insert("shards".to_owned(), Value::Object(Map::from_iter(shards)));
    }
    shown
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match &error {
            RegistryError::Unavailable(_) => Self::database_unavailable(),
            RegistryError::Refused { .. } => {
                tracing::error!(error = %Chain(&error), "the database refused a statement");
                Self::internal()
            }
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let text = error.to_string();
        match error {
            ChangeError::Unknown { name } => {
                Self::new(StatusCode::NOT_FOUND, "unknown_worker", text).with("worker", name)
            }
            ChangeError::NotCordoned { name, status } => {
                Self::new(StatusCode::CONFLICT, "not_cordoned", text)
                    .with("worker", name)
                    .with("state", status.as_str())
            }
            ChangeError::NothingToWithhold { name, .. } => {
                Self::new(StatusCode::CONFLICT, "nothing_to_withhold", text).with("worker", name)
            }
            ChangeError::Reason { problem } => Self::field("reason", problem),
            ChangeError::Registry(error) => error.into(),
        }
    }
}

//! `GET /api/workers`: who is alive and what each holds. `POST /api/workers/{name}/cordon` and `/uncordon`: keep new
//! work from a scheduler, or let it take work again.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::SecondsFormat;
use ops_runtime::Chain;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use worker_registry::{ChangeError, Duty, RegistryError, SHARDS, WorkerRecord};

use crate::app::App;
use crate::body::Body;
use crate::error::{ApiError, ErrorBody};

/// A process on the database.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Worker {
    /// `<role>@<name>`; by it a worker is cordoned.
    #[schema(example = "scheduler@lab-gateway")]
    name: String,
    /// `scheduler` or `api`.
    #[schema(example = "scheduler")]
    role: String,
    /// The machine it runs on.
    #[schema(example = "lab-gateway")]
    host: String,
    /// Another one after each start.
    #[schema(example = "5d3c1f0a9b7e4d52a1f3b3a6d0c9e871")]
    instance: String,
    /// Its release.
    #[schema(example = "0.1.0")]
    version: String,
    /// `active`, `draining`, `cordoned`, `inactive`, `stale` or `unknown`.
    #[schema(example = "active")]
    state: &'static str,
    /// Why it is so, when somebody said so.
    #[schema(example = "the machine gets new memory")]
    reason: Option<String>,
    /// Whether it was heard of lately.
    #[schema(example = true)]
    alive: bool,
    /// When it started, by the database's clock.
    #[schema(example = "2026-03-01T08:12:30.250Z", format = DateTime)]
    started_at: String,
    /// Since when it was not heard of.
    #[schema(example = 1200)]
    heartbeat_age_ms: u64,
    /// Since when its loops did not move.
    #[schema(example = 800)]
    progress_age_ms: u64,
    /// How long its place is still its own; null once it has left.
    #[schema(example = 13800)]
    lease_left_ms: Option<u64>,
    /// What it has under way.
    #[schema(example = 2)]
    running: u32,
    /// What it can do, as it says of itself.
    #[schema(value_type = Object)]
    capabilities: Value,
    /// How many shards of each duty it holds; in the list only.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<HeldShards>,
}

/// How many shards of each duty a process holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeldShards {
    /// Of reading heartbeats.
    #[schema(example = 64)]
    polls: usize,
    /// Of starting and ending reservations.
    #[schema(example = 64)]
    reservations: usize,
}

/// The shards of each duty.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AllShards {
    /// Of reading heartbeats.
    polls: Shards,
    /// Of starting and ending reservations.
    reservations: Shards,
}

/// The shards of one duty.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shards {
    /// How many there are.
    #[schema(example = 64)]
    total: u64,
    /// How many of them nobody holds.
    #[schema(example = 0)]
    unserved: u64,
}

/// The processes on the database, and how their work is shared out.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WorkerList {
    /// The processes, those that have left lately as well.
    workers: Vec<Worker>,
    /// The shards of each duty.
    shards: AllShards,
}

/// Why new work is kept from a scheduler.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes the body, whose fields are read one by one")]
pub(crate) struct CordonRequest {
    /// One line for people.
    #[schema(
        example = "the machine gets new memory",
        min_length = 1,
        max_length = 200,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\x00-\\x1f\\x7f-\\x9f\\s][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reason: String,
}

/// Lists the processes on the database
///
/// Who is alive, how each stands, and how the work is shared out between them.
#[utoipa::path(
    get, path = "/api/workers", tag = "workers", operation_id = "list_workers",
    responses((status = 200, description = "The processes", body = WorkerList))
)]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<WorkerList>, ApiError> {
    let registry = &app.site()?.workers;
    let workers = registry.list().await?;
    let (counts, unserved) = registry.shards(&workers).await?;
    let shown = workers.iter().zip(counts).map(|(worker, counts)| {
        let shards = HeldShards {
            polls: counts.of(Duty::Polls),
            reservations: counts.of(Duty::Reservations),
        };
        show(worker, Some(shards))
    });
    let [polls, reservations] = unserved.map(|shards| Shards {
        total: u64::from(SHARDS),
        unserved: shards.len() as u64,
    });
    Ok(Json(WorkerList {
        workers: shown.collect(),
        shards: AllShards { polls, reservations },
    }))
}

/// Keeps new work from a scheduler
///
/// What it has under way it ends; its shards go to others. It stays so until it is let go again.
#[utoipa::path(
    post, path = "/api/workers/{name}/cordon", tag = "workers", operation_id = "cordon_worker",
    params(("name" = String, Path, description = "The worker's name", example = "scheduler@lab-gateway")),
    request_body = CordonRequest,
    responses(
        (status = 200, description = "As it stands now", body = Worker),
        (status = 404, description = "`unknown_worker`: nobody of that name is there", body = ErrorBody),
        (status = 409, description = "`nothing_to_withhold`: it is no scheduler, or it is on its way out", body = ErrorBody),
    )
)]
pub(crate) async fn cordon(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Worker>, ApiError> {
    let Some(reason) = body.text("reason")? else {
        return Err(ApiError::required("reason is required"));
    };
    let worker = app.site()?.workers.cordon(&name, reason).await?;
    tracing::info!(worker.name = %worker.name, reason, "cordoned by a caller");
    Ok(Json(show(&worker, None)))
}

/// Lets a scheduler take work again
///
/// Needs no body.
#[utoipa::path(
    post, path = "/api/workers/{name}/uncordon", tag = "workers", operation_id = "uncordon_worker",
    params(("name" = String, Path, description = "The worker's name", example = "scheduler@lab-gateway")),
    responses(
        (status = 200, description = "As it stands now", body = Worker),
        (status = 404, description = "`unknown_worker`: nobody of that name is there", body = ErrorBody),
        (status = 409, description = "`not_cordoned`: it was not kept from work", body = ErrorBody),
    )
)]
pub(crate) async fn uncordon(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Worker>, ApiError> {
    let worker = app.site()?.workers.uncordon(&name).await?;
    tracing::info!(worker.name = %worker.name, "uncordoned by a caller");
    Ok(Json(show(&worker, None)))
}

fn show(worker: &WorkerRecord, shards: Option<HeldShards>) -> Worker {
    Worker {
        name: worker.name.clone(),
        role: worker.role.clone(),
        host: worker.host.clone(),
        instance: worker.instance.clone(),
        version: worker.version.clone(),
        state: worker.status.as_str(),
        reason: worker.status_reason.clone(),
        alive: worker.alive(),
        started_at: worker.started_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        heartbeat_age_ms: millis(worker.heartbeat_age),
        progress_age_ms: millis(worker.progress_age),
        lease_left_ms: worker.lease_left.map(millis),
        running: worker.running_jobs,
        // Words, numbers and lists of them: there is nothing that could not be written.
        capabilities: serde_json::to_value(&worker.capabilities).unwrap_or_default(),
        shards,
    }
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

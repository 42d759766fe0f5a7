//! `GET /health`: whether this process and the site around it can do their work. `GET /health/live`: whether it runs.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use lab_model::is_false_word;
use ops_runtime::Check;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::App;

/// How the service is. Whoever shows no token gets the first three fields only.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthAnswer {
    /// `ok`, or `degraded` when a check is bad.
    #[schema(example = "ok")]
    status: &'static str,
    /// How many hosts the catalog has.
    #[schema(example = 30)]
    hosts_loaded: usize,
    /// Whether the database answers.
    #[schema(example = true)]
    db: bool,
    /// To viewers: the names of the checks that are bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = json!(["workers"]))]
    degraded: Option<Vec<&'static str>>,
    /// To viewers, by name: `database`, `secrets`, `workers`, `pollers`, `outbox`, `catalog`; while the database was not
    /// reached yet, only the first and the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<BTreeMap<&'static str, CheckAnswer>>,
    /// To viewers: the release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "0.1.0")]
    version: Option<&'static str>,
    /// To viewers: for how long this process has run.
    #[serde(rename = "uptimeMs", skip_serializing_if = "Option::is_none")]
    #[schema(example = 86_400_000)]
    uptime_ms: Option<u64>,
}

/// One check.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckAnswer {
    /// Whether it is as it should be.
    ok: bool,
    /// What an operator should know.
    #[schema(example = "no scheduler is alive")]
    detail: Option<String>,
    /// What was measured, such as `latencyMs`, `unservedShards` or `newestSuccessAgeMs`.
    #[serde(flatten)]
    figures: BTreeMap<String, Value>,
}

impl From<Check> for CheckAnswer {
    fn from(check: Check) -> Self {
        Self {
            ok: check.ok,
            detail: check.detail,
            figures: check.figures.into_iter().collect(),
        }
    }
}

/// Whether the service and the site around it can do their work, within about three seconds whatever hangs.
///
/// With a viewer's token it says what is the matter; a service without any token says so to `?details=true`.
#[utoipa::path(
    get,
    path = "/health", operation_id = "show_health",
    tag = "service",
    params(("details" = Option<String>, Query, description = "Asks for the checks where no token is needed", example = "true")),
    responses(
        (status = 200, description = "All is well", body = HealthAnswer),
        (status = 503, description = "`degraded`: a check is bad", body = HealthAnswer),
    )
)]
pub(crate) async fn show(State(app): State<App>, request: Request) -> (StatusCode, Json<HealthAnswer>) {
    let shows_details = shows_details(&app, &request);
    let report = app.health.look().await;
    let (status, word) = if report.is_ok() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    };
    let checks = || {
        report
            .checks
            .iter()
            .map(|(name, check)| (*name, check.clone().into()))
    };
    let answer = HealthAnswer {
        status: word,
        hosts_loaded: report.hosts_loaded,
        db: report.database,
        degraded: shows_details.then(|| report.degraded().collect()),
        checks: shows_details.then(|| checks().collect()),
        version: shows_details.then_some(env!("CARGO_PKG_VERSION")),
        uptime_ms: shows_details.then(|| u64::try_from(report.uptime.as_millis()).unwrap_or(u64::MAX)),
    };
    (status, Json(answer))
}

/// A caller who has shown a token gets details; where nobody needs one, whoever asks for them.
fn shows_details(app: &App, request: &Request) -> bool {
    let asks = request
        .uri()
        .query()
        .unwrap_or_default()
        .split('&')
        .find_map(|pair| pair.strip_prefix("details="));
    match app.gate.check.asks() {
        true => app.gate.known(request).is_ok(),
        false => asks.is_some_and(|word| !is_false_word(word)),
    }
}

/// That the process runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alive {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Whether the process runs and answers, whatever the database and the hosts do: for what restarts containers.
#[utoipa::path(
    get,
    path = "/health/live", operation_id = "show_liveness",
    tag = "service",
    responses((status = 200, description = "It does", body = Alive))
)]
pub(crate) async fn live() -> Json<Alive> {
    Json(Alive { status: "alive" })
}

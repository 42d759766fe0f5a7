//! `GET /health`: whether this process can do its work, as the database itself says.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::app::App;

/// Whoever asks about health has a short patience of its own; a database that hangs is as good as one that is down.
const PATIENCE: Duration = Duration::from_secs(3);

/// 200 `ok`, or 503 `degraded` while the database does not answer.
pub(crate) async fn show(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let database = match app.handle.current() {
        Some(site) => matches!(timeout(PATIENCE, site.database.ping()).await, Ok(Ok(()))),
        None => false,
    };
    let (status, word) = if database {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    };
    let hosts = app.handle.catalog().current().hosts().len();
    (
        status,
        Json(json!({"status": word, "hosts_loaded": hosts, "db": database})),
    )
}

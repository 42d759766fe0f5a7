//! `GET /health`: whether this process can do its work, as the database itself says.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::App;

/// 200 `ok`, or 503 `degraded` while the database does not answer.
pub(crate) async fn show(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let database = match app.handle.current() {
        Some(site) => site.database.ping().await.is_ok(),
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

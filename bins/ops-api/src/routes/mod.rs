//! The routes of the contract, each in a file of its own.

mod explain;
mod health;
mod heartbeat;
mod reservations;
mod steps;
mod timeline;
mod winrm;
mod wol;
mod workers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{get, post};

use crate::app::App;
use crate::auth::{TokenCheck, require_token};
use crate::error::{in_json, not_found, wrong_method};

/// A request of the contract is a few hundred bytes.
const MAX_BODY: usize = 64 * 1024;

/// All routes, each also under `/ops`, which is how the gateway forwards them.
pub(crate) fn router(app: App) -> Router {
    let check = TokenCheck::new(app.settings().secret.as_ref());
    let guarded = Router::new()
        .route("/api/wol", post(wol::wake))
        .route("/api/winrm", post(winrm::run))
        .route("/api/heartbeat/poll", post(heartbeat::poll))
        .route("/api/reservations/start", post(reservations::start))
        .route("/api/reservations/end", post(reservations::end))
        .route("/api/reservations/timeline", get(timeline::show))
        .route("/api/reservations/{id}/explain", get(explain::reservation))
        .route("/api/hosts/{name}/explain", get(explain::host))
        .route("/api/workers", get(workers::list))
        .route("/api/workers/{name}/cordon", post(workers::cordon))
        .route("/api/workers/{name}/uncordon", post(workers::uncordon))
        .route_layer(from_fn_with_state(check, require_token));
    let open = Router::new().route("/health", get(health::show));
    let all = open.merge(guarded);
    Router::new()
        .nest("/ops", all.clone())
        .merge(all)
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(in_json))
        .with_state(app)
}

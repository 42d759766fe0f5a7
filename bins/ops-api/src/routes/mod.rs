//! The routes of the contract, each in a file of its own.

mod audit;
mod credentials;
mod document;
mod events;
mod explain;
mod guarded;
mod health;
mod heartbeat;
mod heartbeat_stream;
mod history;
mod hosts;
mod hosts_change;
mod hours;
mod maintenance;
mod metrics;
mod notifications;
mod operations;
mod requests;
mod reservation_list;
mod reservations;
mod session;
mod steps;
mod timeline;
mod winrm;
mod wol;
mod workers;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, map_response};
use axum::{Extension, Router};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answers;
use crate::app::App;
use crate::auth::Gate;
use crate::error::{in_json, not_found, wrong_method};
use crate::measured;
use guarded::Guarded;

/// All routes and their description. Each states the role it takes here, and nowhere else.
fn described(gate: Gate) -> (Router<App>, OpenApi) {
    let guarded = Guarded::new(gate)
        .operator(routes!(wol::wake))
        .operator(routes!(winrm::run))
        .operator(routes!(heartbeat::poll))
        .viewer(routes!(heartbeat_stream::stream))
        .viewer(routes!(hosts::list))
        .viewer(routes!(hosts::show))
        .viewer(routes!(history::history))
        .viewer(routes!(hours::hours))
        .viewer(routes!(events::list))
        .admin(routes!(hosts_change::reload))
        .operator(routes!(hosts_change::local_mode))
        .operator(routes!(reservations::start))
        .operator(routes!(reservations::end))
        .viewer(routes!(timeline::show))
        .viewer(routes!(reservation_list::list))
        .viewer(routes!(operations::recent))
        .viewer(routes!(operations::show))
        .viewer(routes!(operations::events))
        .admin(routes!(audit::list))
        .viewer(routes!(explain::reservation))
        .viewer(routes!(explain::host))
        .operator(routes!(maintenance::begin, maintenance::end))
        .operator(routes!(session::open))
        .viewer(routes!(document::show))
        .viewer(routes!(document::enter))
        .viewer(routes!(document::page))
        .viewer(routes!(document::asset))
        .viewer(routes!(metrics::show))
        .admin(routes!(notifications::list))
        .viewer(routes!(workers::list))
        .admin(routes!(credentials::put, credentials::list))
        .admin(routes!(credentials::remove))
        .admin(routes!(workers::cordon))
        .admin(routes!(workers::uncordon));
    let open = OpenApiRouter::new()
        .routes(routes!(health::show))
        .routes(routes!(health::live));
    let (router, document) = open.merge(guarded.into_router()).split_for_parts();
    (router, document::complete(document))
}

/// All routes, each also under `/ops`, which is how the gateway forwards them.
pub(crate) fn router(app: App) -> Router {
    let max_body = app.settings().access.limits.body_max;
    let (all, document) = described(app.gate.clone());
    Router::new()
        .nest("/ops", all.clone())
        .merge(all)
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        // What changes something was read within its bounds at the door already; nothing else reads a body.
        .layer(DefaultBodyLimit::max(max_body))
        .layer(Extension(document::Rendered::new(&document)))
        .layer(map_response(in_json))
        .layer(from_fn(answers::kept_apart))
        .layer(from_fn(answers::named))
        .layer(from_fn(measured::count))
        .with_state(app)
}

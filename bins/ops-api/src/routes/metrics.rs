//! `GET /metrics`: all figures of this process, as Prometheus reads them.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ops_runtime::metrics::{CONTENT_TYPE, catalog};

use crate::app::App;

/// Shows every figure
///
/// In the text format of Prometheus; `docs/metrics.md` names them. It answers within about two seconds also while the
/// database does not.
#[utoipa::path(
    get,
    path = "/metrics", operation_id = "show_metrics",
    tag = "service",
    responses((status = 200, description = "The figures", body = String, content_type = "text/plain",
        example = "# TYPE labops_claims_taken_total counter\nlabops_claims_taken_total 17\n"))
)]
pub(crate) async fn show(State(app): State<App>) -> Response {
    catalog::HTTP_STREAMS.set(&[], u64::try_from(app.streams.open()).unwrap_or(u64::MAX));
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], app.sampler.scrape().await).into_response()
}

//! Traces over OTLP: one for each operation, with a span for each step, as child of the request that asked for it.
//!
//! They are sent when `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Nobody waits for the collector: spans go through a bounded
//! queue, and what does not fit or is not taken is dropped and counted. Built without the feature `otlp`, all of this does
//! nothing, and the variable is refused at the start.

#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod layer;

#[cfg(feature = "otlp")]
pub(crate) use layer::layer;

use std::time::Duration;

use tracing::Span;

/// The target of spans that are for traces only.
pub(crate) const TARGET: &str = "labops::trace";

/// The span of a request that came in, whose parent is what its W3C `traceparent` (and `tracestate`) says.
#[must_use]
pub fn request_span(method: &str, route: &str, header: impl Fn(&str) -> Option<String>) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        "http.request",
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
    );
    #[cfg(feature = "otlp")]
    layer::adopt(&span, header);
    #[cfg(not(feature = "otlp"))]
    let _ = header;
    span
}

/// Waits until what was traced so far is sent or dropped, at most for `within`.
pub async fn settle(within: Duration) {
    #[cfg(feature = "otlp")]
    export::settle(within).await;
    #[cfg(not(feature = "otlp"))]
    let _ = within;
}

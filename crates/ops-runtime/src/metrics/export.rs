//! The recorder of the process, and the text of all figures.

use std::sync::OnceLock;
use std::time::Duration;

use lab_model::Clock as _;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::catalog::{BUILD_INFO, CATALOG, PROCESS_START};
use super::metric::Kind;

/// The media type of the text.
///
/// Source: Prometheus, "Exposition formats".
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often what was observed is added up when nobody asks; until then each value takes its place.
const UPKEEP: Duration = Duration::from_secs(5);

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Makes this process count, under the name of its service; a second call changes nothing. Needs a runtime.
pub fn install(service: &str) {
    let handle = HANDLE.get_or_init(|| {
        let mut builder = PrometheusBuilder::new();
        for metric in CATALOG {
            if let Kind::Histogram(bounds) = metric.kind {
                let matcher = Matcher::Full(metric.name.to_owned());
                // The only error is a list of bounds that is empty.
                builder = match builder.set_buckets_for_metric(matcher, bounds) {
                    Ok(builder) => builder,
                    Err(_) => PrometheusBuilder::new(),
                };
            }
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::debug!("an embedding program counts already");
        }
        for metric in CATALOG {
            metric.describe();
            if metric.is_enumerable() {
                metric.show();
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
        let now = lab_model::SystemClock.now().timestamp_millis() as f64 / 1000.0;
        PROCESS_START.set_to(&[], now);
        handle
    });
    BUILD_INFO.set(&[env!("CARGO_PKG_VERSION"), service], 1);
    keep_up(handle.clone());
}

/// One task for as long as the runtime lives; further ones do no harm.
fn keep_up(handle: PrometheusHandle) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            let mut tick = tokio::time::interval(UPKEEP);
            loop {
                tick.tick().await;
                handle.run_upkeep();
            }
        });
    }
}

/// The text of all figures as they are now; empty before [`install`].
#[must_use]
pub fn render() -> String {
    HANDLE.get().map(PrometheusHandle::render).unwrap_or_default()
}

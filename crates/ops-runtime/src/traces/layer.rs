//! From `tracing` spans to traces.

use std::collections::HashMap;

use opentelemetry::KeyValue;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::{TARGET, export};
use crate::settings::TraceSettings;

/// Makes the layer if traces are asked for. Needs a runtime, on which they are sent.
pub(crate) fn layer<S>(settings: &TraceSettings) -> Result<Option<impl Layer<S> + use<S>>, String>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let Some(endpoint) = &settings.endpoint else {
        return Ok(None);
    };
    let name = settings.service_name.clone().unwrap_or_else(program);
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", name),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .build();
    let processor = export::start(endpoint, &resource)?;
    let provider = SdkTracerProvider::builder()
        .with_resource(resource)
        .with_span_processor(processor)
        .build();
    let tracer = provider.tracer("lab-ops");
    // The log's filter is another one: what is traced does not depend on how much is logged. Every span between a request
    // and its operation counts, since a task that is spawned has only the innermost of them.
    let traced = filter_fn(|metadata| {
        let ours = [TARGET, "ops_api", "reservation_engine"];
        metadata.is_span()
            && *metadata.level() <= Level::INFO
            && ours.iter().any(|target| metadata.target().starts_with(target))
    });
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false);
    Ok(Some(layer.with_filter(traced)))
}

fn program() -> String {
    let program = std::env::current_exe().ok();
    let name = program
        .as_deref()
        .and_then(|path| path.file_name())
        .and_then(|name| name.to_str());
    name.unwrap_or("lab-ops").to_owned()
}

/// Makes a span the child of the one that the caller's headers name.
pub(super) fn adopt(span: &Span, header: impl Fn(&str) -> Option<String>) {
    let named: HashMap<String, String> = ["traceparent", "tracestate"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), header(name)?)))
        .collect();
    if named.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&named);
        // An error means that this span is not traced at all.
        let _ = span.set_parent(context);
    }
}

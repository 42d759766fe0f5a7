//! What a caller asks for is traced under the caller's own trace.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use crate::API;
use crate::harness::{Lab, a_collector, attribute, awake, until};
use crate::http::call;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_the_child_of_the_request_and_that_of_the_callers_span() {
    const PARENT: (&str, &str) = (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    );
    let (collector, collected) = a_collector().await;
    let lab = Lab::start(vec![awake(1)]).await;
    let lab = lab.with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}/"));
    let mut api = lab.run(API, &[]);
    let address = api.address().await;
    until("it is healthy", || async {
        (call(address, "GET", "/health", &[], "").await.status == 200).then_some(())
    })
    .await;
    let body = json!({"reservationId": "0xa1", "host": "lab-ws-01", "labId": "1"}).to_string();
    let headers = [PARENT, ("content-type", "application/json")];
    let started = call(address, "POST", "/api/reservations/start", &headers, body).await;
    assert_eq!(started.expect(200)["success"], true);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let spans = until("the request was traced", || async {
        let collected = collected.lock().unwrap();
        let ours = |span: &&Span| hex(&span.trace_id).starts_with("0af765");
        let spans: Vec<_> = collected.spans.iter().filter(ours).cloned().collect();
        // They end one after the other, so they may come in several requests.
        let has = |name: &str| spans.iter().any(|span| span.name == name);
        let known = |span: &Span| {
            hex(&span.parent_span_id) == PARENT.1[36..52]
                || spans.iter().any(|other| other.span_id == span.parent_span_id)
        };
        let whole = has("http.request") && has("operation") && spans.iter().all(known);
        whole.then_some(spans)
    })
    .await;
    let named = |name: &str| {
        spans
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("{name} in {spans:?}"))
    };
    let (request, operation) = (named("http.request"), named("operation"));
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!(
        attribute(request, "http.route").as_deref(),
        Some("/api/reservations/start")
    );
    let parent = |span: &Span| spans.iter().find(|other| other.span_id == span.parent_span_id);
    let mut ancestor = operation;
    while let Some(next) = parent(ancestor) {
        ancestor = next;
    }
    assert_eq!(ancestor.span_id, request.span_id, "{spans:?}");
    let steps: Vec<_> = spans.iter().filter(|span| span.name == "step").collect();
    let words: Vec<_> = steps
        .iter()
        .map(|span| attribute(span, "step").unwrap())
        .collect();
    assert_eq!(words, ["wake", "prepare"]);
    assert!(
        steps.iter().all(|span| span.parent_span_id == operation.span_id),
        "{steps:?}"
    );
    assert_eq!(api.terminate().await.0.code(), Some(0));
}

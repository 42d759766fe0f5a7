//! A bounded queue of spans that have ended, and the task that sends them.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::metrics::catalog::SPANS_DROPPED;

/// Spans that wait to be sent; more are dropped.
const QUEUE: usize = 2048;
/// Spans of one request at most.
const BATCH: usize = 256;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// A collector that takes longer gets nothing.
const PATIENCE: Duration = Duration::from_secs(5);

enum Order {
    Span(Box<SpanData>),
    /// Whoever waits for all before it.
    Mark(oneshot::Sender<()>),
}

/// The queue of the process, for [`settle`].
static SENDING: OnceLock<mpsc::Sender<Order>> = OnceLock::new();

/// Puts spans into the queue.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<Order>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if self.0.try_send(Order::Span(Box::new(span))).is_err() {
            SPANS_DROPPED.add(&[], 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Starts the task that sends to the collector at `endpoint`.
///
/// # Errors
/// When there can be no HTTP at all, in words.
pub(super) fn start(endpoint: &str, resource: &Resource) -> Result<Queue, String> {
    let runtime = tokio::runtime::Handle::try_current().map_err(|_| "no runtime".to_owned())?;
    let (queue, orders) = mpsc::channel(QUEUE);
    let sender = Sender {
        client: notifications::http_client()?,
        url: format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        resource: resource.into(),
    };
    runtime.spawn(sender.run(orders));
    // A second subscriber in one process is a test's.
    let _ = SENDING.set(queue.clone());
    Ok(Queue(queue))
}

/// Waits until what is in the queue was sent or dropped.
pub(super) async fn settle(within: Duration) {
    let Some(queue) = SENDING.get() else { return };
    let (mark, reached) = oneshot::channel();
    let settling = async {
        if queue.send(Order::Mark(mark)).await.is_ok() {
            // An error means that the task has ended.
            let _ = reached.await;
        }
    };
    // What is not sent by then is lost with the process.
    let _ = timeout(within, settling).await;
}

struct Sender {
    client: reqwest::Client,
    url: String,
    resource: ResourceAttributesWithSchema,
}

impl Sender {
    async fn run(self, mut orders: mpsc::Receiver<Order>) {
        while let Some(first) = orders.recv().await {
            let (spans, marks) = gather(first, &mut orders).await;
            self.send(spans).await;
            for mark in marks {
                // Whoever waited may have gone.
                let _ = mark.send(());
            }
        }
    }

    async fn send(&self, spans: Vec<SpanData>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let request = ExportTraceServiceRequest {
            resource_spans: group_spans_by_resource_and_scope(spans, &self.resource),
        };
        let sending = self
            .client
            .post(&self.url)
            .header("content-type", "application/x-protobuf")
            .timeout(PATIENCE)
            .body(request.encode_to_vec())
            .send();
        let refused = match sending.await {
            Ok(answer) if answer.status().is_success() => return,
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.without_url().to_string(),
        };
        SPANS_DROPPED.add(&[], count);
        tracing::debug!(refused, count, "the trace collector took no spans");
    }
}

/// All that comes within a moment, or fills a batch.
async fn gather(
    first: Order,
    orders: &mut mpsc::Receiver<Order>,
) -> (Vec<SpanData>, Vec<oneshot::Sender<()>>) {
    let (mut spans, mut marks) = (Vec::new(), Vec::new());
    let mut next = Some(first);
    let gathering = async {
        while let Some(order) = next.take() {
            match order {
                Order::Span(span) => spans.push(*span),
                Order::Mark(mark) => {
                    marks.push(mark);
                    return;
                }
            }
            if spans.len() == BATCH {
                return;
            }
            next = orders.recv().await;
        }
    };
    // The time is over: what has come is sent.
    let _ = timeout(GATHER, gathering).await;
    (spans, marks)
}

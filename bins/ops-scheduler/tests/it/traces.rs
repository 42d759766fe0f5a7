//! One trace for each operation with a span for each step, as a collector gets them.

use std::collections::BTreeMap;

use chrono::{TimeDelta, Utc};
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::net::TcpListener;

use crate::SCHEDULER;
use crate::harness::collector::Collected;
use crate::harness::{Lab, a_collector, attribute, awake, migrate, reservations, until};

fn check(collected: &Collected, operation: &Span) {
    assert!(
        collected.paths.iter().all(|path| path == "/v1/traces"),
        "{:?}",
        collected.paths
    );
    assert!(
        collected
            .services
            .iter()
            .all(|service| service == "the-scheduler")
    );
    let mut steps = BTreeMap::new();
    for span in collected.spans.iter().filter(|span| span.name == "step") {
        assert_eq!(span.trace_id, operation.trace_id, "in the operation's trace");
        assert_eq!(span.parent_span_id, operation.span_id);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
        steps.insert(
            attribute(span, "step").unwrap(),
            attribute(span, "attempt").unwrap(),
        );
    }
    let wanted = ["activate", "prepare", "wake"].map(|step| (step.to_owned(), "1".to_owned()));
    assert_eq!(steps, wanted.into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    reason = "the reservation begins by the clock of the program under test"
)]
async fn an_operation_is_one_trace_with_a_span_for_each_step() {
    store_support::test_support::on_sqlite(|test| async move {
        let db = test.database();
        migrate(db).await;
        let (collector, collected) = a_collector().await;
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        // What is traced does not depend on how much is logged.
        let lab = lab
            .with("OPS_LOG_LEVEL", "ERROR")
            .with("OTEL_SERVICE_NAME", "the-scheduler");
        let lab = lab.with("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
        let now = Utc::now();
        reservations::book(
            db,
            "0xa1",
            "1",
            now + TimeDelta::seconds(60),
            now + TimeDelta::hours(1),
        )
        .await;
        let scheduler = lab.run(SCHEDULER, &[]);
        let operation = until("the operation was traced", || async {
            let collected = collected.lock().unwrap();
            collected
                .spans
                .iter()
                .find(|span| span.name == "operation")
                .cloned()
        })
        .await;
        assert_eq!(attribute(&operation, "reservation.id").as_deref(), Some("0xa1"));
        assert_eq!(attribute(&operation, "host.name").as_deref(), Some("lab-ws-01"));
        assert!(operation.parent_span_id.is_empty(), "it is the root of its trace");
        check(&collected.lock().unwrap(), &operation);
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(
    clippy::disallowed_methods,
    reason = "the reservation begins by the clock of the program under test"
)]
async fn a_collector_that_hangs_is_harmless() {
    store_support::test_support::on_sqlite(|test| async move {
        let db = test.database();
        migrate(db).await;
        let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lab = Lab::start(vec![awake(1)]).await.on(&test);
        let endpoint = format!("http://{}", hangs.local_addr().unwrap());
        let lab = lab.with("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
        let now = Utc::now();
        reservations::book(db, "0xa1", "1", now, now + TimeDelta::hours(1)).await;
        let scheduler = lab.run(SCHEDULER, &[]);
        crate::running::has_status(db, "0xa1", "ACTIVE").await;
        assert_eq!(scheduler.terminate().await.0.code(), Some(0));
    })
    .await;
}

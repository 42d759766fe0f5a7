//! The same reports through the store's recorder: rows, state, hours, changes, each acknowledged after its commit.

use std::time::Duration;

use anyhow::{Context as _, Result};
use heartbeat_store::{HeartbeatStore, Keep, PollReport, Recorder, RecorderSettings, RecorderTask};
use store_support::Database;
use tokio::time::Instant;

/// How the database is written by a recorder with these settings.
fn started(db: &Database, keep: Keep, backlog: Option<usize>) -> (Recorder, RecorderTask) {
    let usual = RecorderSettings::default();
    let settings = RecorderSettings {
        keep,
        backlog_rows: backlog.unwrap_or(usual.backlog_rows),
        ..usual
    };
    Recorder::start(HeartbeatStore::new(db.clone()), settings)
}

/// From the first report that is handed over to the last that is known to be committed.
pub(crate) async fn recorder(
    db: &Database,
    reports: Vec<PollReport>,
    keep: Keep,
    backlog: Option<usize>,
) -> Result<Duration> {
    let (recorder, writer) = started(db, keep, backlog);
    let mut receipts = Vec::with_capacity(reports.len());
    let began = Instant::now();
    for report in reports {
        receipts.push(recorder.record(report).await.context("handing a report over")?);
    }
    for receipt in receipts {
        receipt.await.context("storing a report")?;
    }
    let took = began.elapsed();
    anyhow::ensure!(
        writer.close(Duration::from_secs(10)).await,
        "not everything was written"
    );
    Ok(took)
}

//! Reports of polls as the tests want them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{Heard, HostRecord, Keep, PollOutcome, PollReport, Recorder, RecorderSettings};
use lab_model::HostName;
use labstation_commands::{EventBatch, EventCursor, Piece, Resync, parse_heartbeat};
use serde_json::{Value, json};

use crate::at;

pub(crate) fn host(number: usize) -> HostRecord {
    HostRecord {
        name: HostName::parse(&format!("Lab-WS-{number:03}")).unwrap(),
        address: format!("10.0.0.{number}"),
        mac: Some("00:11:22:33:44:55".to_owned()),
    }
}

pub(crate) fn minute(number: i64) -> DateTime<Utc> {
    at("2026-03-01T09:00:00Z") + TimeDelta::minutes(number)
}

/// A document whose stamps are those of its minute.
pub(crate) fn document(at: DateTime<Utc>, ready: bool) -> Value {
    json!({
        "timestamp": at,
        "schemaVersion": "1.0.0",
        "summary": {"state": "ready", "ready": ready, "issues": []},
        "status": {"timestamp": at, "localModeEnabled": false, "localSessionActive": false},
        "operations": {"lastPowerAction": {"timestamp": "2026-02-28T20:00:00Z", "mode": "shutdown"}},
    })
}

pub(crate) fn heard(host: HostRecord, observed_at: DateTime<Utc>, document: &Value) -> PollReport {
    with_events(host, observed_at, document, None)
}

pub(crate) fn with_events(
    host: HostRecord,
    observed_at: DateTime<Utc>,
    document: &Value,
    events: Option<EventBatch>,
) -> PollReport {
    let text = document.to_string();
    let heard = Heard {
        heartbeat: parse_heartbeat(text.as_bytes()).unwrap(),
        document: text,
        events,
        booted_at: None,
    };
    PollReport {
        host,
        observed_at,
        took: Duration::from_millis(30),
        outcome: PollOutcome::Heard(Box::new(heard)),
    }
}

pub(crate) fn ready(number: usize, observed_at: DateTime<Utc>) -> PollReport {
    heard(host(number), observed_at, &document(observed_at, true))
}

pub(crate) fn failed(number: usize, observed_at: DateTime<Utc>) -> PollReport {
    PollReport {
        host: host(number),
        observed_at,
        took: Duration::from_secs(1),
        outcome: PollOutcome::Failed {
            code: "connect".to_owned(),
            text: "nobody answers".to_owned(),
        },
    }
}

/// What is read of a file that has these bytes now, from a cursor on; from its beginning where the cursor no longer fits.
pub(crate) fn read(file: &[u8], from: Option<EventCursor>) -> EventBatch {
    let piece = Piece {
        at: 0,
        bytes: file,
        is_end: true,
    };
    let (begin, resync) = match from.map(|from| from.advance(piece)) {
        Some(Ok(batch)) => return batch,
        Some(Err(why)) => (from.and_then(|from| from.find_again(piece)), Some(why)),
        None => (None, None::<Resync>),
    };
    let batch = begin.unwrap_or(EventCursor::START).advance(piece).unwrap();
    EventBatch {
        from,
        resync,
        ..batch
    }
}

pub(crate) fn line(number: usize) -> String {
    let stamp = minute(i64::try_from(number).unwrap());
    format!(
        "{}\r\n",
        json!({"timestamp": stamp, "user": format!("LAB\\user{number}"), "message": "bye"})
    )
}

/// Batches of exactly so many reports.
pub(crate) fn batches_of(rows: usize, keep: Keep) -> RecorderSettings {
    RecorderSettings {
        keep,
        batch_rows: rows,
        batch_wait: Duration::from_secs(20),
        ..RecorderSettings::default()
    }
}

/// Written as soon as there is one.
pub(crate) fn at_once() -> RecorderSettings {
    RecorderSettings {
        batch_wait: Duration::ZERO,
        ..RecorderSettings::default()
    }
}

/// Takes all reports, and waits until all are committed.
pub(crate) async fn record_all(
    recorder: &Recorder,
    reports: Vec<PollReport>,
) -> Vec<heartbeat_store::Recorded> {
    let mut receipts = Vec::new();
    for report in reports {
        receipts.push(recorder.record(report).await.unwrap());
    }
    let mut recorded = Vec::new();
    for receipt in receipts {
        recorded.push(receipt.await.unwrap());
    }
    recorded
}

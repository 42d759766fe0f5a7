//! Reports of polls as the tests want them.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{Heard, HostRecord, Keep, PollOutcome, PollReport, Recorder, RecorderSettings};
use lab_model::HostName;
use labstation_commands::{
    EventBatch, EventCursor, EventReading, EventsAnswer, EventsStep, Piece, parse_heartbeat,
};
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

/// What is read of a file that has these bytes now, from a cursor on.
pub(crate) fn read(file: &[u8], from: Option<EventCursor>) -> EventBatch {
    let long_ago = at("1970-01-02T00:00:00Z");
    let mut reading = match from {
        Some(from) => EventReading::after(from),
        None => EventReading::first_sight(Some(long_ago)),
    };
    read_on(&mut reading, Some(file), usize::MAX).unwrap().unwrap()
}

/// Answers so many questions of a reading; `None` when it has more of them, else what it came to.
pub(crate) fn read_on(
    reading: &mut EventReading,
    file: Option<&[u8]>,
    answers: usize,
) -> Option<Option<EventBatch>> {
    for _ in 0..answers {
        let step = reading.next_step();
        let answer = match (&step, file) {
            (EventsStep::Done(batch), _) => return Some(batch.clone()),
            (_, None) => EventsAnswer::Missing,
            (EventsStep::Length, Some(file)) => EventsAnswer::Length(file.len() as u64),
            (EventsStep::Part { at, length }, Some(file)) => {
                match file.get(usize::try_from(*at).unwrap()..) {
                    None => EventsAnswer::PastEnd,
                    Some(rest) => EventsAnswer::Part(Piece {
                        at: *at,
                        bytes: &rest[..rest.len().min(usize::try_from(*length).unwrap())],
                        // As curl tells it.
                        is_end: (rest.len() as u64) < *length,
                    }),
                }
            }
        };
        reading.answer(answer);
    }
    None
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
        backlog_rows: rows,
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

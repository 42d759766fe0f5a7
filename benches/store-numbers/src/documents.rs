//! The heartbeats that are written: 4 KiB each, no two alike, of many hosts.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::{Heard, HostRecord, PollOutcome, PollReport};
use lab_model::HostName;
use labstation_commands::parse_heartbeat;
use serde_json::json;

/// Bytes of a document.
pub(crate) const BYTES: usize = 4_096;

/// When the first round begins.
pub(crate) fn begin() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_513)
}

/// What a station wrote, at `at`; with another `turn` it says something else.
pub(crate) fn document(host: usize, at: DateTime<Utc>, turn: i64) -> String {
    let mut document = json!({
        "timestamp": at.to_rfc3339(),
        "host": format!("lab-ws-{host:05}"),
        "schemaVersion": "1.0.0",
        "summary": {"state": "ready", "ready": true, "issues": []},
        "status": {"localModeEnabled": false, "localSessionActive": false, "turn": turn},
        "operations": {
            "lastForcedLogoff": {"timestamp": "2026-02-28T08:30:00Z", "user": "LAB\\student"},
            "lastPowerAction": {"timestamp": "2026-02-28T20:00:00Z", "mode": "shutdown"},
        },
        "services": [],
    });
    // As a station's list of what it watches: many small members, not one long text.
    let members = (BYTES - 80 - document.to_string().len()).div_ceil(78);
    let service =
        |n| json!({"name": format!("service-{n:04}"), "state": "running", "armed": true, "pid": 4_000 + n});
    let services: Vec<_> = (0..members).map(service).collect();
    document["services"] = services.into();
    let mut text = document.to_string();
    let missing = BYTES.saturating_sub(text.len() + r#","pad":"""#.len());
    document["pad"] = "x".repeat(missing).into();
    text = document.to_string();
    text
}

/// The reports of one round, host after host, a minute after the round before.
pub(crate) fn reports(round: u32, rows: usize, hosts: usize) -> Result<Vec<PollReport>> {
    let minutes_before = i64::from(round) * (rows.div_ceil(hosts) as i64);
    (0..rows)
        .map(|n| {
            let at = begin()
                + TimeDelta::minutes(minutes_before + (n / hosts) as i64)
                + TimeDelta::milliseconds((n % hosts) as i64);
            report(n % hosts, at, at.timestamp())
        })
        .collect()
}

/// A report of each host that says the same in every round, but for its stamp.
pub(crate) fn unchanged(round: u32, hosts: usize) -> Result<Vec<PollReport>> {
    let minute = begin() + TimeDelta::minutes(i64::from(round));
    (0..hosts)
        .map(|host| report(host, minute + TimeDelta::milliseconds(host as i64), 0))
        .collect()
}

fn report(host: usize, at: DateTime<Utc>, turn: i64) -> Result<PollReport> {
    let document = document(host, at, turn);
    let mut heartbeat = parse_heartbeat(document.as_bytes()).context("reading a heartbeat of our own")?;
    // Reading a document and freeing its values are no part of storing it: the store goes by the text.
    heartbeat.raw = serde_json::Value::Null;
    Ok(PollReport {
        host: record(host)?,
        observed_at: at,
        took: Duration::from_millis(12),
        outcome: PollOutcome::Heard(Box::new(Heard {
            heartbeat,
            document,
            events: None,
            booted_at: None,
        })),
    })
}

pub(crate) fn record(host: usize) -> Result<HostRecord> {
    Ok(HostRecord {
        name: HostName::parse(&format!("lab-ws-{host:05}"))?,
        address: "10.0.0.11".to_owned(),
        mac: Some("00:11:22:33:44:55".to_owned()),
    })
}

//! Heartbeats, events and host states on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod away;
mod batches;
mod clocks;
mod cursors;
mod events;
mod heartbeats;
mod history;
mod poison;
mod polls;
mod relay;
mod rereads;
mod retention;
mod rows;
mod schema;
mod size;
mod states;

use chrono::{DateTime, Utc};
use heartbeat_store::{HeartbeatStore, HostRecord};
use lab_model::HostName;
use labstation_commands::{Heartbeat, parse_heartbeat};
use sea_orm::{ConnectionTrait as _, QueryResult};
use serde_json::{Value, json};
use store_support::Database;
use store_support::test_support::TestDatabase;

async fn a_store(test: &TestDatabase) -> HeartbeatStore {
    migrations::run(test.database().connection()).await.unwrap();
    HeartbeatStore::new(test.database().clone())
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn a_host() -> HostRecord {
    HostRecord {
        name: HostName::parse("Lab-WS-01").unwrap(),
        address: "10.0.0.11".to_owned(),
        mac: Some("00:11:22:33:44:55".to_owned()),
    }
}

/// A document as a station writes it, and its text.
fn a_report(timestamp: &str) -> (Heartbeat, String) {
    report(json!({
        "timestamp": timestamp,
        "schemaVersion": "1.0.0",
        "summary": {"state": "ready", "ready": true, "issues": []},
        "status": {"localModeEnabled": false, "localSessionActive": true},
        "operations": {
            "lastForcedLogoff": {"timestamp": "2026-03-01T08:30:00.5Z", "user": "LAB\\student"},
            "lastPowerAction": {"timestamp": "2026-02-28T20:00:00+01:00", "mode": "shutdown"},
        },
    }))
}

fn report(document: Value) -> (Heartbeat, String) {
    let text = document.to_string();
    (parse_heartbeat(text.as_bytes()).unwrap(), text)
}

async fn rows(db: &Database, sql: &str) -> Vec<QueryResult> {
    db.connection()
        .query_all_raw(db.statement(sql, []))
        .await
        .unwrap()
}

async fn count(db: &Database, sql: &str) -> i64 {
    rows(db, sql).await[0].try_get_by_index(0).unwrap()
}

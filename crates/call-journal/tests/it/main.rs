//! Calls, keys and the audit trail on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod audit;
mod calls;
mod keys;
mod retention;

use std::time::Duration;

use call_journal::{CallEnd, CallId, CallJournal, CallKind, CallState, IdempotencyKey, NewCall};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ConnectionTrait as _;
use serde_json::json;
use store_support::Database;
use store_support::test_support::TestDatabase;

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(600);

async fn a_journal(test: &TestDatabase) -> CallJournal {
    migrations::run(test.database().connection()).await.unwrap();
    keyed_journal(test.database().clone())
}

fn keyed_journal(db: Database) -> CallJournal {
    CallJournal::new(db).keyed_by(&"correct horse battery staple".into())
}

fn noon() -> DateTime<Utc> {
    "2026-03-01T12:00:00.123456Z".parse().unwrap()
}

fn minutes_later(minutes: i64) -> DateTime<Utc> {
    noon() + TimeDelta::minutes(minutes)
}

fn a_call() -> NewCall {
    NewCall {
        id: CallId::random(),
        kind: CallKind::Start,
        host: Some("lab-ws-01".to_owned()),
        reservation: Some("0xaa".to_owned()),
        lab: Some("7".to_owned()),
        caller: "gateway".to_owned(),
        request_id: Some("req-1".to_owned()),
        key: None,
        request: r#"{"wake":true}"#.to_owned(),
        worker: "api@gw".to_owned(),
        at: noon(),
        begun: false,
    }
}

fn keyed(key: &str) -> NewCall {
    NewCall {
        key: Some(IdempotencyKey::parse(key).unwrap()),
        ..a_call()
    }
}

fn success() -> CallEnd {
    CallEnd::new(CallState::Succeeded, 200, json!({"success": true}))
}

async fn run(db: &Database, sql: &str) {
    db.connection().execute_unprepared(sql).await.unwrap();
}

async fn count(db: &Database, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    let row = db
        .connection()
        .query_one_raw(db.statement(&sql, []))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

//! Rows written by hand, for tests of what reads them and of what takes them away.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait as _, Value};
use store_support::Database;

/// Rows in one `INSERT`.
const CHUNK: usize = 500;

/// Inserts rows of the same columns, several at once.
pub(crate) async fn insert(db: &Database, into: &str, rows: &[Vec<Value>]) {
    for rows in rows.chunks(CHUNK) {
        let row = format!("({})", vec!["?"; rows[0].len()].join(", "));
        let sql = format!("INSERT INTO {into} VALUES {}", vec![row; rows.len()].join(", "));
        let values = rows.iter().flatten().cloned();
        let done = db
            .connection()
            .execute_raw(db.statement(&sql, values))
            .await
            .unwrap();
        assert_eq!(done.rows_affected() as usize, rows.len());
    }
}

/// Hosts `h-0`, `h-1` and so on, with the ids 1, 2 and so on.
pub(crate) async fn hosts(db: &Database, count: i64, now: DateTime<Utc>) {
    let now = now.naive_utc();
    let row = |n: i64| {
        let name = format!("h-{n}");
        vec![
            (n + 1).into(),
            name.into(),
            "10.0.0.1".into(),
            now.into(),
            now.into(),
        ]
    };
    let rows: Vec<_> = (0..count).map(row).collect();
    insert(db, "lab_hosts (id, name, address, created_at, updated_at)", &rows).await;
}

/// One report.
pub(crate) fn report(host_id: i64, at: DateTime<Utc>, raw: &str) -> Vec<Value> {
    vec![
        host_id.into(),
        at.naive_utc().into(),
        true.into(),
        raw.into(),
        at.naive_utc().into(),
    ]
}

pub(crate) const REPORTS: &str = "lab_host_heartbeat (host_id, timestamp_utc, ready, raw_json, created_at)";

/// One change.
pub(crate) fn change(host: &str, field: &str, at: DateTime<Utc>, new: Option<&str>) -> Vec<Value> {
    let new = new.map(str::to_owned);
    vec![host.into(), at.naive_utc().into(), field.into(), new.into()]
}

pub(crate) const CHANGES: &str = "ops_host_changes (host_name, at, field, new_value)";

/// One event.
pub(crate) fn event(host_id: i64, at: DateTime<Utc>, payload: &str) -> Vec<Value> {
    let at = at.naive_utc();
    vec![
        host_id.into(),
        "session-guard".into(),
        at.into(),
        payload.into(),
        at.into(),
    ]
}

pub(crate) const EVENTS: &str = "lab_host_events (host_id, kind, timestamp_utc, payload, created_at)";

/// When a host was last heard of, and its last report.
pub(crate) fn state(host: &str, heard_at: DateTime<Utc>, report: Option<i64>) -> Vec<Value> {
    let at = heard_at.naive_utc();
    vec![host.into(), at.into(), at.into(), report.into(), at.into()]
}

pub(crate) const STATES: &str =
    "ops_host_state (host_name, last_attempt_at, last_success_at, last_heartbeat_id, updated_at)";

/// What was counted in an hour: polls that each took 12 ms but the last, which took 3 s.
pub(crate) fn hour(host: &str, at: DateTime<Utc>, polls: i64, failures: i64, ready_ms: i64) -> Vec<Value> {
    let known: i64 = 3_600_000;
    vec![
        host.into(),
        at.naive_utc().into(),
        polls.into(),
        failures.into(),
        ready_ms.into(),
        known.into(),
        0.into(),
        1.into(),
        (polls - 1).into(),
        1.into(),
    ]
}

pub(crate) const HOURS: &str =
    "ops_host_hours (host_name, hour, polls, failures, ready_ms, known_ms, local_ms, boots, b2, b12)";

//! Migrating real databases: empty, shared, interrupted, and from many processes at once.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod adoption;
mod running;

use sea_orm::{ConnectionTrait as _, QueryResult};
use store_support::{Backend, Database};

/// Tables that belong to others as well.
const OLDER: [&str; 5] = [
    "lab_hosts",
    "lab_host_heartbeat",
    "lab_host_events",
    "reservation_operations",
    "lab_reservations",
];
/// Tables that are ours.
const OURS: [&str; 20] = [
    "ops_leases",
    "ops_operations",
    "ops_attempts",
    "ops_host_state",
    "ops_host_timings",
    "ops_workers",
    "ops_calls",
    "ops_audit",
    "ops_maintenance",
    "ops_credentials",
    "ops_notices",
    "ops_alerts",
    "ops_silences",
    "ops_gone_receivers",
    "ops_signals",
    "ops_event_cursors",
    "ops_host_changes",
    "ops_host_hours",
    "ops_heartbeat_writers",
    "ops_retention",
];

async fn run_sql(db: &Database, sql: &str) -> u64 {
    match db.connection().execute_unprepared(sql).await {
        Ok(done) => done.rows_affected(),
        Err(error) => panic!("{error}: {sql}"),
    }
}

async fn rows(db: &Database, sql: &str) -> Vec<QueryResult> {
    db.connection()
        .query_all_raw(db.statement(sql, []))
        .await
        .unwrap_or_else(|error| panic!("{error}: {sql}"))
}

async fn count(db: &Database, sql: &str) -> i64 {
    rows(db, sql).await[0].try_get_by_index(0).unwrap()
}

/// How the database itself describes a table: columns, keys and all.
async fn definition(db: &Database, table: &str) -> String {
    match db.backend() {
        Backend::MySql => rows(db, &format!("SHOW CREATE TABLE {table}")).await[0]
            .try_get_by_index(1)
            .unwrap(),
        Backend::Sqlite => {
            let sql = format!("SELECT sql FROM sqlite_master WHERE name = '{table}'");
            rows(db, &sql).await[0].try_get_by_index(0).unwrap()
        }
    }
}

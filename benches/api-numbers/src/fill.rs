//! What is in the database before anything is asked.

use anyhow::{Context as _, Result};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use sea_orm::ConnectionTrait as _;
use store_support::Database;

/// The page of one reservation's timeline.
pub(crate) const TIMELINE: &str = "/api/reservations/timeline?reservationId=bench-0";
/// Operations of one reservation.
const EACH: usize = 20;
/// What a station reports, shortened.
const DOCUMENT: &str = r#"{"timestamp": "2026-01-01T09:00:00Z", "summary": {"ready": true, "issues": []}, "status": {"localModeEnabled": false, "localSessionActive": false, "services": {"agent": "running", "guard": "running"}}, "operations": []}"#;
/// Rows in one `INSERT`.
const CHUNK: usize = 1000;

/// Every host was polled a moment ago and has a reservation that runs.
pub(crate) async fn fleet(database: &Database, hosts: usize) -> Result<()> {
    let now = now();
    let stamp = now.naive_utc();
    let known = (0..hosts).map(|n| format!("({}, 'host-{n}', '10.0.0.1', '{stamp}')", n + 1));
    insert(database, "lab_hosts (id, name, address, last_seen)", known).await?;
    let reports = (0..hosts).map(|n| {
        format!(
            "({id}, {id}, '{stamp}', 1, 0, 0, '{DOCUMENT}', '{stamp}')",
            id = n + 1
        )
    });
    let columns = "lab_host_heartbeat (id, host_id, timestamp_utc, ready, local_mode, local_session, raw_json, created_at)";
    insert(database, columns, reports).await?;
    let state = (0..hosts).map(|n| {
        format!(
            "('host-{n}', '{stamp}', '{stamp}', 0, 1, 0, 0, '{stamp}', 12, {id}, '{stamp}')",
            id = n + 1
        )
    });
    let columns = "ops_host_state (host_name, last_attempt_at, last_success_at, failures_in_row, ready, local_mode, \
                   local_session, reported_at, clock_offset_ms, last_heartbeat_id, updated_at)";
    insert(database, columns, state).await?;
    let (start, end) = (
        (now - TimeDelta::minutes(10)).naive_utc(),
        (now + TimeDelta::hours(2)).naive_utc(),
    );
    let booked = (0..hosts).map(|n| format!("('bench-{n}', '0xde', '{n}', '{start}', '{end}', 'ACTIVE')"));
    let columns = "lab_reservations (transaction_hash, wallet_address, lab_id, start_time, end_time, status)";
    insert(database, columns, booked).await
}

/// Brings the history to `rows` rows, 20 of each reservation.
pub(crate) async fn history(database: &Database, rows: usize) -> Result<()> {
    let read = database.statement("SELECT COUNT(*) FROM reservation_operations", []);
    let row = database.connection().query_one_raw(read).await?;
    let there: i64 = row.context("no count")?.try_get_by_index(0)?;
    let there = usize::try_from(there)?;
    let now = now();
    let new = (there..rows).map(|n| {
        let at = (now - TimeDelta::seconds(i64::try_from(rows - n).unwrap_or(0))).naive_utc();
        let (reservation, host) = (n / EACH, n / EACH % 1000);
        format!(
            "('bench-{reservation}', '{host}', 'host-{host}', 'prepare', 'completed', 1, 0, 1234, \
             '{{\"exitCode\": 0, \"stdout\": \"done\", \"stderr\": \"\", \"args\": [\"--guard-grace=90\"]}}', \
             'Exit code 0', '{at}')"
        )
    });
    let columns = "reservation_operations (reservation_id, lab_id, host, action, status, success, response_code, \
                   duration_ms, payload, message, created_at)";
    insert(database, columns, new).await
}

async fn insert(database: &Database, columns: &str, rows: impl Iterator<Item = String>) -> Result<()> {
    let mut rows = rows.peekable();
    while rows.peek().is_some() {
        let part: Vec<String> = rows.by_ref().take(CHUNK).collect();
        let sql = format!("INSERT INTO {columns} VALUES {}", part.join(", "));
        database
            .connection()
            .execute_unprepared(&sql)
            .await
            .with_context(|| format!("filling {columns}"))?;
    }
    Ok(())
}

fn now() -> DateTime<Utc> {
    #[expect(
        clippy::disallowed_methods,
        reason = "rows of today, as the service's own clock has it"
    )]
    Utc::now().trunc_subsecs(0)
}

//! Many rows in every table, made by the database itself.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ConnectionTrait as _;
use store_support::{Backend, Database};

/// How many hosts the rows are of.
pub(crate) const HOSTS: i64 = 100;
/// A short document, so that a million of them fit.
const DOCUMENT_BYTES: usize = 400;

/// When the first rows are of.
pub(crate) fn begin() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_454)
}

/// `rows` rows in each table: of each host one a minute, and an hour for each row of the hours.
pub(crate) async fn tables(db: &Database, rows: i64) -> Result<()> {
    let numbers = numbers(db.backend(), rows);
    let at = |seconds: &str| instant(db.backend(), seconds);
    let turn = match db.backend() {
        Backend::MySql => format!("(n DIV {HOSTS})"),
        Backend::Sqlite => format!("(n / {HOSTS})"),
    };
    let minute = at(&format!("{turn} * 60"));
    let hour = at(&format!("{turn} * 3600"));
    let host = name(db.backend(), &format!("n % {HOSTS}"));
    let id = format!("1 + n % {HOSTS}");
    let document = format!("{{\"pad\": \"{}\"}}", "x".repeat(DOCUMENT_BYTES));
    let last = rows - HOSTS;
    let hosts = self::numbers(db.backend(), HOSTS);
    let end = at(&((rows / HOSTS) * 60).to_string());
    let field = format!(
        "CASE {turn} % 5 WHEN 0 THEN 'ready' WHEN 1 THEN 'local_mode' WHEN 2 THEN 'local_session' \
         WHEN 3 THEN 'power' ELSE 'boot' END"
    );
    for sql in [
        format!("INSERT INTO lab_hosts (id, name, address) SELECT 1 + n, {host}, '10.0.0.1' FROM {hosts}"),
        format!(
            "INSERT INTO ops_host_state (host_name, last_attempt_at, last_success_at, ready, last_heartbeat_id, updated_at) \
             SELECT {host}, {end}, {end}, 1, {last} + 1 + n, {end} FROM {hosts}"
        ),
        format!(
            "INSERT INTO lab_host_heartbeat (host_id, timestamp_utc, ready, raw_json, created_at) \
             SELECT {id}, {minute}, 1, '{document}', {minute} FROM {numbers}"
        ),
        format!(
            "INSERT INTO lab_host_events (host_id, kind, timestamp_utc, payload, created_at) \
             SELECT {id}, 'session-guard', {minute}, '{{\"user\": \"student\"}}', {minute} FROM {numbers}"
        ),
        format!(
            "INSERT INTO ops_host_changes (host_name, at, field, old_value, new_value) \
             SELECT {host}, {minute}, {field}, 'true', 'false' FROM {numbers}"
        ),
        format!(
            "INSERT INTO ops_host_hours (host_name, hour, polls, failures, ready_ms, known_ms, boots, b2) \
             SELECT {host}, {hour}, 58, 2, 3000000, 3500000, 1, 58 FROM {numbers}"
        ),
    ] {
        db.connection().execute_unprepared(&sql).await?;
    }
    for table in [
        "lab_host_heartbeat",
        "lab_host_events",
        "ops_host_changes",
        "ops_host_hours",
    ] {
        let mysql = if db.backend() == Backend::MySql {
            "TABLE "
        } else {
            ""
        };
        db.connection()
            .execute_unprepared(&format!("ANALYZE {mysql}{table}"))
            .await?;
    }
    Ok(())
}

/// A table `s` with the column `n`, from 0.
fn numbers(backend: Backend, rows: i64) -> String {
    let last = rows - 1;
    match backend {
        Backend::MySql => format!("(SELECT seq AS n FROM seq_0_to_{last}) s"),
        Backend::Sqlite => format!(
            "(WITH RECURSIVE c(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM c WHERE n < {last}) SELECT n FROM c) s"
        ),
    }
}

fn name(backend: Backend, number: &str) -> String {
    match backend {
        Backend::MySql => format!("CONCAT('h-', {number})"),
        Backend::Sqlite => format!("'h-' || ({number})"),
    }
}

fn instant(backend: Backend, seconds: &str) -> String {
    let begin = begin().timestamp();
    match backend {
        Backend::MySql => format!("FROM_UNIXTIME({begin} + {seconds})"),
        Backend::Sqlite => format!("strftime('%Y-%m-%d %H:%M:%S', {begin} + {seconds}, 'unixepoch')"),
    }
}

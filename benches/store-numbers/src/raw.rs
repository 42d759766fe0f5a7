//! The same rows without the store: as fast as the database takes them.

use std::time::Duration;

use anyhow::Result;
use chrono::NaiveDateTime;
use heartbeat_store::{PollOutcome, PollReport};
use sea_orm::{ConnectionTrait as _, Value};
use store_support::{Database, DbErr, transaction};
use tokio::time::Instant;

/// What a row of `lab_host_heartbeat` holds.
pub(crate) const COLUMNS: &str = "host_id, timestamp_utc, ready, local_mode, local_session, last_forced_logoff_ts, \
                                  last_forced_logoff_user, last_power_action_ts, last_power_action_mode, raw_json, created_at";
const VALUES: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// Rows in one statement: 2 MiB of documents.
const CHUNK: usize = 500;

/// One row's values.
pub(crate) struct Row<'a> {
    pub(crate) host_id: i64,
    pub(crate) at: NaiveDateTime,
    pub(crate) document: &'a str,
}

impl<'a> Row<'a> {
    /// The host's id is its number and one.
    pub(crate) fn of(n: usize, hosts: usize, report: &'a PollReport) -> Option<Self> {
        let PollOutcome::Heard(heard) = &report.outcome else {
            return None;
        };
        Some(Self {
            host_id: (n % hosts) as i64 + 1,
            at: report.observed_at.naive_utc(),
            document: &heard.document,
        })
    }

    fn values(&self) -> [Value; 11] {
        let earlier = self.at - chrono::TimeDelta::hours(20);
        [
            self.host_id.into(),
            self.at.into(),
            true.into(),
            false.into(),
            false.into(),
            earlier.into(),
            "LAB\\student".into(),
            earlier.into(),
            "shutdown".into(),
            self.document.into(),
            self.at.into(),
        ]
    }
}

pub(crate) fn rows(reports: &[PollReport], hosts: usize) -> Vec<Row<'_>> {
    let numbered = reports.iter().enumerate();
    numbered
        .filter_map(|(n, report)| Row::of(n, hosts, report))
        .collect()
}

/// The hosts that the rows refer to.
pub(crate) async fn hosts(db: &Database, count: usize) -> Result<()> {
    for from in (0..count).step_by(CHUNK) {
        let rows: Vec<String> = (from..count.min(from + CHUNK))
            .map(|n| format!("({}, 'lab-ws-{n:05}', '10.0.0.11')", n + 1))
            .collect();
        let sql = format!(
            "INSERT INTO lab_hosts (id, name, address) VALUES {}",
            rows.join(", ")
        );
        db.connection().execute_unprepared(&sql).await?;
    }
    Ok(())
}

/// Statements of 500 rows, each committed by itself.
pub(crate) async fn multi_row(db: &Database, reports: &[PollReport], hosts: usize) -> Result<Duration> {
    let began = Instant::now();
    let all = rows(reports, hosts);
    for rows in all.chunks(CHUNK) {
        let sql = format!(
            "INSERT INTO lab_host_heartbeat ({COLUMNS}) VALUES {}",
            vec![VALUES; rows.len()].join(", ")
        );
        let values = rows.iter().flat_map(Row::values);
        db.connection().execute_raw(db.statement(&sql, values)).await?;
    }
    Ok(began.elapsed())
}

/// One statement, prepared once by the driver, for each row; one transaction for every `in_one` of them.
pub(crate) async fn prepared(
    db: &Database,
    reports: &[PollReport],
    hosts: usize,
    in_one: usize,
) -> Result<Duration> {
    let began = Instant::now();
    let sql = format!("INSERT INTO lab_host_heartbeat ({COLUMNS}) VALUES {VALUES}");
    let all = rows(reports, hosts);
    for rows in all.chunks(in_one) {
        let sql = &sql;
        transaction(db, |tx| {
            Box::pin(async move {
                for row in rows {
                    tx.execute_raw(db.statement(sql, row.values())).await?;
                }
                Ok::<_, DbErr>(())
            })
        })
        .await?;
    }
    Ok(began.elapsed())
}

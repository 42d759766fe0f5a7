//! What `ops_host_hours` counted: an hour of a host, or of all hosts together.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, QueryResult, Statement, Value};
use store_support::{Database, DbErr};

use crate::history::{AskProblem, HistoryError};
use crate::latency::{BUCKETS, Latencies};
use crate::store::{HeartbeatStore, HeartbeatStoreError};
use crate::tables::Tables;

/// The longest window for one host: a leap year.
const MAX_DAYS: u32 = 366;
/// The longest window for all hosts: each hour is as many rows as there are hosts.
const MAX_DAYS_OF_ALL: u32 = 31;

/// What was counted in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HourCount {
    /// When the hour begins.
    pub hour: DateTime<Utc>,
    /// How many hosts it is about.
    pub hosts: u64,
    /// How many polls there were.
    pub polls: u64,
    /// How many of them brought no report.
    pub failures: u64,
    /// How many boots were seen.
    pub boots: u64,
    /// For how long somebody knew how the host was; of several hosts, all their times together.
    pub known: Duration,
    /// For how much of that it was ready.
    pub ready: Duration,
    /// For how much of it it was in local mode.
    pub local: Duration,
    /// How long the good polls took.
    pub latencies: Latencies,
}

impl HourCount {
    /// Which share of the known time the host was ready, from 0 to 1; `None` when nothing is known.
    #[must_use]
    pub fn ready_share(&self) -> Option<f64> {
        (!self.known.is_zero()).then(|| (self.ready.as_secs_f64() / self.known.as_secs_f64()).min(1.0))
    }
}

impl HeartbeatStore {
    /// Gives what was counted in each hour that begins in `[from, to)`, of one host (at most 366 days) or of all together
    /// (at most 31 days). An hour in which nobody polled is left out.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn hours(
        &self,
        host: Option<&HostName>,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<HourCount>, HistoryError> {
        check(host.is_some(), from, to)?;
        let read = hours(&self.db, &self.tables, host, from, to);
        let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await;
        let counts = rows.and_then(|rows| rows.iter().map(count).collect());
        Ok(counts.map_err(HeartbeatStoreError::from("read what was counted"))?)
    }
}

fn check(one_host: bool, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), AskProblem> {
    if to <= from {
        return Err(AskProblem::EmptyWindow);
    }
    if [from, to]
        .into_iter()
        .any(|at| crate::columns::microseconds(at).is_none())
    {
        return Err(AskProblem::BeyondTheCalendar);
    }
    let max_days = if one_host { MAX_DAYS } else { MAX_DAYS_OF_ALL };
    if to - from > TimeDelta::days(i64::from(max_days)) {
        return Err(AskProblem::LongWindow { max_days });
    }
    Ok(())
}

/// What is summed, in the order in which it is read.
const SUMS: [&str; 6] = ["polls", "failures", "boots", "known_ms", "ready_ms", "local_ms"];

pub(crate) fn hours(
    db: &Database,
    tables: &Tables,
    host: Option<&HostName>,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Statement {
    let buckets = (0..BUCKETS).map(|bucket| format!("b{bucket}"));
    let columns = SUMS.iter().map(|&column| column.to_owned()).chain(buckets);
    // Sums are decimals on MySQL, and have to be whole numbers of 64 bits.
    let signed = |column: String| match host {
        Some(_) => format!("CAST({column} AS SIGNED)"),
        None => format!("CAST(SUM({column}) AS SIGNED)"),
    };
    let columns: Vec<String> = columns.map(signed).collect();
    let table = &tables.hours;
    let mut values: Vec<Value> = Vec::new();
    let (hosts, of_host, group) = match host {
        Some(host) => {
            values.push(host.key().into());
            ("1", "host_name = ? AND ", "")
        }
        None => ("COUNT(*)", "", "GROUP BY hour "),
    };
    values.extend([from.naive_utc().into(), to.naive_utc().into()]);
    let sql = format!(
        "SELECT hour, CAST({hosts} AS SIGNED), {} FROM {table} WHERE {of_host}hour >= ? AND hour < ? {group}ORDER BY hour",
        columns.join(", ")
    );
    db.statement(&sql, values)
}

fn count(row: &QueryResult) -> Result<HourCount, DbErr> {
    let number = |at: usize| Ok::<_, DbErr>(row.try_get_by_index::<i64>(at)?.unsigned_abs());
    let millis = |at: usize| number(at).map(Duration::from_millis);
    let mut latencies = Latencies::default();
    for (bucket, polls) in latencies.0.iter_mut().enumerate() {
        *polls = number(2 + SUMS.len() + bucket)?;
    }
    Ok(HourCount {
        hour: row.try_get_by_index::<NaiveDateTime>(0)?.and_utc(),
        hosts: number(1)?,
        polls: number(2)?,
        failures: number(3)?,
        boots: number(4)?,
        known: millis(5)?,
        ready: millis(6)?,
        local: millis(7)?,
        latencies,
    })
}

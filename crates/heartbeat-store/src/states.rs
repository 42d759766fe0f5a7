//! `ops_host_state`: one row per host, with what the last poll brought and how many failed since the last
//! good one.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, QueryResult};
use store_support::DbErr;

use crate::batch::{STATE_COLUMNS, StateRow};
use crate::heartbeats::PowerMark;
use crate::hosts::HostRecord;
use crate::report::{PollOutcome, PollReport};
use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// How many hosts a fleet view shows at most.
const MAX_HOSTS: u64 = 100_000;

/// Why the last poll of a host failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollFailure {
    /// Stable and machine-readable.
    pub code: String,
    /// One line for the operator.
    pub text: String,
}

/// How a host was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostState {
    /// The host's name in the form that is compared: lower case.
    pub host: String,
    /// When it was last polled, by our clock.
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// When a poll last brought a report, by our clock.
    pub last_success_at: Option<DateTime<Utc>>,
    /// How many polls failed since.
    pub failures_in_row: u32,
    /// Why the last one failed; `None` after a good one.
    pub last_failure: Option<PollFailure>,
    /// Whether the station said it was ready, in the last report.
    pub ready: Option<bool>,
    /// Whether it said it was in local mode.
    pub local_mode: Option<bool>,
    /// Whether it said somebody local was logged on.
    pub local_session: Option<bool>,
    /// When it wrote the last report, by its own clock.
    pub reported_at: Option<DateTime<Utc>>,
    /// How far the report's stamp was ahead of its arrival; negative when behind. Holds the age of the report
    /// too.
    pub clock_offset: Option<TimeDelta>,
    /// When its guard last logged somebody off, by its own clock.
    pub last_forced_logoff_at: Option<DateTime<Utc>>,
    /// Row id of the last stored report in `lab_host_heartbeat`; the last report had the same document, unless it was
    /// set aside.
    pub last_heartbeat_id: Option<i64>,
    /// When a row of its own was last stored for a report, or refused by the database, by our clock.
    pub stored_at: Option<DateTime<Utc>>,
    /// Why the document of the last report has no row.
    pub set_aside: Option<String>,
    /// The last power order the station knew of.
    pub last_power: Option<PowerMark>,
    /// When the host booted, by our clock.
    pub booted_at: Option<DateTime<Utc>>,
    /// How long the last good poll took.
    pub took: Option<Duration>,
}

impl HeartbeatStore {
    /// Stores that a poll failed. What the last good one brought is kept.
    ///
    /// `code` is cut to 64 and `text` to 512 characters.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn record_failure(
        &self,
        host: &HostName,
        code: &str,
        text: &str,
        at: DateTime<Utc>,
    ) -> Result<(), HeartbeatStoreError> {
        let report = PollReport {
            host: HostRecord {
                name: host.clone(),
                address: String::new(),
                mac: None,
            },
            observed_at: at,
            took: Duration::ZERO,
            outcome: PollOutcome::Failed {
                code: code.to_owned(),
                text: text.to_owned(),
            },
        };
        self.record_report(report).await.map(|_| ())
    }

    /// Gives the state of one host; `None` when it was never polled.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn host_state(&self, host: &HostName) -> Result<Option<HostState>, HeartbeatStoreError> {
        let sql = format!(
            "SELECT {} FROM {} WHERE host_name = ?",
            STATE_COLUMNS.join(", "),
            self.tables.state
        );
        let read = self.db.statement(&sql, [host.key().into()]);
        let row = self.db.bounded(self.db.connection().query_one_raw(read)).await;
        row.and_then(|row| row.map(|row| StateRow::read(&row, self.db.backend())).transpose())
            .map(|row| row.map(HostState::from))
            .map_err(HeartbeatStoreError::from("read a host's state"))
    }

    /// Gives the state of every host that was ever polled, by name; at most 100,000.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn host_states(&self) -> Result<Vec<HostState>, HeartbeatStoreError> {
        let sql = format!(
            "SELECT {} FROM {} ORDER BY host_name LIMIT {MAX_HOSTS}",
            STATE_COLUMNS.join(", "),
            self.tables.state
        );
        let read = self.db.statement(&sql, []);
        let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await;
        let state = |row: &QueryResult| StateRow::read(row, self.db.backend()).map(HostState::from);
        rows.and_then(|rows| rows.iter().map(state).collect::<Result<Vec<_>, DbErr>>())
            .map_err(HeartbeatStoreError::from("read the hosts' states"))
    }
}

impl From<StateRow> for HostState {
    fn from(row: StateRow) -> Self {
        let utc = |at: Option<NaiveDateTime>| at.map(|at| at.and_utc());
        Self {
            host: row.host_name,
            last_attempt_at: utc(row.last_attempt_at),
            last_success_at: utc(row.last_success_at),
            failures_in_row: u32::try_from(row.failures_in_row).unwrap_or(0),
            last_failure: row.last_error_code.map(|code| PollFailure {
                code,
                text: row.last_error.unwrap_or_default(),
            }),
            ready: row.ready,
            local_mode: row.local_mode,
            local_session: row.local_session,
            reported_at: utc(row.reported_at),
            clock_offset: row.clock_offset_ms.and_then(TimeDelta::try_milliseconds),
            last_forced_logoff_at: utc(row.last_forced_logoff_ts),
            last_heartbeat_id: row.last_heartbeat_id,
            stored_at: utc(row.stored_at),
            set_aside: row.set_aside,
            last_power: (row.power_at.is_some() || row.power_mode.is_some()).then(|| PowerMark {
                timestamp: utc(row.power_at),
                mode: row.power_mode,
            }),
            booted_at: utc(row.booted_at),
            took: row
                .took_ms
                .and_then(|ms| u64::try_from(ms).ok())
                .map(Duration::from_millis),
        }
    }
}

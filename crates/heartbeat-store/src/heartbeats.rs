//! `lab_host_heartbeat`: reports as the older worker wrote them, with the arrival time in `created_at`.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use lab_model::HostName;
use labstation_commands::Heartbeat;
use sea_orm::{ConnectionTrait as _, QueryResult};
use serde_json::Value;
use store_support::DbErr;

use crate::hosts::HostRecord;
use crate::prepared::Prepared;
use crate::report::{Heard, PollOutcome, PollReport, Recorded};
use crate::settle;
use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// The columns of [`StoredHeartbeat::read`].
const COLUMNS: &str = "b.id, b.timestamp_utc, b.created_at, b.ready, b.local_mode, b.local_session, \
                       b.last_power_action_ts, b.last_power_action_mode, b.last_forced_logoff_ts, \
                       b.last_forced_logoff_user, b.raw_json";

/// The last power order a station knew of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PowerMark {
    /// When, by the station's clock.
    pub timestamp: Option<DateTime<Utc>>,
    /// `shutdown` or `hibernate`.
    pub mode: Option<String>,
}

/// The last time a station's guard logged somebody off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoffMark {
    /// When, by the station's clock.
    pub timestamp: Option<DateTime<Utc>>,
    /// Who.
    pub user: Option<String>,
}

/// A stored report. Stamps have whole seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredHeartbeat {
    /// Row id in `lab_host_heartbeat`.
    pub id: i64,
    /// When the station wrote it, by the station's clock; the arrival time when it did not say.
    pub timestamp: DateTime<Utc>,
    /// When it arrived, by our clock.
    pub observed_at: DateTime<Utc>,
    /// Whether the station said it was ready.
    pub ready: Option<bool>,
    /// Whether the station said it was in local mode.
    pub local_mode: Option<bool>,
    /// Whether it said somebody local was logged on.
    pub local_session: Option<bool>,
    /// The last power order it knew of.
    pub last_power: PowerMark,
    /// The last forced log-off it knew of.
    pub last_forced_logoff: LogoffMark,
    /// The whole document; a text when an older writer stored something that is not JSON.
    pub raw: Value,
}

impl HeartbeatStore {
    /// Stores one report as a [`Recorder`](crate::Recorder) stores many: the host's row with `last_seen`, a row of
    /// `lab_host_heartbeat` (see [`HeartbeatStore::keeping`]), what changed, and the host's state with the failures
    /// reset; all of it or nothing. `raw` is the document as text; where it is not strict JSON (raw control characters,
    /// say) the parsed form is stored, so that other readers can read it.
    ///
    /// Over-long texts are cut to their column. A stamp that is absent or cannot be stored becomes
    /// `observed_at`. A document that the database refuses is set aside with the reason, and the rest is stored.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`]; nothing is stored then, but for an answer that was lost.
    pub async fn record(
        &self,
        host: &HostRecord,
        heartbeat: &Heartbeat,
        raw: &str,
        observed_at: DateTime<Utc>,
    ) -> Result<Recorded, HeartbeatStoreError> {
        let heard = Heard {
            heartbeat: heartbeat.clone(),
            document: raw.to_owned(),
            events: None,
            booted_at: None,
        };
        self.record_report(PollReport {
            host: host.clone(),
            observed_at,
            took: Duration::ZERO,
            outcome: PollOutcome::Heard(Box::new(heard)),
        })
        .await
    }

    /// Stores one report, of whatever outcome, with its events.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`]; nothing is stored then, but for an answer that was lost.
    pub async fn record_report(&self, report: PollReport) -> Result<Recorded, HeartbeatStoreError> {
        settle::one(self, &Prepared::of(report), "record a heartbeat").await
    }

    /// Gives the report of a host that arrived last; `None` when there is none. When the host reported the same document
    /// again since, its two stamps are those of the last time.
    ///
    /// Only reports that were stored here have an arrival order; before the first of them, the newest by the
    /// station's clock is given.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn latest(&self, host: &HostName) -> Result<Option<StoredHeartbeat>, HeartbeatStoreError> {
        self.db
            .bounded(self.find_latest(host))
            .await
            .map_err(HeartbeatStoreError::from("read a heartbeat"))
    }

    async fn find_latest(&self, host: &HostName) -> Result<Option<StoredHeartbeat>, DbErr> {
        let db = self.db.connection();
        let (heartbeats, state) = (&self.tables.heartbeats, &self.tables.state);
        let sql = format!(
            "SELECT {COLUMNS}, s.last_success_at, s.reported_at, s.set_aside FROM {state} s \
             JOIN {heartbeats} b ON b.id = s.last_heartbeat_id WHERE s.host_name = ?"
        );
        let read = self.db.statement(&sql, [host.key().into()]);
        if let Some(row) = db.query_one_raw(read).await? {
            let mut found = StoredHeartbeat::read(&row)?;
            let heard_at: Option<NaiveDateTime> = row.try_get_by_index(11)?;
            let reported_at: Option<NaiveDateTime> = row.try_get_by_index(12)?;
            let is_aside = row.try_get_by_index::<Option<String>>(13)?.is_some();
            if let Some(heard_at) = heard_at.filter(|_| !is_aside) {
                found.observed_at = heard_at.and_utc().trunc_subsecs(0);
                found.timestamp = reported_at.unwrap_or(heard_at).and_utc().trunc_subsecs(0);
            }
            return Ok(Some(found));
        }
        let sql = format!(
            "SELECT {COLUMNS} FROM {heartbeats} b WHERE b.host_id = (SELECT h.id FROM {} h WHERE h.name = ?) \
             ORDER BY b.timestamp_utc DESC, b.id DESC LIMIT 1",
            self.tables.hosts
        );
        let read = self.db.statement(&sql, [host.as_str().into()]);
        let row = db.query_one_raw(read).await?;
        row.map(|row| StoredHeartbeat::read(&row)).transpose()
    }
}

impl StoredHeartbeat {
    /// A row of [`COLUMNS`].
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        let stamp = |index: usize| {
            row.try_get_by_index::<NaiveDateTime>(index)
                .map(|at| at.and_utc())
        };
        let maybe = |index: usize| {
            let at = row.try_get_by_index::<Option<NaiveDateTime>>(index);
            at.map(|at| at.map(|at| at.and_utc()))
        };
        let raw: String = row.try_get_by_index(10)?;
        Ok(Self {
            id: row.try_get_by_index(0)?,
            timestamp: stamp(1)?,
            observed_at: stamp(2)?,
            ready: row.try_get_by_index(3)?,
            local_mode: row.try_get_by_index(4)?,
            local_session: row.try_get_by_index(5)?,
            last_power: PowerMark {
                timestamp: maybe(6)?,
                mode: row.try_get_by_index(7)?,
            },
            last_forced_logoff: LogoffMark {
                timestamp: maybe(8)?,
                user: row.try_get_by_index(9)?,
            },
            raw: serde_json::from_str(&raw).unwrap_or(Value::String(raw)),
        })
    }
}

//! `lab_host_heartbeat`: every report, as the older worker wrote it, with the arrival time in `created_at`.

use chrono::{DateTime, NaiveDateTime, Utc};
use lab_model::HostName;
use labstation_commands::Heartbeat;
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _,
};
use serde_json::Value;
use store_support::{DbErr, transaction};

use crate::columns::{cut, microseconds, whole_seconds};
use crate::entity::{heartbeat, host, host_state};
use crate::hosts::{self, HostRecord};
use crate::states;
use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// The rows that a report became.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Row id in `lab_hosts`.
    pub host_id: i64,
    /// Row id in `lab_host_heartbeat`.
    pub heartbeat_id: i64,
}

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
    /// Whether it said it was in local mode.
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
    /// Stores a report: the host's row with `last_seen`, a row of `lab_host_heartbeat`, and the host's state
    /// with the failures reset; all of it or nothing. `raw` is the document as text; where it is not strict
    /// JSON (raw control characters, say) the parsed form is stored, so that other readers can read it.
    ///
    /// Over-long texts are cut to their column. A stamp that is absent or cannot be stored becomes
    /// `observed_at`.
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
        let now = whole_seconds(observed_at).unwrap_or_default();
        let stamp = heartbeat.reported_at.and_then(whole_seconds).unwrap_or(now);
        let raw = document(raw, heartbeat);
        let raw = raw.as_str();
        transaction(&self.db, |tx| {
            Box::pin(async move {
                let host_id = hosts::upsert(&**tx, host, Some(stamp), now).await?;
                let row = row(host_id, stamp, heartbeat, raw, now);
                let heartbeat_id = heartbeat::Entity::insert(row).exec(&**tx).await?.last_insert_id;
                states::succeeded(&**tx, &host.name, heartbeat, heartbeat_id, observed_at).await?;
                Ok::<_, DbErr>(Recorded {
                    host_id,
                    heartbeat_id,
                })
            })
        })
        .await
        .map_err(HeartbeatStoreError::from("record a heartbeat"))
    }

    /// Gives the report of a host that arrived last; `None` when there is none.
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
        let newest = host_state::Entity::find_by_id(host.key())
            .select_only()
            .column(host_state::Column::LastHeartbeatId)
            .into_query();
        let stored_here = heartbeat::Entity::find().filter(heartbeat::Column::Id.in_subquery(newest));
        if let Some(row) = stored_here.one(db).await? {
            return Ok(Some(StoredHeartbeat::from(row)));
        }
        let id = host::Entity::find()
            .filter(host::Column::Name.eq(host.as_str()))
            .one(db)
            .await?
            .map(|row| row.id);
        let Some(id) = id else { return Ok(None) };
        let row = heartbeat::Entity::find()
            .filter(heartbeat::Column::HostId.eq(id))
            .order_by_desc(heartbeat::Column::TimestampUtc)
            .order_by_desc(heartbeat::Column::Id)
            .one(db)
            .await?;
        Ok(row.map(StoredHeartbeat::from))
    }
}

fn document(raw: &str, heartbeat: &Heartbeat) -> String {
    let raw = raw.trim_start_matches('\u{feff}');
    match serde_json::from_str::<serde::de::IgnoredAny>(raw) {
        Ok(_) => raw.to_owned(),
        Err(_) => heartbeat.raw.to_string(),
    }
}

fn row(
    host_id: i64,
    stamp: NaiveDateTime,
    heartbeat: &Heartbeat,
    raw: &str,
    now: NaiveDateTime,
) -> heartbeat::ActiveModel {
    let logoff = heartbeat.last_forced_logoff.as_ref();
    let power = heartbeat.last_power_action.as_ref();
    heartbeat::ActiveModel {
        host_id: Set(host_id),
        timestamp_utc: Set(stamp),
        ready: Set(heartbeat.ready),
        local_mode: Set(heartbeat.local_mode),
        local_session: Set(heartbeat.local_session),
        last_forced_logoff_ts: Set(logoff.and_then(|logoff| logoff.at).and_then(whole_seconds)),
        last_forced_logoff_user: Set(logoff
            .and_then(|logoff| logoff.user.as_deref())
            .map(|user| cut(user, 128))),
        last_power_action_ts: Set(power.and_then(|power| power.at).and_then(whole_seconds)),
        last_power_action_mode: Set(power
            .and_then(|power| power.mode.as_deref())
            .map(|mode| cut(mode, 32))),
        raw_json: Set(raw.to_owned()),
        created_at: Set(now),
        ..Default::default()
    }
}

impl From<heartbeat::Model> for StoredHeartbeat {
    fn from(row: heartbeat::Model) -> Self {
        Self {
            id: row.id,
            timestamp: row.timestamp_utc.and_utc(),
            observed_at: row.created_at.and_utc(),
            ready: row.ready,
            local_mode: row.local_mode,
            local_session: row.local_session,
            last_power: PowerMark {
                timestamp: row.last_power_action_ts.map(|at| at.and_utc()),
                mode: row.last_power_action_mode,
            },
            last_forced_logoff: LogoffMark {
                timestamp: row.last_forced_logoff_ts.map(|at| at.and_utc()),
                user: row.last_forced_logoff_user,
            },
            raw: serde_json::from_str(&row.raw_json).unwrap_or(Value::String(row.raw_json)),
        }
    }
}

/// Shared with the host's state, which keeps the same values with their microseconds.
pub(crate) fn reported_at(heartbeat: &Heartbeat) -> Option<NaiveDateTime> {
    heartbeat.reported_at.and_then(microseconds)
}

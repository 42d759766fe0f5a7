//! `ops_host_state`: one row per host, with what the last poll brought and how many failed since the last
//! good one.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use lab_model::HostName;
use labstation_commands::Heartbeat;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use store_support::{DbErr, transaction};

use crate::columns::{cut, microseconds};
use crate::entity::host_state::{ActiveModel, Column, Entity, Model};
use crate::heartbeats;
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Row id of the last report in `lab_host_heartbeat`.
    pub last_heartbeat_id: Option<i64>,
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
        let at = microseconds(at).unwrap_or_default();
        transaction(&self.db, |tx| {
            Box::pin(async move {
                ensure(&**tx, host, at).await?;
                Entity::update_many()
                    .col_expr(Column::LastAttemptAt, Expr::value(at))
                    .col_expr(Column::FailuresInRow, Expr::col(Column::FailuresInRow).add(1))
                    .col_expr(Column::LastErrorCode, Expr::value(cut(code, 64)))
                    .col_expr(Column::LastError, Expr::value(cut(text, 512)))
                    .col_expr(Column::UpdatedAt, Expr::value(at))
                    .filter(Column::HostName.eq(host.key()))
                    // Already a thousand million: more says nothing new, and the column would overflow.
                    .filter(Column::FailuresInRow.lt(1_000_000_000))
                    .exec(&**tx)
                    .await?;
                Ok::<_, DbErr>(())
            })
        })
        .await
        .map_err(HeartbeatStoreError::from("record a failed poll"))
    }

    /// Gives the state of one host; `None` when it was never polled.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn host_state(&self, host: &HostName) -> Result<Option<HostState>, HeartbeatStoreError> {
        let read = Entity::find_by_id(host.key()).one(self.db.connection());
        let row = self
            .db
            .bounded(read)
            .await
            .map_err(HeartbeatStoreError::from("read a host's state"))?;
        Ok(row.map(HostState::from))
    }

    /// Gives the state of every host that was ever polled, by name; at most 100,000.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn host_states(&self) -> Result<Vec<HostState>, HeartbeatStoreError> {
        let read = Entity::find()
            .order_by_asc(Column::HostName)
            .limit(MAX_HOSTS)
            .all(self.db.connection());
        let rows = self
            .db
            .bounded(read)
            .await
            .map_err(HeartbeatStoreError::from("read the hosts' states"))?;
        Ok(rows.into_iter().map(HostState::from).collect())
    }
}

/// Stores what a good poll brought.
pub(crate) async fn succeeded(
    tx: &impl ConnectionTrait,
    host: &HostName,
    heartbeat: &Heartbeat,
    heartbeat_id: i64,
    observed_at: DateTime<Utc>,
) -> Result<(), DbErr> {
    let at = microseconds(observed_at).unwrap_or_default();
    let reported_at = heartbeats::reported_at(heartbeat);
    let offset = heartbeat
        .reported_at
        .map(|reported| (reported - observed_at).num_milliseconds());
    let logoff = heartbeat
        .last_forced_logoff
        .as_ref()
        .and_then(|logoff| logoff.at)
        .and_then(microseconds);
    ensure(tx, host, at).await?;
    let row = ActiveModel {
        host_name: Set(host.key().to_owned()),
        last_attempt_at: Set(Some(at)),
        last_success_at: Set(Some(at)),
        failures_in_row: Set(0),
        last_error_code: Set(None),
        last_error: Set(None),
        ready: Set(heartbeat.ready),
        local_mode: Set(heartbeat.local_mode),
        local_session: Set(heartbeat.local_session),
        reported_at: Set(reported_at),
        clock_offset_ms: Set(offset),
        last_forced_logoff_ts: Set(logoff),
        last_heartbeat_id: Set(Some(heartbeat_id)),
        updated_at: Set(at),
    };
    Entity::update_many()
        .set(row)
        .filter(Column::HostName.eq(host.key()))
        .exec(tx)
        .await?;
    Ok(())
}

/// Makes the host's row when it is absent.
async fn ensure(tx: &impl ConnectionTrait, host: &HostName, at: NaiveDateTime) -> Result<(), DbErr> {
    let known = Entity::find_by_id(host.key())
        .select_only()
        .column(Column::HostName)
        .into_tuple::<String>()
        .one(tx);
    if known.await?.is_some() {
        return Ok(());
    }
    let row = ActiveModel {
        host_name: Set(host.key().to_owned()),
        failures_in_row: Set(0),
        updated_at: Set(at),
        ..Default::default()
    };
    Entity::insert(row)
        .on_conflict(
            OnConflict::column(Column::HostName)
                .do_nothing_on([Column::HostName])
                .to_owned(),
        )
        .try_insert()
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

impl From<Model> for HostState {
    fn from(row: Model) -> Self {
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
        }
    }
}

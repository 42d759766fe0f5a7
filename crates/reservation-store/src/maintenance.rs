//! `ops_maintenance`: at which hosts an engineer works. Operators write it, every scheduler reads it.
//!
//! It needs no claim: it says what may be begun from now on, and nothing about what is under way.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDateTime, Utc};
use lab_model::HostName;
use reservation_engine::{Maintenance, StoreError};
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use store_support::{Database, DbErr, retried};

use crate::columns::microseconds;
use crate::fault::{Corrupt, Fault};
use crate::store::ReservationStore;

/// The widest reason that is stored, in characters.
const MAX_REASON: usize = 256;
/// The widest owner that is stored, in characters.
const MAX_OWNER: usize = 128;

/// What an operator says when a host is taken into maintenance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMaintenance {
    /// Why; at most 256 characters.
    pub reason: String,
    /// Who has the host from now on; at most 128 characters.
    pub owner: String,
    /// When it ends by itself; never without.
    pub until: Option<DateTime<Utc>>,
}

impl ReservationStore {
    /// Takes a host into maintenance, or changes what is said of one that is in maintenance; that one keeps the instant
    /// since when. Gives what is stored now. The same call again changes nothing more.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a text that is too long, [`StoreError::Unavailable`] while the database does not answer.
    pub async fn put_maintenance(
        &self,
        host: &HostName,
        new: &NewMaintenance,
        now: DateTime<Utc>,
    ) -> Result<Maintenance, StoreError> {
        put(&self.db, host, new, microseconds(now))
            .await
            .map_err(Fault::during("take a host into maintenance"))
    }

    /// Takes a host out of maintenance; says whether it was in maintenance at `now`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be asked.
    pub async fn end_maintenance(&self, host: &HostName, now: DateTime<Utc>) -> Result<bool, StoreError> {
        end(&self.db, host, microseconds(now))
            .await
            .map_err(Fault::during("take a host out of maintenance"))
    }
}

/// Every host that is in maintenance at `now`. The table has one row for each host that ever was and was not taken out.
pub(crate) async fn read(db: &Database, now: DateTime<Utc>) -> Result<HashMap<HostName, Maintenance>, Fault> {
    let sql = format!("SELECT {COLUMNS} FROM ops_maintenance WHERE {IN_FORCE}");
    let now: Value = microseconds(now).into();
    let call = retried(|| {
        let read = db.statement(&sql, [now.clone()]);
        async { db.connection().query_all_raw(read).await }
    });
    let rows = db.bounded(call).await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let name: String = row.try_get("", "host_name")?;
        // A name that cannot be one is nobody's host.
        if let Ok(host) = HostName::parse(&name) {
            found.insert(host, stored(row)?);
        }
    }
    Ok(found)
}

const COLUMNS: &str = "host_name, reason, owner, since_at, until_at";
const IN_FORCE: &str = "(until_at IS NULL OR until_at > ?)";

async fn put(
    db: &Database,
    host: &HostName,
    new: &NewMaintenance,
    now: NaiveDateTime,
) -> Result<Maintenance, Fault> {
    for (column, text, limit) in [
        ("reason", &new.reason, MAX_REASON),
        ("owner", &new.owner, MAX_OWNER),
    ] {
        let chars = text.chars().count();
        if chars > limit {
            return Err(Corrupt::TooLong { column, chars, limit }.into());
        }
    }
    // Changed where it is, made where it is not; the third is for whoever lost the race to make it.
    let changed = change(db, host, new, now).await?
        || make(db, host, new, now).await?
        || change(db, host, new, now).await?;
    let sql = format!("SELECT {COLUMNS} FROM ops_maintenance WHERE host = ?");
    let read = db.statement(&sql, [host.key().into()]);
    let row = db.bounded(db.connection().query_one_raw(read)).await?;
    match row.filter(|_| changed) {
        Some(row) => Ok(stored(&row)?),
        // Somebody ended it in the same instant: it was in force, and is not any more.
        None => Ok(Maintenance {
            reason: new.reason.clone(),
            owner: new.owner.clone(),
            since: now.and_utc(),
            until: new.until.map(|until| microseconds(until).and_utc()),
        }),
    }
}

async fn change(
    db: &Database,
    host: &HostName,
    new: &NewMaintenance,
    now: NaiveDateTime,
) -> Result<bool, DbErr> {
    // MySQL assigns from left to right, so what `since_at` goes by is assigned after it.
    let sql = format!(
        "UPDATE ops_maintenance SET since_at = CASE WHEN {IN_FORCE} THEN since_at ELSE ? END, host_name = ?, \
         reason = ?, owner = ?, until_at = ?, updated_at = ? WHERE host = ?"
    );
    let mut values: Vec<Value> = vec![now.into(), now.into()];
    values.extend(said(host, new));
    values.extend([now.into(), host.key().into()]);
    execute(db, &sql, values).await
}

async fn make(
    db: &Database,
    host: &HostName,
    new: &NewMaintenance,
    now: NaiveDateTime,
) -> Result<bool, DbErr> {
    let sql = format!(
        "{} INTO ops_maintenance (host_name, reason, owner, until_at, since_at, updated_at, host) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
        db.backend().insert_if_absent(),
    );
    let mut values: Vec<Value> = said(host, new).into();
    values.extend([now.into(), now.into(), host.key().into()]);
    execute(db, &sql, values).await
}

fn said(host: &HostName, new: &NewMaintenance) -> [Value; 4] {
    [
        host.as_str().into(),
        new.reason.as_str().into(),
        new.owner.as_str().into(),
        new.until.map(microseconds).into(),
    ]
}

async fn end(db: &Database, host: &HostName, now: NaiveDateTime) -> Result<bool, Fault> {
    let sql = format!("DELETE FROM ops_maintenance WHERE host = ? AND {IN_FORCE}");
    Ok(execute(db, &sql, vec![host.key().into(), now.into()]).await?)
}

async fn execute(db: &Database, sql: &str, values: Vec<Value>) -> Result<bool, DbErr> {
    let call = retried(|| {
        let statement = db.statement(sql, values.clone());
        async { db.connection().execute_raw(statement).await }
    });
    Ok(db.bounded(call).await?.rows_affected() > 0)
}

fn stored(row: &QueryResult) -> Result<Maintenance, DbErr> {
    let since: NaiveDateTime = row.try_get("", "since_at")?;
    let until: Option<NaiveDateTime> = row.try_get("", "until_at")?;
    Ok(Maintenance {
        reason: row.try_get("", "reason")?,
        owner: row.try_get("", "owner")?,
        since: since.and_utc(),
        until: until.map(|until| until.and_utc()),
    })
}

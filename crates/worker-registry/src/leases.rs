//! The leases on shards: rows of `ops_leases`, several in one statement.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, Value};
use store_support::{Database, DbErr, retried};

/// The lease of whoever marks silent workers.
pub(crate) const SWEEP: &str = "sweep:workers";

/// One lease as read.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) name: String,
    pub(crate) holder: Option<String>,
    /// Zero or less: it is over.
    pub(crate) left_ms: i64,
}

impl Lease {
    /// Who holds it now.
    pub(crate) fn held_by(&self) -> Option<&str> {
        self.holder.as_deref().filter(|_| self.left_ms > 0)
    }

    pub(crate) fn left(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.left_ms).unwrap_or(0))
    }
}

/// Every lease on a shard, and the one on sweeping.
pub(crate) async fn read(db: &Database) -> Result<Vec<Lease>, DbErr> {
    let now = db.backend().now_ms();
    let sql = format!(
        "SELECT name, holder, lease_until - {now} FROM ops_leases \
         WHERE (name >= 'shard:' AND name < 'shard;') OR name = ?"
    );
    let read = db.statement(&sql, [SWEEP.into()]);
    let rows = db.bounded(db.connection().query_all_raw(read)).await?;
    rows.iter()
        .map(|row| {
            Ok(Lease {
                name: row.try_get_by_index(0)?,
                holder: row.try_get_by_index(1)?,
                left_ms: row.try_get_by_index(2)?,
            })
        })
        .collect()
}

/// Makes rows that are missing, free as of now.
pub(crate) async fn make(db: &Database, names: &[String]) -> Result<(), DbErr> {
    if names.is_empty() {
        return Ok(());
    }
    let now = db.backend().now_ms();
    let rows = vec![format!("(?, NULL, 0, {now})"); names.len()].join(", ");
    let sql = format!(
        "{} INTO ops_leases (name, holder, fence, lease_until) VALUES {rows}",
        db.backend().insert_if_absent()
    );
    execute(db, &sql, Vec::new(), names).await.map(|_| ())
}

/// Prolongs those of `names` that `holder` still has. One statement, however many they are; by name, so that it locks
/// no row of anybody else.
pub(crate) async fn renew(
    db: &Database,
    holder: &str,
    names: &[String],
    lease: Duration,
) -> Result<u64, DbErr> {
    let now = db.backend().now_ms();
    let sql = format!(
        "UPDATE ops_leases SET lease_until = {now} + ? WHERE holder = ? AND lease_until > {now} AND name IN ({})",
        marks(names)
    );
    execute(db, &sql, vec![millis(lease), holder.into()], names).await
}

/// Takes those of `names` that are free. The fence rises with each change of holder.
pub(crate) async fn take(
    db: &Database,
    holder: &str,
    names: &[String],
    lease: Duration,
) -> Result<u64, DbErr> {
    let now = db.backend().now_ms();
    // `fence` stands before `holder`: MySQL assigns from left to right, should the former ever depend on the latter.
    let sql = format!(
        "UPDATE ops_leases SET fence = fence + 1, holder = ?, lease_until = {now} + ? \
         WHERE lease_until <= {now} AND name IN ({})",
        marks(names)
    );
    execute(db, &sql, vec![holder.into(), millis(lease)], names).await
}

/// Lets go of those of `names` that `holder` has.
pub(crate) async fn give_back(db: &Database, holder: &str, names: &[String]) -> Result<u64, DbErr> {
    let now = db.backend().now_ms();
    let sql = format!(
        "UPDATE ops_leases SET lease_until = {now}, holder = NULL WHERE holder = ? AND name IN ({})",
        marks(names)
    );
    execute(db, &sql, vec![holder.into()], names).await
}

fn marks(names: &[String]) -> String {
    // An empty list would be a syntax error; no lease has an empty name.
    if names.is_empty() {
        return "''".to_owned();
    }
    vec!["?"; names.len()].join(", ")
}

async fn execute(db: &Database, sql: &str, mut values: Vec<Value>, names: &[String]) -> Result<u64, DbErr> {
    values.extend(names.iter().map(|name| Value::from(name.as_str())));
    retried(|| async {
        let done = db
            .bounded(db.connection().execute_raw(db.statement(sql, values.clone())))
            .await?;
        Ok(done.rows_affected())
    })
    .await
}

pub(crate) fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).into()
}

//! Writes that happen only while a claim is ours.
//!
//! A write by itself checks the lease in the same statement, on MySQL with a lock on the lease's row. On a cluster that
//! lock is its node's own; what keeps two nodes apart there is that the next holder writes the same row, and that a
//! flow stops some time before its lease ends. Writes of a transaction, on MySQL, begin with a change of the lease's row, by a millisecond: until the commit nobody else can
//! take the host then; and on a cluster, where the other one may be on another node, one of the two commits fails, is
//! run again, and looks again. SQLite has one writer at a time, so there the check alone is as strict.
//!
//! Not one update of several tables: MySQL does that through a temporary table for each write, and MariaDB 10.11 dies
//! of a null pointer when it is told to end while it makes one.

use reservation_engine::Claim;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, Statement, Value};
use store_support::{Backend, Database, DbErr};

use crate::claims::{HELD, held_by};

/// What is to be changed in one row.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) table: &'static str,
    pub(crate) sets: Vec<(&'static str, Value)>,
    /// Columns that are assigned what they have.
    pub(crate) kept: &'static [&'static str],
    /// Each with `@` before the column's name, to be met by the row as it is now.
    pub(crate) conditions: Vec<(&'static str, Vec<Value>)>,
}

/// Makes all of the changes within a transaction, or none.
///
/// `Ok(None)` when they were made. Otherwise the number of the first change whose row did not meet its conditions;
/// when that is not the first one, those before it were made and the transaction has to be rolled back. A claim
/// that is no longer ours shows as change 0.
pub(crate) async fn write(
    tx: &DatabaseTransaction,
    db: &Database,
    claim: &Claim,
    changes: &[Change],
) -> Result<Option<usize>, DbErr> {
    let by_touch = db.backend() == Backend::MySql;
    if by_touch && tx.execute_raw(touch(db, claim)).await?.rows_affected() == 0 {
        return Ok(Some(0));
    }
    for (index, change) in changes.iter().enumerate() {
        let held = (!by_touch).then_some(claim);
        if tx.execute_raw(update(db, change, held)).await?.rows_affected() == 0 {
            return Ok(Some(index));
        }
    }
    Ok(None)
}

/// Makes one change by itself; gives whether it was made.
pub(crate) async fn write_alone(db: &Database, claim: &Claim, change: &Change) -> Result<bool, DbErr> {
    let done = db.connection().execute_raw(update(db, change, Some(claim)));
    Ok(done.await?.rows_affected() > 0)
}

fn touch(db: &Database, claim: &Claim) -> Statement {
    let sql = format!(
        "UPDATE ops_leases SET lease_until = lease_until + 1 WHERE {} AND lease_until > {}",
        HELD.replace('@', ""),
        db.backend().now_ms()
    );
    db.statement(&sql, held_by(claim))
}

/// With `held`, only while that claim is ours.
fn update(db: &Database, change: &Change, held: Option<&Claim>) -> Statement {
    let mut values = Vec::new();
    let mut sets = Vec::new();
    for (column, value) in &change.sets {
        sets.push(format!("{column} = ?"));
        values.push(value.clone());
    }
    if db.backend() == Backend::MySql {
        sets.extend(change.kept.iter().map(|column| format!("{column} = {column}")));
    }
    let mut conditions = Vec::new();
    for (condition, given) in &change.conditions {
        conditions.push(condition.replace('@', ""));
        values.extend(given.iter().cloned());
    }
    if let Some(claim) = held {
        conditions.push(format!("({}) = 1", lease_of(db)));
        values.extend(held_by(claim));
    }
    let (table, sets, conditions) = (change.table, sets.join(", "), conditions.join(" AND "));
    db.statement(&format!("UPDATE {table} SET {sets} WHERE {conditions}"), values)
}

/// Counts the lease that is ours. Not `EXISTS`, which newer servers turn into an update of several tables.
fn lease_of(db: &Database) -> String {
    let lock = match db.backend() {
        Backend::MySql => " FOR UPDATE",
        Backend::Sqlite => "",
    };
    let held = HELD.replace('@', "l.");
    let now = db.backend().now_ms();
    format!("SELECT COUNT(*) FROM ops_leases l WHERE {held} AND l.lease_until > {now}{lock}")
}

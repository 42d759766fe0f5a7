//! Walking a table in the order of its row ids, batch by batch, from its oldest row.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait as _, QueryResult, Statement, Value};
use store_support::{Database, DbErr, transaction};

use super::{Retained, RetentionSettings};
use crate::store::HeartbeatStore;

/// By how much the clocks of workers may differ.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// What every walk of a pass keeps to.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) settings: &'a RetentionSettings,
    pub(super) now: DateTime<Utc>,
    pub(super) go_on: &'a (dyn Fn() -> bool + Sync),
}

/// One walk over a table whose rows have `id` and `created_at`.
pub(crate) struct Walk<'a> {
    pub(crate) table: &'a str,
    pub(crate) settings: &'a RetentionSettings,
    /// Rows after this one come next.
    pub(crate) after: i64,
    /// What was stamped later was stamped by a clock that went wrong: it says nothing of the rows behind it.
    latest: NaiveDateTime,
    batches: u32,
    go_on: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Walk<'a> {
    pub(super) fn new(table: &'a str, rules: Rules<'a>) -> Self {
        Self {
            table,
            settings: rules.settings,
            go_on: rules.go_on,
            after: 0,
            latest: (rules.now + AHEAD).naive_utc(),
            batches: 0,
        }
    }

    pub(super) fn from(self, after: i64) -> Self {
        Self { after, ..self }
    }

    /// Whether nothing old can be behind a batch with these stamps: it is the last one, or has only what is young.
    pub(super) fn ends_with(&self, stamps: impl Iterator<Item = NaiveDateTime>, old: NaiveDateTime) -> bool {
        let (mut rows, mut any_old, mut any_young) = (0, false, false);
        for at in stamps {
            rows += 1;
            any_old |= at < old;
            any_young |= old <= at && at <= self.latest;
        }
        rows < self.settings.batch || (any_young && !any_old)
    }

    /// Whether another batch may be made.
    pub(super) fn goes_on(&mut self) -> bool {
        self.batches += 1;
        self.batches <= self.settings.batches && (self.go_on)()
    }
}

/// Reads a batch in the order of the primary key.
pub(crate) fn batch(db: &Database, table: &str, columns: &str, after: i64, rows: u32) -> Statement {
    let sql = format!("SELECT id, {columns} FROM {table} WHERE id > ? ORDER BY id LIMIT {rows}");
    db.statement(&sql, [after.into()])
}

impl HeartbeatStore {
    /// The reports that are kept whatever their age. They are read without a lock: a host's state only ever moves on to
    /// newer reports, so what is too old to be read here is not pointed at later.
    pub(super) async fn pointed_at(&self) -> Result<HashSet<i64>, DbErr> {
        let sql = format!(
            "SELECT last_heartbeat_id FROM {} WHERE last_heartbeat_id IS NOT NULL",
            self.tables.state
        );
        let read = self.db.statement(&sql, []);
        let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    }

    /// Takes away the rows from before `old`, from the first on, until a batch has none of them.
    pub(super) async fn forget(
        &self,
        mut walk: Walk<'_>,
        old: DateTime<Utc>,
        kept: &HashSet<i64>,
        done: &mut Retained,
    ) -> Result<u64, DbErr> {
        let old = old.naive_utc();
        let mut forgotten = 0;
        loop {
            if !walk.goes_on() {
                done.more = true;
                return Ok(forgotten);
            }
            let rows = self.next_rows(&mut walk, "created_at").await?;
            if rows.is_empty() {
                return Ok(forgotten);
            }
            let ends = walk.ends_with(rows.iter().map(|(_, at)| *at), old);
            let ids = rows
                .iter()
                .filter(|(id, at)| *at < old && !kept.contains(id))
                .map(|(id, _)| *id);
            forgotten += self.take_away(&walk, ids.collect(), None, done).await?;
            if ends {
                return Ok(forgotten);
            }
        }
    }

    pub(super) async fn read_batch(&self, walk: &Walk<'_>, columns: &str) -> Result<Vec<QueryResult>, DbErr> {
        let read = batch(&self.db, walk.table, columns, walk.after, walk.settings.batch);
        self.db.bounded(self.db.connection().query_all_raw(read)).await
    }

    /// The next rows, each with its id and the instant in a column; the walk has passed them then. None: it is at its end.
    pub(super) async fn next_rows(
        &self,
        walk: &mut Walk<'_>,
        column: &str,
    ) -> Result<Vec<(i64, NaiveDateTime)>, DbErr> {
        let rows = self.read_batch(walk, column).await?;
        let row = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        let rows: Vec<(i64, NaiveDateTime)> = rows.iter().map(row).collect::<Result<_, DbErr>>()?;
        if let Some((id, _)) = rows.last() {
            walk.after = *id;
        }
        Ok(rows)
    }

    /// Takes rows away by their ids, in one transaction, and stores how far a task has come with them; then leaves the
    /// writers alone for a while. Nothing is sent when there is nothing to do.
    pub(super) async fn take_away(
        &self,
        walk: &Walk<'_>,
        ids: Vec<i64>,
        progress: Option<Statement>,
        done: &mut Retained,
    ) -> Result<u64, DbErr> {
        if ids.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "DELETE FROM {} WHERE id IN ({})",
            walk.table,
            vec!["?"; ids.len()].join(", ")
        );
        let delete = self.db.statement(&sql, ids.into_iter().map(Value::from));
        let gone = self.in_one(delete, progress).await?;
        done.largest = done.largest.max(gone);
        tokio::time::sleep(walk.settings.pause).await;
        Ok(gone)
    }

    /// Runs a `DELETE` and what belongs to it; says how many rows it took away.
    pub(super) async fn in_one(&self, delete: Statement, progress: Option<Statement>) -> Result<u64, DbErr> {
        transaction(&self.db, |tx| {
            let (delete, progress) = (delete.clone(), progress.clone());
            Box::pin(async move {
                let gone = tx.execute_raw(delete).await?.rows_affected();
                if let Some(progress) = progress {
                    tx.execute_raw(progress).await?;
                }
                Ok::<_, DbErr>(gone)
            })
        })
        .await
    }
}

//! Forgetting what is old, the oldest first, a few hundred rows at a time.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use store_support::DbErr;

use crate::columns::microseconds;
use crate::error::JournalError;
use crate::journal::CallJournal;

/// How many rows one statement takes away: few enough that nobody waits for it.
const BATCH: u32 = 500;
/// How many statements one round sends for each table; the next round goes on.
const BATCHES: u32 = 20;

/// How many rows were taken away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Of calls.
    pub calls: u64,
    /// Of the audit trail.
    pub audit: u64,
}

impl CallJournal {
    /// Takes away calls that were asked for before `calls_before`, and audit entries from before
    /// `audit_before`; at most 10,000 of each.
    ///
    /// # Errors
    /// [`JournalError`].
    pub async fn forget(
        &self,
        calls_before: DateTime<Utc>,
        audit_before: DateTime<Utc>,
    ) -> Result<Forgotten, JournalError> {
        Ok(Forgotten {
            calls: self
                .forget_from(&CALLS, calls_before)
                .await
                .map_err(JournalError::during("forget calls"))?,
            audit: self
                .forget_from(&AUDIT, audit_before)
                .await
                .map_err(JournalError::during("forget audit entries"))?,
        })
    }

    async fn forget_from(&self, table: &Table, before: DateTime<Utc>) -> Result<u64, DbErr> {
        let before = microseconds(before);
        let mut forgotten = 0;
        for _ in 0..BATCHES {
            let oldest = self.oldest(table).await?;
            let full = oldest.len() == BATCH as usize;
            let keys: Vec<Value> = oldest
                .into_iter()
                .filter(|(_, at)| *at < before)
                .map(|(key, _)| key.into())
                .collect();
            let old = keys.len();
            if old == 0 {
                break;
            }
            let sql = format!(
                "DELETE FROM {} WHERE {} IN ({})",
                table.name,
                table.key,
                vec!["?"; old].join(", ")
            );
            forgotten += self.execute(&sql, keys).await?;
            if !full || old < BATCH as usize {
                break;
            }
        }
        Ok(forgotten)
    }

    /// Rows are written in the order of their keys, so the oldest are the first.
    async fn oldest(&self, table: &Table) -> Result<Vec<(i64, NaiveDateTime)>, DbErr> {
        let read = self.db.statement(&oldest_sql(table), []);
        let read = self.db.connection().query_all_raw(read);
        let pair = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        self.db.bounded(read).await?.iter().map(pair).collect()
    }
}

pub(crate) fn oldest_sql(Table { name, key, at }: &Table) -> String {
    format!("SELECT {key}, {at} FROM {name} ORDER BY {key} LIMIT {BATCH}")
}

pub(crate) const CALLS: Table = Table {
    name: "ops_calls",
    key: "seq",
    at: "created_at",
};
pub(crate) const AUDIT: Table = Table {
    name: "ops_audit",
    key: "id",
    at: "at",
};

pub(crate) struct Table {
    name: &'static str,
    key: &'static str,
    at: &'static str,
}

//! Forgetting changes, but for the one that a history begins with.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{ConnectionTrait as _, Statement, Value};
use store_support::{Database, DbErr};

use super::Retained;
use super::walk::{Rules, Walk};
use crate::store::HeartbeatStore;
use crate::tables::Tables;

impl HeartbeatStore {
    pub(super) async fn forget_changes(
        &self,
        rules: Rules<'_>,
        old: DateTime<Utc>,
        done: &mut Retained,
    ) -> Result<u64, DbErr> {
        let old = old.naive_utc();
        let mut walk = Walk::new(&self.tables.changes, rules);
        let mut forgotten = 0;
        loop {
            if !walk.goes_on() {
                done.more = true;
                return Ok(forgotten);
            }
            let rows = self.next_rows(&mut walk, "at").await?;
            if rows.is_empty() {
                return Ok(forgotten);
            }
            let ends = walk.ends_with(rows.iter().map(|(_, at)| *at), old);
            let due: Vec<i64> = rows
                .iter()
                .filter(|(_, at)| *at < old)
                .map(|(id, _)| *id)
                .collect();
            let succeeded = self.succeeded_before(&due, old).await?;
            forgotten += self.take_away(&walk, succeeded, None, done).await?;
            if ends {
                return Ok(forgotten);
            }
        }
    }

    async fn succeeded_before(&self, ids: &[i64], old: NaiveDateTime) -> Result<Vec<i64>, DbErr> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let read = succeeded(&self.db, &self.tables, ids, old);
        let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await?;
        rows.iter().map(|row| row.try_get_by_index(0)).collect()
    }
}

/// Those of the changes that another one of the same field followed, which is itself before `old`: no window that begins
/// after it needs them.
pub(crate) fn succeeded(db: &Database, tables: &Tables, ids: &[i64], old: NaiveDateTime) -> Statement {
    let table = &tables.changes;
    let sql = format!(
        "SELECT c.id FROM {table} c WHERE c.id IN ({}) AND EXISTS (SELECT 1 FROM {table} n WHERE n.host_name = c.host_name \
         AND n.field = c.field AND n.at >= c.at AND n.at < ? AND (n.at > c.at OR n.id > c.id))",
        vec!["?"; ids.len()].join(", ")
    );
    let mut values: Vec<Value> = ids.iter().map(|id| Value::from(*id)).collect();
    values.push(old.into());
    db.statement(&sql, values)
}

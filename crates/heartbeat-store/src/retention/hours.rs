//! Forgetting what was counted in an hour, an hour after the other.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{ConnectionTrait as _, QueryResult, Statement};
use store_support::{Database, DbErr};

use super::Retained;
use super::walk::{Rules, Walk};
use crate::store::HeartbeatStore;
use crate::tables::Tables;

impl HeartbeatStore {
    pub(super) async fn forget_hours(
        &self,
        rules: Rules<'_>,
        old: DateTime<Utc>,
        done: &mut Retained,
    ) -> Result<u64, DbErr> {
        let mut walk = Walk::new(&self.tables.hours, rules);
        let mut forgotten = 0;
        while walk.goes_on() {
            let read = oldest(&self.db, &self.tables, old.naive_utc(), rules.settings.batch);
            let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await?;
            let row = |row: &QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
            let rows: Vec<(NaiveDateTime, String)> = rows.iter().map(row).collect::<Result<_, DbErr>>()?;
            // A batch stays within one hour, so that it is one range of the index.
            let Some((hour, first)) = rows.first().cloned() else {
                return Ok(forgotten);
            };
            let last = rows.iter().take_while(|(of, _)| *of == hour).last();
            let last = last.map_or_else(|| first.clone(), |(_, host)| host.clone());
            let gone = self
                .in_one(delete(&self.db, &self.tables, hour, first, last), None)
                .await?;
            forgotten += gone;
            done.largest = done.largest.max(gone);
            tokio::time::sleep(rules.settings.pause).await;
        }
        done.more = true;
        Ok(forgotten)
    }
}

pub(crate) fn oldest(db: &Database, tables: &Tables, old: NaiveDateTime, rows: u32) -> Statement {
    let sql = format!(
        "SELECT hour, host_name FROM {} WHERE hour < ? ORDER BY hour, host_name LIMIT {rows}",
        tables.hours
    );
    db.statement(&sql, [old.into()])
}

pub(crate) fn delete(
    db: &Database,
    tables: &Tables,
    hour: NaiveDateTime,
    first: String,
    last: String,
) -> Statement {
    let sql = format!(
        "DELETE FROM {} WHERE hour = ? AND host_name >= ? AND host_name <= ?",
        tables.hours
    );
    db.statement(&sql, [hour.into(), first.into(), last.into()])
}

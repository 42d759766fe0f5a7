//! Keeping one report of each host and hour.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime, Timelike as _, Utc};
use sea_orm::{ConnectionTrait as _, QueryResult, Statement};
use store_support::{Backend, DbErr};

use super::Retained;
use super::walk::{Rules, Walk};
use crate::store::HeartbeatStore;

/// The word under which the progress is stored.
const TASK: &str = "thin_heartbeats";
/// Writers' clocks differ, so an hour counts as over when the one after the next has begun: in hours.
const SLACK: i64 = 1;

impl HeartbeatStore {
    /// Thins what arrived before `old`, the begin of an hour, from where the last pass came to.
    pub(super) async fn thin(
        &self,
        rules: Rules<'_>,
        old: DateTime<Utc>,
        kept: &HashSet<i64>,
        done: &mut Retained,
    ) -> Result<u64, DbErr> {
        let old = old.naive_utc();
        let began = self.thinned_to().await?;
        let mut walk = Walk::new(&self.tables.heartbeats, rules).from(began);
        let mut newest = Newest::default();
        let mut thinned = 0;
        loop {
            if !walk.goes_on() {
                done.more = true;
                break;
            }
            let rows = self.read_batch(&walk, "host_id, created_at").await?;
            let row = |row: &QueryResult| {
                Ok(Row {
                    id: row.try_get_by_index(0)?,
                    host: row.try_get_by_index(1)?,
                    at: row.try_get_by_index(2)?,
                })
            };
            let rows: Vec<Row> = rows.iter().map(row).collect::<Result<_, DbErr>>()?;
            let Some(last) = rows.last().map(|row| row.id) else {
                break;
            };
            let due = rows.iter().filter(|row| row.at < old);
            let ends = walk.ends_with(rows.iter().map(|row| row.at), old);
            let any_due = due.clone().next().is_some();
            let superseded = due.filter_map(|row| newest.take(row));
            let superseded: Vec<i64> = superseded.filter(|id| !kept.contains(id)).collect();
            if any_due || !ends {
                walk.after = last;
                newest.read_to = last;
            }
            let progress = self.progress(newest.resume_after(began));
            thinned += self.take_away(&walk, superseded, Some(progress), done).await?;
            if ends {
                break;
            }
        }
        let reached = newest.resume_after(began);
        if reached > began {
            self.db
                .bounded(self.db.connection().execute_raw(self.progress(reached)))
                .await?;
        }
        Ok(thinned)
    }

    async fn thinned_to(&self) -> Result<i64, DbErr> {
        let sql = format!("SELECT position FROM {} WHERE task = ?", self.tables.retention);
        let read = self.db.statement(&sql, [TASK.into()]);
        let row = self.db.bounded(self.db.connection().query_one_raw(read)).await?;
        row.map_or(Ok(0), |row| row.try_get_by_index(0))
    }

    /// Never backwards: of two copies that work at once, both have done all up to where they are.
    fn progress(&self, position: i64) -> Statement {
        let table = &self.tables.retention;
        let now = self.db.backend().now_expr();
        let on_conflict = match self.db.backend() {
            Backend::MySql => {
                "ON DUPLICATE KEY UPDATE updated_at = VALUES(updated_at), position = GREATEST(position, VALUES(position))"
            }
            Backend::Sqlite => {
                "ON CONFLICT (task) DO UPDATE SET updated_at = excluded.updated_at, position = MAX(position, excluded.position)"
            }
        };
        let sql =
            format!("INSERT INTO {table} (task, position, updated_at) VALUES (?, ?, {now}) {on_conflict}");
        self.db.statement(&sql, [TASK.into(), position.into()])
    }
}

struct Row {
    id: i64,
    host: i64,
    at: NaiveDateTime,
}

impl Row {
    /// Hours since 1970.
    fn hour(&self) -> i64 {
        let begin = self.at.with_minute(0).unwrap_or(self.at);
        begin.and_utc().timestamp().div_euclid(3_600)
    }
}

/// The newest report of each host that was read so far; its hour, and its id.
#[derive(Default)]
struct Newest {
    of_host: HashMap<i64, (i64, i64)>,
    latest_hour: i64,
    read_to: i64,
}

impl Newest {
    /// Gives the report that this one takes the place of: of the same host and hour, and arrived before.
    fn take(&mut self, row: &Row) -> Option<i64> {
        let hour = row.hour();
        self.latest_hour = self.latest_hour.max(hour);
        let before = self.of_host.insert(row.host, (hour, row.id));
        before.and_then(|(of_hour, id)| (of_hour == hour).then_some(id))
    }

    /// After which row another pass has to go on: before all reports whose hour may get another one.
    fn resume_after(&self, began: i64) -> i64 {
        let open = self
            .of_host
            .values()
            .filter(|(hour, _)| *hour >= self.latest_hour - SLACK);
        let first_open = open.map(|(_, id)| id - 1).min();
        first_open.unwrap_or(self.read_to).max(began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64, host: i64, at: &str) -> Row {
        Row {
            id,
            host,
            at: format!("2026-03-01T{at}").parse().unwrap(),
        }
    }

    #[test]
    fn the_last_of_an_hour_takes_the_place_of_those_before_it() {
        let mut newest = Newest::default();
        let mut gone = Vec::new();
        for row in [
            row(1, 7, "08:00:00"),
            row(2, 8, "08:10:00"),
            row(3, 7, "08:59:59"),
            row(4, 7, "09:00:00"),
            row(5, 8, "08:20:00"),
        ] {
            gone.extend(newest.take(&row));
            newest.read_to = row.id;
        }
        assert_eq!(gone, [1, 2]);
        // Both hours may still get a report: of host 7, nothing before row 4 is looked at again.
        assert_eq!(newest.resume_after(0), 3);
        assert!(newest.take(&row(6, 9, "11:00:00")).is_none());
        newest.read_to = 6;
        assert_eq!(newest.resume_after(0), 5);
        assert_eq!(newest.resume_after(50), 50, "never backwards");
    }
}

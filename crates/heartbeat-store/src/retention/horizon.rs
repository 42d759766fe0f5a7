//! By which instant things are old. A clock may go wrong, and what was forgotten by it is gone.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::ConnectionTrait as _;
use store_support::{Backend, DbErr};

use crate::columns::read_instant;
use crate::store::HeartbeatStore;

/// The word under which the latest instant is stored that things were forgotten by, in milliseconds since 1970.
const TASK: &str = "forget_by";
/// By how much our clock and the database's may differ.
const APART: TimeDelta = TimeDelta::hours(1);
/// Between two passes time goes on by less, unless nobody made one for long, or the clock jumped.
const JUMP: TimeDelta = TimeDelta::days(2);
/// After a jump it goes on by so much at most from pass to pass,
const STEP: TimeDelta = TimeDelta::hours(6);
/// and so many times as fast as the database's clock.
const PACE: i32 = 24;

/// Why not everything is forgotten that is old by our clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Our clock is ahead of the database's by this much, or behind when negative: nothing is forgotten until they agree
    /// within an hour.
    Apart(TimeDelta),
    /// Since the last pass our clock went on by this much, more than two days. No pass may have been made for long, or the
    /// clock is wrong: things are forgotten as if a day passed in each hour, until that catches up.
    Jumped(TimeDelta),
}

/// What was forgotten last: by which instant, and how long ago by the database's clock.
#[derive(Debug, Clone, Copy)]
struct Last {
    by: DateTime<Utc>,
    ago: TimeDelta,
}

/// By which instant things are forgotten now.
fn next(last: Option<Last>, now: DateTime<Utc>) -> (DateTime<Utc>, Option<Held>) {
    let Some(last) = last else {
        return (now, None);
    };
    let jump = now - last.by;
    if jump <= JUMP {
        return (now, None);
    }
    let paced = last.ago.clamp(TimeDelta::zero(), STEP) * PACE;
    (last.by + paced.min(STEP), Some(Held::Jumped(jump)))
}

impl HeartbeatStore {
    /// The instant by which things are forgotten now; none when they are not.
    pub(super) async fn horizon(
        &self,
        now: DateTime<Utc>,
    ) -> Result<(Option<DateTime<Utc>>, Option<Held>), DbErr> {
        let (theirs, last) = self.last().await?;
        let apart = self.clock.now() - theirs;
        if apart.abs() > APART {
            return Ok((None, Some(Held::Apart(apart))));
        }
        let (by, held) = next(last, now);
        self.keep_last(by).await?;
        Ok((Some(by), held))
    }

    /// The database's instant, and what was forgotten last.
    async fn last(&self) -> Result<(DateTime<Utc>, Option<Last>), DbErr> {
        let (backend, db) = (self.db.backend(), self.db.connection());
        let ask = self.db.statement(&format!("SELECT {}", backend.now_ms()), []);
        let row = self.db.bounded(db.query_one_raw(ask)).await?;
        let missing = || DbErr::RecordNotFound("the database's instant".to_owned());
        let theirs: i64 = row.ok_or_else(missing)?.try_get_by_index(0)?;
        let theirs = DateTime::from_timestamp_millis(theirs).ok_or_else(missing)?;
        let sql = format!(
            "SELECT position, updated_at FROM {} WHERE task = ?",
            self.tables.retention
        );
        let read = self.db.statement(&sql, [TASK.into()]);
        let Some(row) = self.db.bounded(db.query_one_raw(read)).await? else {
            return Ok((theirs, None));
        };
        let by = DateTime::from_timestamp_millis(row.try_get_by_index(0)?);
        let at = read_instant(&row, 1, backend)?.unwrap_or_default().and_utc();
        let last = by.map(|by| Last { by, ago: theirs - at });
        Ok((theirs, last))
    }

    /// Never backwards: a clock that was far behind for a while is no jump when it is put right.
    async fn keep_last(&self, by: DateTime<Utc>) -> Result<(), DbErr> {
        let (backend, table) = (self.db.backend(), &self.tables.retention);
        let on_conflict = match backend {
            Backend::MySql => {
                "ON DUPLICATE KEY UPDATE updated_at = VALUES(updated_at), position = GREATEST(position, VALUES(position))"
            }
            Backend::Sqlite => {
                "ON CONFLICT (task) DO UPDATE SET updated_at = excluded.updated_at, position = MAX(position, excluded.position)"
            }
        };
        let now = backend.now_expr();
        let sql =
            format!("INSERT INTO {table} (task, position, updated_at) VALUES (?, ?, {now}) {on_conflict}");
        let keep = self
            .db
            .statement(&sql, [TASK.into(), by.timestamp_millis().into()]);
        self.db.bounded(self.db.connection().execute_raw(keep)).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(20_000 + day)
    }

    #[test]
    fn time_goes_on_as_it_does_and_after_a_jump_a_day_in_an_hour() {
        let last = |by, ago| Some(Last { by, ago });
        assert_eq!(next(None, day(0)), (day(0), None));
        assert_eq!(next(last(day(0), TimeDelta::hours(1)), day(2)), (day(2), None));
        assert_eq!(
            next(last(day(0), TimeDelta::hours(1)), day(-900)),
            (day(-900), None)
        );
        let (jumped, minutes) = (Some(Held::Jumped(TimeDelta::days(400))), TimeDelta::minutes);
        for (ago, on) in [
            (minutes(10), TimeDelta::hours(4)),
            (minutes(15), TimeDelta::hours(6)),
            // The database's clock jumped too.
            (TimeDelta::days(400), TimeDelta::hours(6)),
            (-minutes(10), TimeDelta::zero()),
            (TimeDelta::seconds(1), TimeDelta::seconds(24)),
        ] {
            assert_eq!(next(last(day(0), ago), day(400)), (day(0) + on, jumped));
        }
        // A pass each quarter of an hour.
        let (mut by, mut passes) = (day(0), 0);
        while next(last(by, minutes(15)), day(21)).1.is_some() {
            by = next(last(by, minutes(15)), day(21)).0;
            passes += 1;
        }
        assert_eq!(
            passes,
            19 * 4,
            "three weeks without a pass are made up for in nineteen hours"
        );
    }
}

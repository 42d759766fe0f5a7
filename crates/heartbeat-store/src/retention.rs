//! Forgetting what is old, a few hundred rows at a time, so that no writer waits for it.
//!
//! Reports are kept in full for some days, then one per host and hour (the one that arrived last), then none. The report
//! that `ops_host_state` points at is kept always, as is the newest change of each field of a host from before the limit,
//! since a history begins with it.
//!
//! Each batch is a transaction of its own that takes rows away by their keys. How far thinning has come is stored with it, so
//! an interrupted pass is gone on with and two copies at once do no harm.
//!
//! A clock that went wrong must not make everything old: nothing is taken away while our clock and the database's are
//! apart, and after a jump of time what became old is taken away slowly ([`Held`]).

mod changes;
mod horizon;
mod hours;
mod settings;
mod thinning;
mod walk;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use store_support::DbErr;

pub use horizon::Held;
pub use settings::{RetentionProblem, RetentionSettings};

use crate::store::{HeartbeatStore, HeartbeatStoreError};
use walk::{Rules, Walk};

#[cfg(test)]
pub(crate) use {
    changes::succeeded,
    hours::{delete, oldest},
    walk::batch,
};

/// What one pass took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// Reports beside the one that is kept of their hour.
    pub thinned: u64,
    /// Reports that were too old.
    pub heartbeats: u64,
    /// Events.
    pub events: u64,
    /// Changes.
    pub changes: u64,
    /// Hours.
    pub hours: u64,
    /// The most rows that one statement took away.
    pub largest: u64,
    /// Whether a table was not finished: the next pass goes on.
    pub more: bool,
    /// Why not everything was taken away that is old by the instant given.
    pub held: Option<Held>,
}

impl Retained {
    /// How many rows were taken away in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.thinned + self.heartbeats + self.events + self.changes + self.hours
    }
}

impl HeartbeatStore {
    /// Makes one pass over all tables by the instant `now`, with at most [`RetentionSettings::batches`] batches for each of its five parts and a
    /// pause after each batch that took something away. To be called at least once in two days: after a longer time it
    /// goes on slowly ([`Held::Jumped`]).
    ///
    /// # Errors
    /// [`HeartbeatStoreError`]; what was taken away before stays away.
    ///
    /// # Cancel safety
    /// A batch is taken away whole or not at all, and the next pass goes on. A MySQL connection whose statement is cut off
    /// may be of no more use, though, and closing the pool then waits for it: to stop a pass early, use
    /// [`HeartbeatStore::retain_while`].
    pub async fn retain(
        &self,
        settings: &RetentionSettings,
        now: DateTime<Utc>,
    ) -> Result<Retained, HeartbeatStoreError> {
        self.retain_while(settings, now, &|| true).await
    }

    /// The same, as long as `go_on` says so, which is asked before each batch.
    ///
    /// # Errors
    /// As [`HeartbeatStore::retain`].
    ///
    /// # Cancel safety
    /// As [`HeartbeatStore::retain`].
    pub async fn retain_while(
        &self,
        settings: &RetentionSettings,
        now: DateTime<Utc>,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Retained, HeartbeatStoreError> {
        let horizon = self.horizon(now).await;
        let failed = HeartbeatStoreError::from("forget what is old");
        let (now, held) = match horizon.map_err(&failed)? {
            (Some(now), held) => (now, held),
            (None, held) => {
                return Ok(Retained {
                    held,
                    ..Retained::default()
                });
            }
        };
        let rules = Rules { settings, go_on, now };
        let done = self.pass(rules, now).await.map_err(failed)?;
        Ok(Retained { held, ..done })
    }

    async fn pass(&self, rules: Rules<'_>, now: DateTime<Utc>) -> Result<Retained, DbErr> {
        let settings = rules.settings;
        let mut done = Retained::default();
        let before = |days: u32| now - TimeDelta::days(i64::from(days));
        let kept = self.pointed_at().await?;
        let old = before(settings.hourly_days);
        done.heartbeats = self
            .forget(Walk::new(&self.tables.heartbeats, rules), old, &kept, &mut done)
            .await?;
        // Whole hours only: of one that goes on, the last report has not arrived yet.
        let old = before(settings.full_days);
        let old = old.duration_trunc(TimeDelta::hours(1)).unwrap_or(old);
        done.thinned = self.thin(rules, old, &kept, &mut done).await?;
        let old = before(settings.event_days);
        let none = Default::default();
        done.events = self
            .forget(Walk::new(&self.tables.events, rules), old, &none, &mut done)
            .await?;
        done.changes = self
            .forget_changes(rules, before(settings.change_days), &mut done)
            .await?;
        done.hours = self
            .forget_hours(rules, before(settings.hour_days), &mut done)
            .await?;
        Ok(done)
    }
}

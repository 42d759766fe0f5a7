//! How one field of a host was over time, from `ops_host_changes`: a row per change, so that a year of a steady host costs
//! as little as a minute.

mod steps;

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use lab_model::HostName;
use sea_orm::{ConnectionTrait as _, QueryResult, Statement};
use store_support::{Database, DbErr};

use crate::store::{HeartbeatStore, HeartbeatStoreError};
use crate::tables::Tables;

/// How many steps one call gives at most: a day by the minute, and room.
pub const MAX_POINTS: u64 = 2_000;
/// How many changes one call reads at most.
pub const MAX_CHANGES: usize = 20_000;

/// What of a host is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// Whether the station said it was ready.
    Ready,
    /// Whether it said it was in local mode.
    LocalMode,
    /// Whether it said somebody local was logged on.
    LocalSession,
    /// The mode of the last power order it knew of.
    Power,
    /// When the host booted, RFC 3339; changes with each boot.
    Boot,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::LocalMode,
        Self::LocalSession,
        Self::Power,
        Self::Boot,
    ];

    /// The word in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::LocalMode => "local_mode",
            Self::LocalSession => "local_session",
            Self::Power => "power",
            Self::Boot => "boot",
        }
    }

    /// Reads the word; `None` for another.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == word)
    }

    /// Whether its values are true and false, of which there is a share.
    #[must_use]
    pub fn is_flag(self) -> bool {
        matches!(self, Self::Ready | Self::LocalMode | Self::LocalSession)
    }
}

/// Which history is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryAsk {
    /// Of what.
    pub field: Field,
    /// From this instant, by our clock, and this instant itself.
    pub from: DateTime<Utc>,
    /// Until this instant, but not this instant itself.
    pub to: DateTime<Utc>,
    /// How long each step is; the last may be shorter.
    pub step: Duration,
}

/// What is wrong with what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskProblem {
    /// The window is empty.
    #[error("the window has to end after it begins")]
    EmptyWindow,
    /// A stamp that no row can have.
    #[error("the window has to lie between the years 1000 and 9999")]
    BeyondTheCalendar,
    /// The step is shorter than a second.
    #[error("a step has to be a second at least")]
    ShortStep,
    /// The window has too many steps.
    #[error(
        "the window has {points} steps, and at most {max} are given: choose a longer step or a shorter window"
    )]
    TooManyPoints {
        /// How many there would be.
        points: u64,
        /// How many there may be.
        max: u64,
    },
    /// The window is longer than what is given at once.
    #[error("the window is longer than {max_days} days")]
    LongWindow {
        /// How long it may be.
        max_days: u32,
    },
}

/// Why a history could not be given.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// What was asked for cannot be given.
    #[error(transparent)]
    Ask(#[from] AskProblem),
    /// The field changed more often than one call reads.
    #[error("the field changed more than {max} times in this window: choose a shorter one")]
    TooManyChanges {
        /// How many are read.
        max: usize,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] HeartbeatStoreError),
}

/// How the field was in one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When the step begins.
    pub at: DateTime<Utc>,
    /// For how much of the step the value is known.
    pub known: Duration,
    /// For how much of the step a flag was true; nothing for other fields.
    pub on: Duration,
    /// The value at the end of what is known of the step; `None` when nothing is.
    pub last: Option<String>,
    /// How many changes fell into the step.
    pub changes: u32,
}

impl Point {
    /// Which share of the known time a flag was true, from 0 to 1; `None` when nothing is known.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (!self.known.is_zero()).then(|| self.on.as_secs_f64() / self.known.as_secs_f64())
    }
}

/// A change, or the state that a window begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) at: DateTime<Utc>,
    pub(crate) value: Option<String>,
}

impl HistoryAsk {
    /// How many steps the window has.
    ///
    /// # Errors
    /// [`AskProblem`].
    pub fn points(&self) -> Result<u64, AskProblem> {
        if self.to <= self.from {
            return Err(AskProblem::EmptyWindow);
        }
        if self.step < Duration::from_secs(1) {
            return Err(AskProblem::ShortStep);
        }
        let [from, to] = [self.from, self.to].map(crate::columns::microseconds);
        if from.is_none() || to.is_none() {
            return Err(AskProblem::BeyondTheCalendar);
        }
        let window = (self.to - self.from).to_std().unwrap_or_default();
        let points = window.as_millis().div_ceil(self.step.as_millis());
        let points = u64::try_from(points).unwrap_or(u64::MAX);
        if points > MAX_POINTS {
            return Err(AskProblem::TooManyPoints {
                points,
                max: MAX_POINTS,
            });
        }
        Ok(points)
    }
}

impl HeartbeatStore {
    /// Gives how one field of a host was, step by step.
    ///
    /// A value lasts from the report that brought it until the one that changed it, and until the host's last report, by
    /// our clock; between two reports that are far apart it is taken to have lasted too ([`HeartbeatStore::hours`] says how
    /// many polls failed).
    ///
    /// # Errors
    /// [`HistoryError`].
    pub async fn history(&self, host: &HostName, ask: &HistoryAsk) -> Result<Vec<Point>, HistoryError> {
        ask.points()?;
        let (before, changes, heard_at) = self
            .db
            .bounded(self.read_history(host, ask))
            .await
            .map_err(HeartbeatStoreError::from("read a history"))?;
        if changes.len() > MAX_CHANGES {
            return Err(HistoryError::TooManyChanges { max: MAX_CHANGES });
        }
        Ok(steps::fold(ask, before, &changes, heard_at))
    }

    async fn read_history(
        &self,
        host: &HostName,
        ask: &HistoryAsk,
    ) -> Result<(Option<Change>, Vec<Change>, Option<DateTime<Utc>>), DbErr> {
        let connection = self.db.connection();
        let heard = format!(
            "SELECT last_success_at FROM {} WHERE host_name = ?",
            self.tables.state
        );
        let heard = connection
            .query_one_raw(self.db.statement(&heard, [host.key().into()]))
            .await?;
        let heard_at = match heard {
            Some(row) => row.try_get_by_index::<Option<NaiveDateTime>>(0)?,
            None => None,
        };
        let before = connection
            .query_one_raw(before(&self.db, &self.tables, host, ask))
            .await?;
        let before = before.as_ref().map(change).transpose()?;
        let rows = connection
            .query_all_raw(within(&self.db, &self.tables, host, ask))
            .await?;
        let changes = rows.iter().map(change).collect::<Result<_, _>>()?;
        // What came in the last microsecond counts as heard.
        let heard_at = heard_at.map(|at| at.and_utc() + TimeDelta::microseconds(1));
        Ok((before, changes, heard_at))
    }
}

/// The state that the window begins with.
pub(crate) fn before(db: &Database, tables: &Tables, host: &HostName, ask: &HistoryAsk) -> Statement {
    let sql = format!(
        "SELECT at, new_value FROM {} WHERE host_name = ? AND field = ? AND at < ? ORDER BY at DESC, id DESC LIMIT 1",
        tables.changes
    );
    db.statement(
        &sql,
        [
            host.key().into(),
            ask.field.as_str().into(),
            ask.from.naive_utc().into(),
        ],
    )
}

/// The changes of the window; one more than may be, so that it is seen.
pub(crate) fn within(db: &Database, tables: &Tables, host: &HostName, ask: &HistoryAsk) -> Statement {
    let sql = format!(
        "SELECT at, new_value FROM {} WHERE host_name = ? AND field = ? AND at >= ? AND at < ? ORDER BY at, id LIMIT {}",
        tables.changes,
        MAX_CHANGES + 1
    );
    db.statement(
        &sql,
        [
            host.key().into(),
            ask.field.as_str().into(),
            ask.from.naive_utc().into(),
            ask.to.naive_utc().into(),
        ],
    )
}

fn change(row: &QueryResult) -> Result<Change, DbErr> {
    Ok(Change {
        at: row.try_get_by_index::<NaiveDateTime>(0)?.and_utc(),
        value: row.try_get_by_index(1)?,
    })
}

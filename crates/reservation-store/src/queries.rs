//! What the API shows: a reservation, its history by page, and the journal.

use chrono::{DateTime, NaiveDateTime, Utc};
use lab_model::ReservationId;
use reservation_engine::{Operation, OperationId, StoreError};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _,
};
use serde_json::Value;
use store_support::{Asked, DbErr, Question};

use crate::entity::{attempt, history, operation, reservation};
use crate::fault::Fault;
use crate::reservations;
use crate::store::ReservationStore;
use crate::stored::OPEN;

const RESERVATION: &str = "SELECT transaction_hash, lab_id, status, start_time, end_time, wallet_address, created_at, \
                           updated_at FROM lab_reservations WHERE transaction_hash = ? LIMIT 1";

/// Walks the index on (reservation, time, id), so that a page costs what it shows.
pub(crate) const PAGE: &str = "SELECT id, lab_id, host, action, status, success, response_code, duration_ms, payload, \
                               message, created_at FROM reservation_operations WHERE reservation_id = ? \
                               ORDER BY created_at, id LIMIT ? OFFSET ?";

const COUNT: &str = "SELECT COUNT(*) FROM reservation_operations WHERE reservation_id = ?";

/// A row of `lab_reservations`, as far as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReservationRow {
    /// `transaction_hash`.
    pub reservation_id: String,
    /// `lab_id`, as stored.
    pub lab_id: Option<String>,
    /// `status`, as stored.
    pub status: String,
    /// `start_time`.
    pub start: DateTime<Utc>,
    /// `end_time`.
    pub end: DateTime<Utc>,
    /// `wallet_address`.
    pub wallet_address: Option<String>,
    /// `created_at`.
    pub created_at: Option<DateTime<Utc>>,
    /// `updated_at`.
    pub updated_at: Option<DateTime<Utc>>,
}

/// A row of `reservation_operations`.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationRow {
    /// Row id.
    pub id: i64,
    /// For whom.
    pub reservation_id: String,
    /// The lab, if one was named.
    pub lab_id: Option<String>,
    /// The host's name, or `unmapped`.
    pub host: String,
    /// `wake`, `prepare`, `scheduler:start` and so on.
    pub action: String,
    /// `completed` or `failed`.
    pub status: String,
    /// The same as a boolean.
    pub success: bool,
    /// Exit code or HTTP-like status.
    pub response_code: Option<i32>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i32>,
    /// Details.
    pub payload: Option<Value>,
    /// One line.
    pub message: Option<String>,
    /// When, in whole seconds.
    pub created_at: DateTime<Utc>,
}

/// A page of a reservation's history.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationsPage {
    /// The rows, oldest first.
    pub rows: Vec<OperationRow>,
    /// How many the reservation has in all.
    pub total: u64,
}

/// A try of a step, from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptRow {
    /// Row id.
    pub id: i64,
    /// The step's word.
    pub step: String,
    /// Which try, from 1.
    pub attempt: u32,
    /// Under which fencing token its intent was committed.
    pub token: i64,
    /// When its intent was committed.
    pub intent_at: DateTime<Utc>,
    /// How it ended; `None` while it runs, or when whoever ran it vanished.
    pub outcome: Option<String>,
    /// When it ended.
    pub outcome_at: Option<DateTime<Utc>>,
    /// Why it failed, as JSON text.
    pub reason_json: Option<String>,
}

impl ReservationStore {
    /// Gives a reservation as stored; `None` when there is no such.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reservation_row(&self, id: &ReservationId) -> Result<Option<ReservationRow>, StoreError> {
        let row = self
            .db
            .bounded(reservations::find(self.db.connection(), id.as_str()))
            .await;
        Ok(row
            .map_err(|error| Fault::during("read a reservation")(error.into()))?
            .map(ReservationRow::from))
    }

    /// Gives a reservation as stored with a page of its history, by time and then by id, oldest first; `None` when there is
    /// no such. Both are read over one connection, not at one instant.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn story(
        &self,
        id: &ReservationId,
        limit: u32,
        offset: u64,
    ) -> Result<Option<(ReservationRow, OperationsPage)>, StoreError> {
        let id = id.as_str();
        let call = async {
            let found = Question {
                sql: RESERVATION,
                values: &[Asked::Text(id)],
            };
            let page = &page_of(id, limit, offset);
            let [found, rows] = self.db.ask([found, question(page)]).await?;
            let Some(found) = found.first() else {
                return Ok(None);
            };
            let page = self.counted(id, &rows, limit, offset).await?;
            Ok(Some((ReservationRow::read(found)?, page)))
        };
        self.db
            .bounded(call)
            .await
            .map_err(|error| Fault::during("read a reservation's story")(error.into()))
    }

    /// Gives a page of a reservation's history, by time and then by id, oldest first, and how many rows there
    /// are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn operations_page(
        &self,
        id: &ReservationId,
        limit: u32,
        offset: u64,
    ) -> Result<OperationsPage, StoreError> {
        let id = id.as_str();
        let call = async {
            let page = &page_of(id, limit, offset);
            let [rows] = self.db.ask([question(page)]).await?;
            self.counted(id, &rows, limit, offset).await
        };
        self.db
            .bounded(call)
            .await
            .map_err(|error| Fault::during("read a page of the history")(error.into()))
    }

    async fn counted(
        &self,
        id: &str,
        rows: &[QueryResult],
        limit: u32,
        offset: u64,
    ) -> Result<OperationsPage, DbErr> {
        let rows: Result<Vec<_>, _> = rows.iter().map(|row| OperationRow::read(row, id)).collect();
        let rows = rows?;
        let read = rows.len() as u64;
        // A page that is not full is the last one, unless it lies beyond the end.
        let total = if read < u64::from(limit) && (read > 0 || offset == 0) {
            offset + read
        } else {
            let counting = Question {
                sql: COUNT,
                values: &[Asked::Text(id)],
            };
            let [counted] = self.db.ask([counting]).await?;
            let counted = counted.first().map(|row| row.try_get_by_index::<i64>(0));
            counted.transpose()?.unwrap_or_default().unsigned_abs()
        };
        Ok(OperationsPage { rows, total })
    }

    /// Gives the newest rows of a reservation's history, newest first, at most `lookback`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn newest_operations(
        &self,
        id: &ReservationId,
        lookback: u32,
    ) -> Result<Vec<OperationRow>, StoreError> {
        let rows = self
            .db
            .bounded(newest(id, lookback).all(self.db.connection()))
            .await;
        let rows = rows.map_err(|error| Fault::during("read the newest history")(error.into()))?;
        Ok(rows.into_iter().map(OperationRow::from).collect())
    }

    /// Gives the operations that are not final, whoever opened them, earliest due first, at most `limit`.
    /// Unreadable ones are left out with a line in the log.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_operations(&self, limit: u32) -> Result<Vec<Operation>, StoreError> {
        let open = operation::Entity::find()
            .filter(operation::Column::State.is_in(OPEN))
            .order_by_asc(operation::Column::DueAt)
            .order_by_asc(operation::Column::Id)
            .limit(u64::from(limit))
            .all(self.db.connection());
        let rows = self.db.bounded(open).await;
        let rows = rows.map_err(|error| Fault::during("read open operations")(error.into()))?;
        let readable = rows.iter().filter_map(|row| self.reader.told.ours(row));
        Ok(readable.collect())
    }

    /// Gives the tries of an operation's steps, oldest first, at most 1,000.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn attempts(&self, operation: OperationId) -> Result<Vec<AttemptRow>, StoreError> {
        let tries = attempt::Entity::find()
            .filter(attempt::Column::OperationId.eq(operation.0))
            .order_by_asc(attempt::Column::Id)
            .limit(1_000)
            .all(self.db.connection());
        let rows = self.db.bounded(tries).await;
        let rows = rows.map_err(|error| Fault::during("read attempts")(error.into()))?;
        Ok(rows.into_iter().map(AttemptRow::from).collect())
    }
}

fn history_of(id: &ReservationId) -> sea_orm::Select<history::Entity> {
    history::Entity::find().filter(history::Column::ReservationId.eq(id.as_str()))
}

/// The values of [`PAGE`]. SQLite counts offsets in 63 bits; nobody has as many rows.
fn page_of(id: &str, limit: u32, offset: u64) -> [Asked<'_>; 3] {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    [
        Asked::Text(id),
        Asked::Number(i64::from(limit)),
        Asked::Number(offset),
    ]
}

fn question<'a>(page: &'a [Asked<'a>; 3]) -> Question<'a> {
    Question {
        sql: PAGE,
        values: page,
    }
}

pub(crate) fn newest(id: &ReservationId, lookback: u32) -> sea_orm::Select<history::Entity> {
    history_of(id)
        .order_by_desc(history::Column::CreatedAt)
        .order_by_desc(history::Column::Id)
        .limit(u64::from(lookback))
}

impl ReservationRow {
    /// A row of [`RESERVATION`].
    fn read(row: &QueryResult) -> Result<Self, DbErr> {
        Ok(Self {
            reservation_id: row.try_get_by_index::<Option<String>>(0)?.unwrap_or_default(),
            lab_id: row.try_get_by_index(1)?,
            status: row.try_get_by_index::<Option<String>>(2)?.unwrap_or_default(),
            start: row.try_get_by_index(3)?,
            end: row.try_get_by_index(4)?,
            wallet_address: row.try_get_by_index(5)?,
            created_at: row.try_get_by_index(6)?,
            updated_at: row.try_get_by_index(7)?,
        })
    }
}

impl OperationRow {
    /// A row of [`PAGE`].
    fn read(row: &QueryResult, reservation_id: &str) -> Result<Self, DbErr> {
        let created_at: NaiveDateTime = row.try_get_by_index(10)?;
        Ok(Self {
            id: row.try_get_by_index(0)?,
            reservation_id: reservation_id.to_owned(),
            lab_id: row.try_get_by_index(1)?,
            host: row.try_get_by_index(2)?,
            action: row.try_get_by_index(3)?,
            status: row.try_get_by_index(4)?,
            success: row.try_get_by_index(5)?,
            response_code: row.try_get_by_index(6)?,
            duration_ms: row.try_get_by_index(7)?,
            payload: row.try_get_by_index(8)?,
            message: row.try_get_by_index(9)?,
            created_at: created_at.and_utc(),
        })
    }
}

impl From<reservation::Model> for ReservationRow {
    fn from(row: reservation::Model) -> Self {
        Self {
            reservation_id: row.transaction_hash.unwrap_or_default(),
            lab_id: row.lab_id,
            status: row.status.unwrap_or_default(),
            start: row.start_time,
            end: row.end_time,
            wallet_address: row.wallet_address,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<history::Model> for OperationRow {
    fn from(row: history::Model) -> Self {
        Self {
            id: row.id,
            reservation_id: row.reservation_id,
            lab_id: row.lab_id,
            host: row.host,
            action: row.action,
            status: row.status,
            success: row.success,
            response_code: row.response_code,
            duration_ms: row.duration_ms,
            payload: row.payload,
            message: row.message,
            created_at: row.created_at.and_utc(),
        }
    }
}

impl From<attempt::Model> for AttemptRow {
    fn from(row: attempt::Model) -> Self {
        Self {
            id: row.id,
            step: row.step,
            attempt: u32::try_from(row.attempt).unwrap_or(0),
            token: row.token,
            intent_at: row.intent_at.and_utc(),
            outcome: row.outcome,
            outcome_at: row.outcome_at.map(|at| at.and_utc()),
            reason_json: row.reason_json,
        }
    }
}

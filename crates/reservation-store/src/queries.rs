//! What the API shows: a reservation, its history by page, and the journal.

use chrono::{DateTime, Utc};
use lab_model::ReservationId;
use reservation_engine::{Operation, OperationId, StoreError};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};
use serde_json::Value;

use crate::entity::{attempt, history, operation, reservation};
use crate::fault::Fault;
use crate::reservations;
use crate::store::ReservationStore;
use crate::stored::OPEN;

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
        // SQLite counts offsets in 63 bits; nobody has as many rows.
        let offset = offset.min(i64::MAX.unsigned_abs());
        let call = async {
            let rows = page(id, limit, offset).all(self.db.connection()).await?;
            let read = rows.len() as u64;
            // A page that is not full is the last one, unless it lies beyond the end.
            let total = if read < u64::from(limit) && (read > 0 || offset == 0) {
                offset + read
            } else {
                history_of(id).count(self.db.connection()).await?
            };
            Ok(OperationsPage {
                rows: rows.into_iter().map(OperationRow::from).collect(),
                total,
            })
        };
        self.db
            .bounded(call)
            .await
            .map_err(|error| Fault::during("read a page of the history")(error.into()))
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

/// Walks the index on (reservation, time, id), so that a page costs what it shows.
pub(crate) fn page(id: &ReservationId, limit: u32, offset: u64) -> sea_orm::Select<history::Entity> {
    history_of(id)
        .order_by_asc(history::Column::CreatedAt)
        .order_by_asc(history::Column::Id)
        .limit(u64::from(limit))
        .offset(offset)
}

pub(crate) fn newest(id: &ReservationId, lookback: u32) -> sea_orm::Select<history::Entity> {
    history_of(id)
        .order_by_desc(history::Column::CreatedAt)
        .order_by_desc(history::Column::Id)
        .limit(u64::from(lookback))
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

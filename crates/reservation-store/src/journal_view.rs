//! One operation of the journal with the tries of its steps, as the API shows it.

use chrono::{DateTime, NaiveDateTime, Utc};
use reservation_engine::{OperationId, StoreError};
use sea_orm::{ConnectionTrait as _, QueryResult, Statement, Value};
use store_support::{Database, DbErr};

use crate::fault::Fault;
use crate::queries::AttemptRow;
use crate::store::ReservationStore;

/// Most tries that are shown; a manual operation has a handful.
const MAX_ATTEMPTS: u32 = 1_000;

/// By what an operation is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKey<'a> {
    /// By its row id.
    Id(OperationId),
    /// By the key it was opened under.
    Key(&'a str),
}

/// A row of the journal with the tries of its steps, also when it was written by another release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// Row id.
    pub id: OperationId,
    /// The kind's word.
    pub kind: String,
    /// For which reservation.
    pub reservation_id: String,
    /// For which lab, if one was named.
    pub lab_id: Option<String>,
    /// On which host.
    pub host: String,
    /// The state's word: `pending`, `running`, `checking`, `waiting`, `done` or `needs_attention`.
    pub state: String,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
    /// When it was last moved.
    pub updated_at: DateTime<Utc>,
    /// The tries, oldest first.
    pub attempts: Vec<AttemptRow>,
}

impl ReservationStore {
    /// Gives an operation with the tries of its steps, at most 1,000, in one statement.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn journal_entry(&self, key: JournalKey<'_>) -> Result<Option<JournalEntry>, StoreError> {
        let read = self.db.connection().query_all_raw(joined(&self.db, key));
        let rows = self.db.bounded(read).await;
        let entry = rows.and_then(|rows| entry(&rows));
        entry.map_err(|error| Fault::during("read an operation")(error.into()))
    }
}

pub(crate) fn joined(db: &Database, key: JournalKey<'_>) -> Statement {
    let (column, value): (_, Value) = match key {
        JournalKey::Id(id) => ("o.id", id.0.into()),
        JournalKey::Key(key) => ("o.op_key", key.into()),
    };
    let sql = format!(
        "SELECT o.id, o.kind, o.reservation_id, o.lab_id, o.host, o.state, o.created_at, o.updated_at, a.id, a.step, \
         a.attempt, a.token, a.intent_at, a.outcome, a.outcome_at, a.reason_json \
         FROM ops_operations o LEFT JOIN ops_attempts a ON a.operation_id = o.id \
         WHERE {column} = ? ORDER BY a.id LIMIT {MAX_ATTEMPTS}"
    );
    db.statement(&sql, [value])
}

fn entry(rows: &[QueryResult]) -> Result<Option<JournalEntry>, DbErr> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let stamp = |column| first.try_get_by_index::<NaiveDateTime>(column);
    let mut entry = JournalEntry {
        id: OperationId(first.try_get_by_index(0)?),
        kind: first.try_get_by_index(1)?,
        reservation_id: first.try_get_by_index(2)?,
        lab_id: first.try_get_by_index(3)?,
        host: first.try_get_by_index(4)?,
        state: first.try_get_by_index(5)?,
        created_at: stamp(6)?.and_utc(),
        updated_at: stamp(7)?.and_utc(),
        attempts: Vec::new(),
    };
    for row in rows {
        entry.attempts.extend(attempt(row)?);
    }
    Ok(Some(entry))
}

/// `None` for the one row of an operation without any try.
fn attempt(row: &QueryResult) -> Result<Option<AttemptRow>, DbErr> {
    let Some(id) = row.try_get_by_index::<Option<i64>>(8)? else {
        return Ok(None);
    };
    let number: i32 = row.try_get_by_index(10)?;
    let ended: Option<NaiveDateTime> = row.try_get_by_index(14)?;
    Ok(Some(AttemptRow {
        id,
        step: row.try_get_by_index(9)?,
        attempt: u32::try_from(number).unwrap_or(0),
        token: row.try_get_by_index(11)?,
        intent_at: row.try_get_by_index::<NaiveDateTime>(12)?.and_utc(),
        outcome: row.try_get_by_index(13)?,
        outcome_at: ended.map(|at| at.and_utc()),
        reason_json: row.try_get_by_index(15)?,
    }))
}

//! The shared tables, read and written in plain SQL as the gateway and the web page do.

use chrono::{DateTime, NaiveDateTime, SubsecRound as _, Utc};
use sea_orm::{ConnectionTrait as _, FromQueryResult};
use serde_json::Value;
use store_support::Database;

/// One row of `reservation_operations`.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub(crate) struct HistoryRow {
    pub(crate) lab_id: Option<String>,
    pub(crate) host: String,
    pub(crate) action: String,
    pub(crate) status: String,
    pub(crate) success: bool,
    pub(crate) response_code: Option<i32>,
    pub(crate) duration_ms: Option<i32>,
    pub(crate) payload: Option<Value>,
    pub(crate) message: Option<String>,
    pub(crate) created_at: NaiveDateTime,
}

/// One operation of the journal.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub(crate) struct Journal {
    pub(crate) kind: String,
    pub(crate) state: String,
    pub(crate) state_json: String,
}

impl Journal {
    /// The state's own words, its reason among them.
    pub(crate) fn details(&self) -> Value {
        serde_json::from_str(&self.state_json).unwrap()
    }
}

/// The server of the MySQL half of the tests.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by this variable where the server is"
)]
pub(crate) fn server_url() -> Option<String> {
    std::env::var("TEST_MYSQL_URL").ok()
}

/// Makes the tables, as the first service to come would.
pub(crate) async fn migrate(db: &Database) {
    migrations::run(db.connection()).await.unwrap();
}

/// Runs a statement and says how many rows it changed.
pub(crate) async fn execute<const N: usize>(db: &Database, sql: &str, values: [sea_orm::Value; N]) -> u64 {
    db.connection()
        .execute_raw(db.statement(sql, values))
        .await
        .unwrap()
        .rows_affected()
}

/// The number that a query gives.
pub(crate) async fn count(db: &Database, sql: &str) -> i64 {
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, []))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// The history of a reservation, oldest row first.
pub(crate) async fn history(db: &Database, id: &str) -> Vec<HistoryRow> {
    let sql = "SELECT lab_id, host, action, status, success, response_code, duration_ms, payload, message, created_at \
               FROM reservation_operations WHERE reservation_id = ? ORDER BY created_at, id";
    HistoryRow::find_by_statement(db.statement(sql, [id.into()]))
        .all(db.connection())
        .await
        .unwrap()
}

/// The operations of a reservation, in the order in which they were opened.
pub(crate) async fn journal(db: &Database, id: &str) -> Vec<Journal> {
    let sql = "SELECT kind, state, state_json FROM ops_operations WHERE reservation_id = ? ORDER BY id";
    Journal::find_by_statement(db.statement(sql, [id.into()]))
        .all(db.connection())
        .await
        .unwrap()
}

/// A reservation's status.
pub(crate) async fn status(db: &Database, id: &str) -> String {
    let read = db.statement(
        "SELECT status FROM lab_reservations WHERE transaction_hash = ?",
        [id.into()],
    );
    let row = db.connection().query_one_raw(read).await.unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

/// What the gateway does with reservations.
pub(crate) mod reservations {
    use super::*;

    fn stamp(at: DateTime<Utc>) -> sea_orm::Value {
        at.trunc_subsecs(0).naive_utc().into()
    }

    /// Writes a confirmed reservation.
    pub(crate) async fn book(db: &Database, id: &str, lab: &str, start: DateTime<Utc>, end: DateTime<Utc>) {
        let sql = "INSERT INTO lab_reservations (transaction_hash, wallet_address, lab_id, start_time, end_time, status) \
                   VALUES (?, '0xde', ?, ?, ?, 'CONFIRMED')";
        execute(db, sql, [id.into(), lab.into(), stamp(start), stamp(end)]).await;
    }

    /// Moves a reservation.
    pub(crate) async fn shift(db: &Database, id: &str, start: DateTime<Utc>, end: DateTime<Utc>) {
        let sql = "UPDATE lab_reservations SET start_time = ?, end_time = ? WHERE transaction_hash = ?";
        execute(db, sql, [stamp(start), stamp(end), id.into()]).await;
    }

    /// Calls a reservation off.
    pub(crate) async fn cancel(db: &Database, id: &str) {
        let sql = "UPDATE lab_reservations SET status = 'CANCELLED' WHERE transaction_hash = ?";
        execute(db, sql, [id.into()]).await;
    }
}

//! The only way to open a transaction: the whole of it is run again when another writer was faster.

use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::Pin;
use std::time::Duration;

use rand::RngExt as _;
use sea_orm::{
    DatabaseTransaction, DbErr, RuntimeErr, SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};

use crate::Backend;
use crate::database::Database;
use crate::fault::{DbFault, classify};

/// How often a transaction is tried in all.
const MAX_TRIES: u32 = 10;
/// The longest wait between two tries.
const MAX_WAIT: Duration = Duration::from_millis(400);

/// An open transaction, to be used as a connection.
///
/// `'env` is the time for which what the closure borrows lives; it lets the closure of [`transaction`] borrow
/// from its surroundings although its future has to be boxed.
#[derive(Debug)]
pub struct Tx<'env> {
    inner: DatabaseTransaction,
    env: PhantomData<&'env mut &'env ()>,
}

impl Deref for Tx<'_> {
    type Target = DatabaseTransaction;
    fn deref(&self) -> &DatabaseTransaction {
        &self.inner
    }
}

/// An error that may come out of a transaction's closure.
pub trait TransactionFailure: From<DbErr> + Send {
    /// The database's part of it; `None` when the closure itself decided to stop.
    fn database_error(&self) -> Option<&DbErr>;
}

impl TransactionFailure for DbErr {
    fn database_error(&self) -> Option<&DbErr> {
        Some(self)
    }
}

/// Runs `body` in a transaction, commits when it gives `Ok` and rolls back when it gives `Err`.
///
/// On a conflict ([`DbFault::Conflict`]) everything is rolled back and `body` runs again, after a jittered
/// wait, at most ten times in all; so `body` must have no effect outside the transaction and must make no
/// network call. On MySQL it runs as READ COMMITTED, as every session does; on SQLite it takes the write lock at
/// once, so that a read inside it cannot be overtaken.
///
/// # Errors
/// Whatever `body` gives, or the database's error. A commit whose answer is lost gives an error that
/// [`classify`] calls [`DbFault::Unavailable`]: whether it took effect is then unknown. So does one that
/// takes longer than the database's statement deadline, all of its tries together.
///
/// # Cancel safety
/// Dropping the future rolls back, unless the commit was already sent; then the outcome is unknown.
pub async fn transaction<'env, T, E, F>(db: &Database, body: F) -> Result<T, E>
where
    T: Send,
    E: TransactionFailure,
    F: for<'c> Fn(&'c Tx<'env>) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>> + Send + Sync,
{
    let call = retried(|| once(db, &body));
    match db.timed(call).await {
        Ok(outcome) => {
            db.heard(
                outcome
                    .as_ref()
                    .err()
                    .and_then(TransactionFailure::database_error),
            );
            outcome
        }
        Err(late) => {
            db.heard(Some(&late));
            Err(E::from(late))
        }
    }
}

/// Runs a call that is one statement, which needs no transaction, again while another writer is faster; at
/// most ten times in all.
///
/// # Errors
/// Those of the call.
///
/// # Cancel safety
/// As the call.
pub async fn retried<T, E, F>(call: impl Fn() -> F) -> Result<T, E>
where
    E: TransactionFailure,
    F: Future<Output = Result<T, E>>,
{
    let mut tries = 0;
    loop {
        tries += 1;
        let outcome = call().await;
        let conflict = matches!(
            &outcome,
            Err(error) if error.database_error().is_some_and(|error| classify(error) == DbFault::Conflict)
        );
        if !conflict || tries == MAX_TRIES {
            return outcome;
        }
        tracing::debug!(
            attempt = tries,
            "another writer was faster, running the statements again"
        );
        tokio::time::sleep(wait_after(tries)).await;
    }
}

async fn once<'env, T, E, F>(db: &Database, body: &F) -> Result<T, E>
where
    E: TransactionFailure,
    F: for<'c> Fn(&'c Tx<'env>) -> Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>,
{
    db.count_transaction();
    let tx = Tx {
        inner: begin(db).await?,
        env: PhantomData,
    };
    match body(&tx).await {
        Ok(value) => {
            tx.inner.commit().await?;
            Ok(value)
        }
        Err(error) => {
            // After error 1205 MySQL has rolled back the statement only. A rollback that fails is no news:
            // the connection is gone or will be cleaned before its next use.
            if let Err(rollback) = tx.inner.rollback().await {
                tracing::debug!(error = %rollback, "rollback failed");
            }
            Err(error)
        }
    }
}

/// Opens a transaction, in a task of its own: the driver counts a transaction only when the answer to its `BEGIN` has
/// come. If it were dropped while it waits for that, the connection would go back to the pool inside a transaction of
/// which nobody knows, and whatever is written over it from then on would never be committed.
async fn begin(db: &Database) -> Result<DatabaseTransaction, DbErr> {
    let options = TransactionOptions {
        sqlite_transaction_mode: (db.backend() == Backend::Sqlite)
            .then_some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let connection = db.connection().clone();
    let begun = tokio::spawn(async move { connection.begin_with_options(options).await });
    match begun.await {
        Ok(begun) => begun,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(DbErr::Conn(RuntimeErr::Internal("the program ends".to_owned()))),
        },
    }
}

/// Doubles from 5 ms and draws from the upper half, so that losers of one round do not meet again in the
/// next.
fn wait_after(tries: u32) -> Duration {
    let full = Duration::from_millis(5 << tries.min(8)).min(MAX_WAIT);
    full.mul_f64(rand::rng().random_range(0.5..1.0))
}

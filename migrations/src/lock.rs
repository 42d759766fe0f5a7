//! One row that says who is migrating, won by a conditional update and ended by the database's clock.
//!
//! An advisory lock would not do: on a cluster it is local to one node, and SQLite has none.

use std::time::Duration;

use rand::RngExt as _;
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, Statement, Value};
use store_support::{Backend, retried};
use tokio::time::{Instant, sleep};

use crate::run::MigrateError;

/// How long a lock lasts that nobody renews.
const LEASE: Duration = Duration::from_secs(30);
/// How often its holder renews it.
const RENEW_EVERY: Duration = Duration::from_secs(8);

pub(crate) struct SchemaLock<'a> {
    connection: &'a DatabaseConnection,
    backend: Backend,
}

/// Proof of having won the lock.
pub(crate) struct Held {
    holder: String,
}

impl<'a> SchemaLock<'a> {
    pub(crate) fn new(connection: &'a DatabaseConnection, backend: Backend) -> Self {
        Self { connection, backend }
    }

    /// Makes the table and its one row. Both statements are safe to run at once from many processes.
    pub(crate) async fn prepare(&self) -> Result<(), DbErr> {
        self.execute(
            "CREATE TABLE IF NOT EXISTS ops_schema_lock (id INT NOT NULL PRIMARY KEY, holder VARCHAR(64) NULL, \
             lease_until BIGINT NOT NULL)",
            vec![],
        )
        .await?;
        let insert = format!(
            "{} INTO ops_schema_lock (id, holder, lease_until) VALUES (1, NULL, 0)",
            self.backend.insert_if_absent()
        );
        self.execute(&insert, vec![]).await?;
        Ok(())
    }

    pub(crate) async fn acquire(&self, max_wait: Duration) -> Result<Held, MigrateError> {
        let holder = format!("{}-{:016x}", std::process::id(), rand::random::<u64>());
        let now = self.backend.now_ms();
        let take = format!(
            "UPDATE ops_schema_lock SET holder = ?, lease_until = {now} + ? WHERE id = 1 AND lease_until <= {now}"
        );
        let began = Instant::now();
        loop {
            let values = vec![holder.as_str().into(), millis(LEASE)];
            if self.execute(&take, values).await? == 1 {
                return Ok(Held { holder });
            }
            let waited = began.elapsed();
            if waited >= max_wait {
                return Err(MigrateError::Locked {
                    holder: self.holder().await?,
                    waited,
                });
            }
            sleep(jittered(Duration::from_millis(150))).await;
        }
    }

    /// Renews the lock until dropped; ends only when it is lost.
    pub(crate) async fn keep(&self, held: &Held) -> MigrateError {
        let now = self.backend.now_ms();
        let renew = format!(
            "UPDATE ops_schema_lock SET lease_until = {now} + ? WHERE id = 1 AND holder = ? AND lease_until > {now}"
        );
        loop {
            sleep(RENEW_EVERY).await;
            match self
                .execute(&renew, vec![millis(LEASE), held.holder.as_str().into()])
                .await
            {
                Ok(1) => {}
                Ok(_) => return MigrateError::LockLost,
                // The lease outlasts three renewals; a database that is really gone stops the migration as
                // well.
                Err(error) => tracing::warn!(%error, "cannot renew the schema lock now"),
            }
        }
    }

    pub(crate) async fn give_back(&self, held: &Held) -> Result<(), DbErr> {
        let free = "UPDATE ops_schema_lock SET holder = NULL, lease_until = 0 WHERE id = 1 AND holder = ?";
        self.execute(free, vec![held.holder.as_str().into()])
            .await
            .map(|_| ())
    }

    async fn holder(&self) -> Result<String, DbErr> {
        let read = Statement::from_string(
            self.backend.driver(),
            "SELECT holder FROM ops_schema_lock WHERE id = 1",
        );
        let row = self.connection.query_one_raw(read).await?;
        let holder = row
            .map(|row| row.try_get_by_index::<Option<String>>(0))
            .transpose()?
            .flatten();
        Ok(holder.unwrap_or_else(|| "unknown".to_owned()))
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<u64, DbErr> {
        retried(|| async {
            let statement = Statement::from_sql_and_values(self.backend.driver(), sql, values.clone());
            Ok(self.connection.execute_raw(statement).await?.rows_affected())
        })
        .await
    }
}

fn millis(duration: Duration) -> Value {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).into()
}

fn jittered(around: Duration) -> Duration {
    around.mul_f64(rand::rng().random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use store_support::each_backend;

    use super::*;

    each_backend! {
        async fn waiting_for_a_living_holder_ends_with_its_name(test) {
            let db = test.database();
            let lock = SchemaLock::new(db.connection(), db.backend());
            lock.prepare().await.unwrap();
            let held = lock.acquire(Duration::ZERO).await.unwrap();
            let waited = lock.acquire(Duration::from_millis(300)).await;
            let Err(MigrateError::Locked { holder, .. }) = waited else {
                panic!("two hold the lock")
            };
            assert_eq!(holder, held.holder);
            lock.give_back(&held).await.unwrap();
            assert!(lock.acquire(Duration::ZERO).await.is_ok());
        }
    }
}

//! Bringing a schema up to date, one process at a time.

use std::time::Duration;

use sea_orm_migration::sea_orm::{DatabaseConnection, DbErr, sea_query};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use store_support::{Backend, DbFault, classify};

use crate::lock::{Held, SchemaLock};
use crate::steps;

/// How long [`run`] waits for another process that is migrating. An index on millions of rows takes its time.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The migrations that were applied just now, in order.
    pub applied: Vec<String>,
    /// How many were there before.
    pub already: usize,
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Another process has been migrating for longer than we wait.
    #[error("another process ({holder}) holds the schema lock for longer than {waited:?}")]
    Locked {
        /// Who holds the lock.
        holder: String,
        /// How long we waited.
        waited: Duration,
    },
    /// Our lock ran out or was taken while we migrated.
    #[error("the schema lock was lost while migrating")]
    LockLost,
    /// The database does not answer now; try again later.
    #[error("the database is not available")]
    Unavailable(#[source] DbErr),
    /// The database refused a statement: missing rights, or a table of the same name that is not the
    /// contract's.
    #[error("the database refused a migration")]
    Refused(#[source] DbErr),
    /// Neither MySQL nor SQLite.
    #[error("this kind of database is not supported")]
    UnsupportedBackend,
}

impl From<DbErr> for MigrateError {
    fn from(error: DbErr) -> Self {
        match classify(&error) {
            DbFault::Conflict | DbFault::Unavailable => Self::Unavailable(error),
            DbFault::Unique | DbFault::Refused => Self::Refused(error),
        }
    }
}

/// Our migrations under a table name of our own: the database is shared with services that may have theirs.
struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        steps::all()
    }

    fn migration_table_name() -> sea_query::DynIden {
        sea_query::IntoIden::into_iden("ops_migrations")
    }
}

/// Brings the schema up to date. Processes that start at the same time wait for each other and all succeed.
///
/// # Errors
/// [`MigrateError`]; after any of them it can simply be called again.
///
/// # Cancel safety
/// Dropping the future leaves the schema lock to expire (30 s) and the migration under way to the next
/// caller.
pub async fn run(connection: &DatabaseConnection) -> Result<Report, MigrateError> {
    let backend = Backend::of(connection.get_database_backend()).ok_or(MigrateError::UnsupportedBackend)?;
    let lock = SchemaLock::new(connection, backend);
    lock.prepare().await?;
    let held = lock.acquire(MAX_WAIT).await?;
    let migrated = tokio::select! {
        migrated = migrate(connection) => migrated,
        lost = lock.keep(&held) => Err(lost),
    };
    give_back(&lock, &held).await;
    migrated
}

async fn give_back(lock: &SchemaLock<'_>, held: &Held) {
    if let Err(error) = lock.give_back(held).await {
        tracing::warn!(%error, "the schema lock was not given back, it expires by itself");
    }
}

async fn migrate(connection: &DatabaseConnection) -> Result<Report, MigrateError> {
    let names = |migrations: Vec<sea_orm_migration::migrator::Migration>| -> Vec<String> {
        migrations
            .iter()
            .map(|migration| migration.name().to_owned())
            .collect()
    };
    let already = Migrator::get_applied_migrations(connection).await?.len();
    let applied = names(Migrator::get_pending_migrations(connection).await?);
    Migrator::up(connection, None).await?;
    for name in &applied {
        tracing::info!(migration = name, "migration applied");
    }
    Ok(Report { applied, already })
}

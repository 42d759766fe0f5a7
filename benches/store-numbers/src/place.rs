//! The databases that are measured, a fresh one for each table.

use anyhow::Result;
use store_support::Database;
use store_support::test_support::{TestDatabase, on_mysql, on_sqlite};
use tokio::sync::oneshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    MariaDb,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::MariaDb => "mariadb",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::MariaDb => "MariaDB",
        }
    }
}

/// Runs `work` on a fresh, migrated database. `None` when `TEST_MYSQL_URL` names no server.
pub(crate) async fn fresh<R, F, W>(kind: Kind, work: W) -> Result<Option<R>>
where
    R: Send + 'static,
    F: Future<Output = Result<R>> + Send,
    W: FnOnce(Database) -> F + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let body = |test: TestDatabase| async move {
        let db = test.database().clone();
        let result = match migrations::run(db.connection()).await {
            Ok(_) => work(db).await,
            Err(error) => Err(error.into()),
        };
        let _ = tell.send(result);
    };
    match kind {
        Kind::Sqlite => on_sqlite(body).await,
        Kind::MariaDb => on_mysql(body).await,
    }
    told.await.ok().transpose()
}

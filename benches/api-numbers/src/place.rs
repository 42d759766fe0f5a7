//! The databases that are measured, a fresh one for each run.

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
    pub(crate) fn column(self) -> usize {
        match self {
            Self::Sqlite => 0,
            Self::MariaDb => 1,
        }
    }
}

/// A fresh database, and how the service is told of it.
pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) dsn: String,
}

/// Runs `work` on a fresh database. `None` when `TEST_MYSQL_URL` names no server.
pub(crate) async fn fresh<R, F, W>(kind: Kind, work: W) -> Result<Option<R>>
where
    R: Send + 'static,
    F: Future<Output = Result<R>> + Send,
    W: FnOnce(Place) -> F + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let body = |test: TestDatabase| async move {
        let _ = tell.send(opened(&test, work).await);
    };
    match kind {
        Kind::Sqlite => on_sqlite(body).await,
        Kind::MariaDb => on_mysql(body).await,
    }
    told.await.ok().transpose()
}

async fn opened<R, F, W>(test: &TestDatabase, work: W) -> Result<R>
where
    F: Future<Output = Result<R>>,
    W: FnOnce(Place) -> F,
{
    let place = Place {
        database: Database::connect(test.settings()).await?,
        dsn: dsn(test),
    };
    work(place).await
}

/// The address of the database with its password, which is not shown otherwise.
fn dsn(test: &TestDatabase) -> String {
    let shown = test.settings().url.shown();
    let Some(rest) = shown.strip_prefix("mysql") else {
        return shown;
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "told by this variable where the server is"
    )]
    let server = std::env::var("TEST_MYSQL_URL").unwrap_or_default();
    let name = rest.rsplit('/').next().unwrap_or_default();
    let name = name.split('?').next().unwrap_or_default();
    format!("{}/{name}", server.trim_end_matches('/'))
}

//! The databases under the scheduler: the embedded SQLite file, or a private MariaDB.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use crate::process::{cpu_of, written_by};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/test-mariadb.sh");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    MariaDb,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::MariaDb => "MariaDB",
        }
    }
}

/// A database server of our own, stopped when dropped.
pub(crate) struct Server {
    folder: PathBuf,
    url: String,
    pid: u32,
}

impl Server {
    pub(crate) fn start() -> Result<Self> {
        let output = Command::new(SCRIPT).arg("start").output().context(SCRIPT)?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |key: &str| {
            said.lines()
                .find_map(|line| line.strip_prefix(key))
                .map(str::to_owned)
        };
        let problem = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let folder = value("TEST_MYSQL_DIR=").with_context(|| format!("start MariaDB: {problem}"))?;
        let mut server = Self {
            url: value("TEST_MYSQL_URL=").context("MariaDB has no address")?,
            folder: PathBuf::from(folder),
            pid: 0,
        };
        let pid = std::fs::read_to_string(server.folder.join("pid")).context("pid of MariaDB")?;
        server.pid = pid.trim().parse()?;
        Ok(server)
    }

    /// An empty schema, and how the scheduler is told of it.
    pub(crate) async fn fresh(&self) -> Result<String> {
        let server = connect(&self.url).await?;
        for statement in ["drop database if exists fleet", "create database fleet"] {
            server.execute_unprepared(statement).await?;
        }
        server.close().await?;
        Ok(format!("{}fleet", self.url))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its namespace ends it if this does not.
        let _ = Command::new(SCRIPT).arg("stop").arg(&self.folder).status();
    }
}

/// Rows of the tables that grow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rows {
    pub(crate) heartbeats: i64,
    pub(crate) events: i64,
    pub(crate) changes: i64,
}

/// A look at what the scheduler writes, beside it.
pub(crate) struct Look {
    connection: DatabaseConnection,
    backend: DbBackend,
    server_pid: Option<u32>,
}

impl Look {
    /// `dsn` is empty for the embedded file in `folder`.
    pub(crate) async fn at(dsn: &str, folder: &Path, server: Option<&Server>) -> Result<Self> {
        let (url, backend) = if dsn.is_empty() {
            let file = folder.join("lab-ops.sqlite");
            ensure!(file.exists(), "{} is not there", file.display());
            (format!("sqlite://{}?mode=ro", file.display()), DbBackend::Sqlite)
        } else {
            (dsn.to_owned(), DbBackend::MySql)
        };
        Ok(Self {
            connection: connect(&url).await?,
            backend,
            server_pid: server.map(|server| server.pid),
        })
    }

    pub(crate) async fn rows(&self) -> Result<Rows> {
        Ok(Rows {
            heartbeats: self.count("lab_host_heartbeat").await?,
            events: self.count("lab_host_events").await?,
            // Not there in older schemas.
            changes: self.count("ops_host_changes").await.unwrap_or_default(),
        })
    }

    async fn count(&self, table: &str) -> Result<i64> {
        let rows = self.query(&format!("SELECT COUNT(*) FROM {table}")).await?;
        Ok(rows.first().context("no count")?.try_get_by_index(0)?)
    }

    /// Rows of a statement without parameters.
    pub(crate) async fn query(&self, sql: &str) -> Result<Vec<sea_orm::QueryResult>> {
        let statement = Statement::from_string(self.backend, sql.to_owned());
        Ok(self.connection.query_all_raw(statement).await?)
    }

    /// What the server has used and written so far; nothing for SQLite, whose work is the scheduler's own.
    pub(crate) fn server(&self) -> Result<(Duration, u64)> {
        match self.server_pid {
            Some(pid) => Ok((cpu_of(pid)?, written_by(pid)?)),
            None => Ok((Duration::ZERO, 0)),
        }
    }

    pub(crate) async fn close(self) -> Result<()> {
        Ok(self.connection.close().await?)
    }
}

async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url.to_owned());
    options.max_connections(1).sqlx_logging(false);
    sea_orm::Database::connect(options)
        .await
        .context("connect to the database")
}

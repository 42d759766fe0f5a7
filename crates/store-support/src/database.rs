//! Opening a database so that both backends behave the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{Error as SqlxError, Executor as _};
use sea_orm::{ConnectOptions, ConnectionTrait as _, DatabaseConnection, DbErr, RuntimeErr, Statement};

use crate::Backend;
use crate::fault::{DbFault, classify};
use crate::presence::Presence;
use crate::stamps;
use crate::suspicion::Suspicion;
use crate::traffic::{Counters, Failures, PoolState, Traffic};
use crate::url::{DatabaseUrl, Place};

/// How long a statement waits for a row that another transaction has locked, before everything is run again.
/// Ours are held for moments only; the server's own 50 s would outlast every lease.
const LOCK_WAIT: &str = "SET SESSION innodb_lock_wait_timeout = 3";

/// How long a connection may take to answer before it goes back to the pool.
const COME_BACK: Duration = Duration::from_secs(3);

/// How many rows SQLite's thread reads ahead of whoever asked. With the driver's 50 the two threads wake each other ten
/// times for the hosts of one batch.
const ROWS_AHEAD: usize = 512;

/// How many statements each connection to SQLite keeps compiled. One of hundreds of rows takes some hundred kilobytes,
/// and any connection of the pool may meet it: a hundred of them, the driver's number, are a gigabyte in the worst case.
const KEPT_STATEMENTS: usize = 24;

/// How to reach the database, and how much of it to use.
#[derive(Debug, Clone)]
pub struct DatabaseSettings {
    /// Where it is.
    pub url: DatabaseUrl,
    /// How many connections at most. In memory there is always one, which is the database.
    pub max_connections: u32,
    /// How long opening a connection, or waiting for a free one, may take.
    pub connect_timeout: Duration,
    /// How long one call, or one whole transaction, may take before it counts as "no answer".
    pub statement_timeout: Duration,
}

impl DatabaseSettings {
    /// Takes the defaults: 10 connections, 8 seconds to connect, 30 seconds for a call.
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self {
            url,
            max_connections: 10,
            connect_timeout: Duration::from_secs(8),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The folder or file of an SQLite database cannot be made or opened.
    #[error("cannot use the database file {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database did not answer or turned us away.
    #[error("cannot connect to {shown}")]
    Connect {
        /// The address without the password.
        shown: String,
        /// What the driver said.
        #[source]
        source: DbErr,
    },
}

/// An open database: a pool of connections, cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    connection: DatabaseConnection,
    backend: Backend,
    statement_timeout: Duration,
    max_connections: u32,
    counters: Counters,
    presence: Presence,
    suspicion: Suspicion,
}

impl Database {
    /// Opens the database and makes one connection, so that a wrong address or password shows at once.
    ///
    /// Every connection speaks UTC (MySQL: `time_zone = '+00:00'`, utf8mb4, READ COMMITTED) or has WAL, `synchronous =
    /// NORMAL`, a busy timeout of 5 s and foreign keys (SQLite). A missing SQLite file is made, readable by
    /// its owner only.
    ///
    /// # Errors
    /// [`ConnectError`] names the file or the address, never the password.
    pub async fn connect(settings: &DatabaseSettings) -> Result<Self, ConnectError> {
        let suspicion = Suspicion::new();
        let (options, backend) = match settings.url.place() {
            Place::MySql(server) => {
                knock(server.options(), settings).await?;
                let wanted = server.options();
                let watched = suspicion.clone();
                let mut options = ConnectOptions::new("mysql://configured-below/");
                options.map_sqlx_mysql_opts(move |given| {
                    // The driver's logging switch sits in the options that are replaced here.
                    use sea_orm::sqlx::ConnectOptions as _;
                    drop(given);
                    wanted.clone().disable_statement_logging()
                });
                options.map_sqlx_mysql_pool_opts(move |pool| {
                    let suspicion = watched.clone();
                    let pool = pool.after_release(move |connection, _| {
                        let is_suspect = suspicion.is_up();
                        Box::pin(async move {
                            match is_suspect {
                                true => come_back(connection).await,
                                false => Ok(true),
                            }
                        })
                    });
                    pool.after_connect(|connection, _| {
                        Box::pin(async move {
                            // Once for the session, which spares each transaction a statement.
                            connection
                                .execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                                .await?;
                            connection.execute(LOCK_WAIT).await?;
                            // On Galera a read waits until what was committed elsewhere before it has
                            // arrived. MySQL does not know the variable; nothing is lost there.
                            if let Err(error) = connection.execute("SET SESSION wsrep_sync_wait = 1").await {
                                tracing::trace!(%error, "no wsrep_sync_wait here");
                            }
                            Ok(())
                        })
                    })
                });
                options.max_connections(settings.max_connections.max(1));
                (options, Backend::MySql)
            }
            Place::SqliteFile(path) => {
                prepare_file(path)?;
                let path = path.clone();
                let options = sqlite_pool(settings.max_connections.max(1), move |_| {
                    SqliteConnectOptions::new()
                        .filename(&path)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Normal)
                });
                (options, Backend::Sqlite)
            }
            Place::SqliteMemory => {
                let mut options = sqlite_pool(1, |given| given);
                // The database lives as long as its only connection.
                options
                    .min_connections(1)
                    .idle_timeout(None::<Duration>)
                    .max_lifetime(None::<Duration>);
                (options, Backend::Sqlite)
            }
        };
        Self::open(options, backend, suspicion, settings).await
    }

    async fn open(
        mut options: ConnectOptions,
        backend: Backend,
        suspicion: Suspicion,
        settings: &DatabaseSettings,
    ) -> Result<Self, ConnectError> {
        options
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .connect_timeout(settings.connect_timeout)
            .acquire_timeout(settings.connect_timeout)
            .test_before_acquire_if_idle_for(Duration::from_secs(5));
        let opening = tokio::time::timeout(settings.connect_timeout, sea_orm::Database::connect(options));
        let opened = match opening.await {
            Ok(opened) => opened,
            Err(_) => Err(no_answer(settings.connect_timeout)),
        };
        match opened {
            Ok(mut connection) => {
                let counters = Counters::default();
                let counted = counters.clone();
                connection.set_metric_callback(move |_| counted.statement());
                Ok(Self {
                    connection,
                    backend,
                    statement_timeout: settings.statement_timeout,
                    max_connections: settings.max_connections.max(1),
                    counters,
                    presence: Presence::default(),
                    suspicion,
                })
            }
            Err(source) => Err(ConnectError::Connect {
                shown: settings.url.shown(),
                source,
            }),
        }
    }

    /// The pool, for queries. Transactions are opened with [`transaction`](crate::transaction) only. Each query is waited for
    /// in [`bounded`](Self::bounded): what is given up outside of it may leave its connection in the middle of an answer.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Which kind of database this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// What was sent to the database since it was opened.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.counters.read()
    }

    /// How many calls failed since it was opened.
    #[must_use]
    pub fn failures(&self) -> Failures {
        self.counters.failures()
    }

    /// How its pool stands now.
    #[must_use]
    pub fn pool(&self) -> PoolState {
        let (size, idle) = match self.backend {
            Backend::MySql => {
                let pool = self.connection.get_mysql_connection_pool();
                (pool.size(), pool.num_idle())
            }
            Backend::Sqlite => {
                let pool = self.connection.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle())
            }
        };
        let idle = u32::try_from(idle).unwrap_or(u32::MAX).min(size);
        let in_use = size - idle;
        PoolState {
            in_use,
            idle,
            max: self.max_connections,
            waiting: self.counters.under_way().saturating_sub(in_use),
        }
    }

    pub(crate) fn presence(&self) -> &Presence {
        &self.presence
    }

    pub(crate) fn is_closed(&self) -> bool {
        match self.backend {
            Backend::MySql => self.connection.get_mysql_connection_pool().is_closed(),
            Backend::Sqlite => self.connection.get_sqlite_connection_pool().is_closed(),
        }
    }

    pub(crate) fn count_statement(&self) {
        self.counters.statement();
    }

    pub(crate) fn count_transaction(&self) {
        self.counters.transaction();
    }

    /// Makes a statement from SQL with `?` for each value.
    #[must_use]
    pub fn statement<I>(&self, sql: &str, values: I) -> Statement
    where
        I: IntoIterator<Item = sea_orm::Value>,
    {
        let values = values.into_iter();
        match self.backend {
            Backend::MySql => Statement::from_sql_and_values(self.backend.driver(), sql, values),
            Backend::Sqlite => {
                Statement::from_sql_and_values(self.backend.driver(), sql, values.map(stamps::as_text))
            }
        }
    }

    /// Waits for a database call, at most for the statement timeout.
    ///
    /// # Errors
    /// The call's own, or one that [`classify`](crate::classify) calls
    /// [`DbFault::Unavailable`](crate::DbFault::Unavailable) when the time is over.
    pub async fn bounded<T>(&self, call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let answer = self.timed(call).await.and_then(|answer| answer);
        self.heard(answer.as_ref().err());
        answer
    }

    /// The same for a call whose outcome is told with [`Database::heard`] afterwards.
    pub(crate) async fn timed<T>(&self, call: impl Future<Output = T>) -> Result<T, DbErr> {
        let _under_way = self.counters.call();
        let mut call = std::pin::pin!(tokio::time::timeout(self.statement_timeout, call));
        // Made after the call, and so dropped before it.
        let watch = self.suspicion.watch();
        let answer = call.as_mut().await;
        if answer.is_ok() {
            watch.done();
        }
        answer.map_err(|_| no_answer(self.statement_timeout))
    }

    /// A call has ended, with this error of the database if with any.
    pub(crate) fn heard(&self, error: Option<&DbErr>) {
        let fault = error.map(classify);
        if let Some(fault) = fault {
            self.counters.failure(fault);
        }
        if fault != Some(DbFault::Unavailable) {
            self.presence.answered();
        }
    }

    /// Whether the database can be used: reads a real table, because a cluster node without a quorum still
    /// answers `SELECT 1`.
    ///
    /// # Errors
    /// The database's, also when the schema was never migrated.
    pub async fn ping(&self) -> Result<(), DbErr> {
        let read = self.statement("SELECT name FROM ops_leases LIMIT 1", []);
        self.bounded(self.connection.query_one_raw(read))
            .await
            .map(|_| ())
    }

    /// Closes every connection, waiting for calls under way; at most for the statement timeout.
    pub async fn close(self) {
        let timeout = self.statement_timeout;
        match tokio::time::timeout(timeout, self.connection.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the database did not close cleanly"),
            Err(_) => tracing::warn!("the database did not close within {timeout:?}"),
        }
    }
}

fn no_answer(waited: Duration) -> DbErr {
    DbErr::Conn(RuntimeErr::Internal(format!("no answer within {waited:?}")))
}

/// Whether a connection may go back to the pool: it has to answer in time. Asked only for a while after a call was given up,
/// since it costs a way to the database and back.
///
/// A question that is given up while its answer comes in may have read half of a packet. Whatever the driver reads then as
/// the length of the next one, it waits for so many bytes; so its own look at the connection, which has no limit, would
/// never end, and the pool would have one connection less for ever and could not be closed.
async fn come_back(connection: &mut MySqlConnection) -> Result<bool, SqlxError> {
    use sea_orm::sqlx::Connection as _;
    match tokio::time::timeout(COME_BACK, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        // An error and not `false`, after which the driver would say goodbye over the same connection.
        Err(_) => Err(SqlxError::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Opens one connection outside the pool: the pool goes on trying where nobody listens, until its time is
/// over, and then no longer knows why.
async fn knock(options: MySqlConnectOptions, settings: &DatabaseSettings) -> Result<(), ConnectError> {
    use sea_orm::sqlx::{ConnectOptions as _, Connection as _};
    let refused = |source| ConnectError::Connect {
        shown: settings.url.shown(),
        source,
    };
    let opening = options.disable_statement_logging();
    match tokio::time::timeout(settings.connect_timeout, opening.connect()).await {
        Ok(Ok(connection)) => {
            // Only politeness: the connection served its purpose.
            if let Err(error) = connection.close().await {
                tracing::trace!(%error, "the first connection did not close cleanly");
            }
            Ok(())
        }
        Ok(Err(error)) => Err(refused(DbErr::Conn(RuntimeErr::SqlxError(error.into())))),
        Err(_) => Err(refused(no_answer(settings.connect_timeout))),
    }
}

/// Settings go to each connection: a `PRAGMA` run once on the pool would reach only one of them.
fn sqlite_pool(
    connections: u32,
    place: impl Fn(SqliteConnectOptions) -> SqliteConnectOptions + Send + Sync + 'static,
) -> ConnectOptions {
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.map_sqlx_sqlite_opts(move |given| {
        use sea_orm::sqlx::ConnectOptions as _;
        place(given)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .row_buffer_size(ROWS_AHEAD)
            .statement_cache_capacity(KEPT_STATEMENTS)
            .disable_statement_logging()
    });
    options.max_connections(connections);
    options
}

/// Makes the folder and an empty file that only its owner can read; an existing file is left as it is.
fn prepare_file(path: &Path) -> Result<(), ConnectError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let refused = |source| ConnectError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(refused)?;
    }
    std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(refused)?;
    Ok(())
}

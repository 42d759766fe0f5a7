//! A fresh database for each test: a file of its own on SQLite, a schema of its own on a real MySQL or
//! MariaDB.
//!
//! The server is the one that `TEST_MYSQL_URL` names (`mysql://user:password@host:port/`). Without it the
//! MySQL half of a test says that it was skipped; with `REQUIRE_REAL=1` it fails instead.
//!
//! ```
//! use store_support::each_backend;
//!
//! each_backend! {
//!     async fn a_fresh_database_answers(test) {
//!         let db = test.database();
//!         let one = db.statement("SELECT 1", []);
//!         assert!(sea_orm::ConnectionTrait::query_one_raw(db.connection(), one).await.unwrap().is_some());
//!     }
//! }
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use sea_orm::ConnectionTrait as _;

use crate::{Database, DatabaseSettings, DatabaseUrl};

/// A database that belongs to one test.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    database: Database,
    settings: DatabaseSettings,
}

impl TestDatabase {
    /// The open database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Opens the same database once more, as another process would: with connections of its own.
    pub async fn reopen(&self) -> Database {
        Database::connect(&self.settings)
            .await
            .expect("opening the test's database again")
    }

    /// How the database was opened, for tests that open it differently.
    #[must_use]
    pub fn settings(&self) -> &DatabaseSettings {
        &self.settings
    }

    /// Opens the same database of MySQL or MariaDB by way of a relay before [`server`], with two connections, in clear so
    /// that the relay can read along.
    pub async fn through(&self, relay: SocketAddr) -> Database {
        let named = self.database.statement("SELECT DATABASE()", []);
        let named = self.database.connection().query_one_raw(named).await;
        let row = named.expect("asking for the name").expect("a row");
        let schema: String = row.try_get_by_index(0).expect("a name");
        let url = format!("mysql://{}@{relay}/?ssl_mode=disabled", server().0);
        let url = DatabaseUrl::parse_server(&url)
            .expect("a URL")
            .with_database(&schema);
        let settings = DatabaseSettings {
            url,
            max_connections: 2,
            connect_timeout: Duration::from_secs(3),
            ..self.settings.clone()
        };
        Database::connect(&settings)
            .await
            .expect("opening the database by way of the relay")
    }
}

/// Runs a test on an SQLite file in a folder of its own, which is removed afterwards.
///
/// # Panics
/// When the test does, or the database cannot be made.
pub async fn on_sqlite<F>(test: impl FnOnce(TestDatabase) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().expect("making a temporary folder");
    let test_database = open(DatabaseUrl::embedded(folder.path())).await;
    let database = test_database.database().clone();
    let ended = tokio::spawn(test(test_database)).await;
    database.close().await;
    repeat_panic(ended);
}

/// User with password, and address, of the server that `TEST_MYSQL_URL` names, for a test that puts a relay before it.
///
/// # Panics
/// Without such a server.
#[must_use]
pub fn server() -> (String, String) {
    let url = server_url().expect("TEST_MYSQL_URL is set where a test runs on MySQL");
    let rest = url.split_once("://").expect("a URL").1;
    let (user, rest) = rest.rsplit_once('@').expect("a URL with a user");
    (
        user.to_owned(),
        rest.split('/').next().unwrap_or_default().to_owned(),
    )
}

/// Runs a test on a new database of the server that `TEST_MYSQL_URL` names, and drops it afterwards.
///
/// # Panics
/// When the test does, when the database cannot be made, or when there is no server but `REQUIRE_REAL=1`.
pub async fn on_mysql<F>(test: impl FnOnce(TestDatabase) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(url) = server_url() else { return };
    let url = DatabaseUrl::parse_server(&url).expect("reading TEST_MYSQL_URL");
    let server = Database::connect(&settings(url.clone()))
        .await
        .expect("connecting to TEST_MYSQL_URL");
    let name = format!(
        "lab_ops_test_{}_{:016x}",
        std::process::id(),
        rand::random::<u64>()
    );
    run(&server, &format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await;
    let test_database = open(url.with_database(&name)).await;
    let database = test_database.database().clone();
    let ended = tokio::spawn(test(test_database)).await;
    database.close().await;
    run(&server, &format!("DROP DATABASE {name}")).await;
    server.close().await;
    repeat_panic(ended);
}

fn settings(url: DatabaseUrl) -> DatabaseSettings {
    DatabaseSettings {
        max_connections: 8,
        connect_timeout: Duration::from_secs(30),
        ..DatabaseSettings::new(url)
    }
}

async fn open(url: DatabaseUrl) -> TestDatabase {
    let settings = settings(url);
    let database = Database::connect(&settings)
        .await
        .expect("opening the test's database");
    TestDatabase { database, settings }
}

async fn run(server: &Database, sql: &str) {
    server
        .connection()
        .execute_unprepared(sql)
        .await
        .expect("making or dropping the test's database");
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests are told by these two variables what is installed"
)]
fn server_url() -> Option<String> {
    if let Ok(url) = std::env::var("TEST_MYSQL_URL") {
        return Some(url);
    }
    assert!(
        std::env::var("REQUIRE_REAL").as_deref() != Ok("1"),
        "TEST_MYSQL_URL is not set but REQUIRE_REAL=1"
    );
    #[expect(
        clippy::print_stdout,
        reason = "whoever runs the tests has to see that half of one was left out"
    )]
    {
        println!("skipped: no MariaDB (TEST_MYSQL_URL)");
    }
    None
}

fn repeat_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Turns one body into two tests, `name::on_sqlite` and `name::on_mysql`, each on a fresh database.
#[macro_export]
macro_rules! each_backend {
    ($($(#[$meta:meta])* async fn $name:ident($test:ident) $body:block)*) => {$(
        $(#[$meta])*
        async fn $name($test: $crate::test_support::TestDatabase) $body

        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                $crate::test_support::on_sqlite(super::$name).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_mysql() {
                $crate::test_support::on_mysql(super::$name).await;
            }
        }
    )*};
}

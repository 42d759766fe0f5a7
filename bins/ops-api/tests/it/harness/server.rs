//! A MariaDB of the test's own, which may be killed, paused and started again.

use std::process::{Command, Stdio};

use sea_orm::ConnectionTrait as _;
use store_support::{Database, DatabaseSettings, DatabaseUrl};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/test-mariadb.sh");

/// A running server; ended and removed when dropped.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
}

impl Server {
    /// Starts one on loopback.
    pub(crate) fn start() -> Self {
        Self::started_by(Command::new(SCRIPT))
    }

    /// Starts one in a network namespace, on all its addresses.
    pub(crate) fn start_in(namespace: &str) -> Self {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace, SCRIPT])
            .env("TEST_MARIADB_BIND", "0.0.0.0");
        Self::started_by(command)
    }

    fn started_by(mut command: Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let started = command
            .arg("start")
            .arg(folder.path().join("db"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&started.stdout).into_owned();
        let port = said.lines().find_map(|line| {
            let url = line.strip_prefix("TEST_MYSQL_URL=")?;
            url.trim_end_matches('/').rsplit(':').next()?.parse().ok()
        });
        let error = String::from_utf8_lossy(&started.stderr).into_owned();
        let port = port.unwrap_or_else(|| panic!("no server: {said}{error}"));
        Self { folder, port }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// One of the script's orders: `restart`, `pause`, `resume`. Returns when it was carried out.
    pub(crate) fn order(&self, word: &str) {
        let folder = self.folder.path().join("db");
        let done = Command::new(SCRIPT)
            .arg(word)
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        assert!(done.unwrap().success(), "{word} of the test's own server");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let folder = self.folder.path().join("db");
        let _ = Command::new(SCRIPT).arg("stop").arg(folder).status();
    }
}

/// The address of the schema `lab` on a server that the script started.
pub(crate) fn private_dsn(address: &str, port: u16) -> String {
    format!("mysql://t:pw@{address}:{port}/lab")
}

/// Makes the schema `lab` with all its tables, and opens it.
pub(crate) async fn new_schema(address: &str, port: u16) -> Database {
    let connect = |text: String| async move {
        let url = DatabaseUrl::parse_server(&text).unwrap();
        Database::connect(&DatabaseSettings::new(url)).await.unwrap()
    };
    let server = connect(format!("mysql://t:pw@{address}:{port}/")).await;
    let make = "CREATE DATABASE lab CHARACTER SET utf8mb4";
    server.connection().execute_unprepared(make).await.unwrap();
    server.close().await;
    let url = DatabaseUrl::parse(&private_dsn(address, port)).unwrap();
    let db = Database::connect(&DatabaseSettings::new(url)).await.unwrap();
    super::migrate(&db).await;
    db
}

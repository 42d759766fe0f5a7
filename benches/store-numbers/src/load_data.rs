//! `LOAD DATA LOCAL INFILE` by MariaDB's own client, since the driver that the store uses cannot send files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use heartbeat_store::PollReport;
use tokio::process::Command;
use tokio::time::Instant;
use url::Url;

use crate::raw::{COLUMNS, rows};

/// Where the server is, as the client wants to know it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    arguments: Vec<String>,
    password: String,
}

impl Client {
    /// From `TEST_MYSQL_URL`, and the database's name.
    pub(crate) fn new(url: &str, database: &str) -> Result<Self> {
        let url = Url::parse(url).context("reading TEST_MYSQL_URL")?;
        let host = url.host_str().context("TEST_MYSQL_URL has no host")?;
        let port = url.port().unwrap_or(3306);
        let arguments = vec![
            "--no-defaults".to_owned(),
            "--local-infile=1".to_owned(),
            format!("--host={host}"),
            format!("--port={port}"),
            format!("--user={}", url.username()),
            format!("--database={database}"),
        ];
        let password = url.password().unwrap_or_default().to_owned();
        Ok(Self { arguments, password })
    }

    /// The time of the load alone, with the start of the client; the file is made before.
    pub(crate) async fn load(&self, reports: &[PollReport], hosts: usize) -> Result<Duration> {
        let mut file = tempfile::NamedTempFile::new()?;
        let mut text = String::new();
        for row in rows(reports, hosts) {
            let earlier = row.at - chrono::TimeDelta::hours(20);
            let document = row.document.replace('\\', "\\\\");
            writeln!(
                text,
                "{}\t{}\t1\t0\t0\t{earlier}\tLAB\\\\student\t{earlier}\tshutdown\t{document}\t{}",
                row.host_id, row.at, row.at
            )?;
        }
        file.write_all(text.as_bytes())?;
        file.flush()?;
        let load = format!(
            "LOAD DATA LOCAL INFILE '{}' INTO TABLE lab_host_heartbeat ({COLUMNS})",
            file.path().display()
        );
        let began = Instant::now();
        let output = Command::new("mariadb")
            .args(&self.arguments)
            .env("MYSQL_PWD", &self.password)
            .args(["--execute", &load])
            .output()
            .await
            .context("running MariaDB's client")?;
        let took = began.elapsed();
        if !output.status.success() {
            bail!("LOAD DATA: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(took)
    }
}

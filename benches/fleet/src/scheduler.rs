//! The real `ops-scheduler`, as a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::Args;
use crate::exposition::Exposition;
use crate::process::Process;
use crate::simulator::{PASSWORD, Simulator, USER, address_of, name_of};

const METRICS_PORT: &str = "9301";
/// Longest time until it answers; an empty database is filled with its tables first.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the scheduler is told.
#[derive(Debug, Clone)]
pub(crate) struct Orders {
    pub(crate) hosts: u32,
    pub(crate) tls: bool,
    pub(crate) watch: bool,
    pub(crate) interval_secs: u64,
    /// Empty for the embedded SQLite file.
    pub(crate) dsn: String,
}

pub(crate) struct Scheduler {
    process: Process,
}

impl Scheduler {
    pub(crate) async fn start(
        args: &Args,
        orders: &Orders,
        simulator: &Simulator,
        folder: &Path,
    ) -> Result<Self> {
        let program = beside(args.scheduler.as_ref(), "ops-scheduler")?;
        let hosts = folder.join("hosts.json");
        std::fs::write(&hosts, catalog(orders, simulator).to_string())?;
        let log = std::fs::File::create(folder.join("scheduler.log"))?;
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("OPS_CONFIG", &hosts)
            .env("OPS_DATA_DIR", folder)
            .env("MYSQL_DSN", &orders.dsn)
            .env("OPS_POLL_ENABLED", "true")
            .env("OPS_POLL_INTERVAL", orders.interval_secs.to_string())
            .env("OPS_RESERVATION_AUTOMATION", "false")
            .env("OPS_METRICS_PORT", METRICS_PORT)
            .env("OPS_LOG_LEVEL", "WARNING")
            .envs(args.settings.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut scheduler = Self {
            process: Process::start("ops-scheduler", &mut command)?,
        };
        let began = Instant::now();
        while scheduler.metrics().await.is_err() {
            scheduler.process.still_runs()?;
            ensure!(began.elapsed() < PATIENCE, "the scheduler does not answer");
            sleep(Duration::from_millis(50)).await;
        }
        Ok(scheduler)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) async fn metrics(&self) -> Result<Exposition> {
        let ask = async {
            let mut stream = TcpStream::connect(format!("127.0.0.1:{METRICS_PORT}")).await?;
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(Duration::from_secs(10), ask).await??;
        ensure!(
            answer.starts_with("HTTP/1.1 200"),
            "no metrics: {}",
            answer.lines().next().unwrap_or_default()
        );
        Ok(Exposition::parse(&answer))
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

/// A program that was named, or else the one beside this.
pub(crate) fn beside(named: Option<&PathBuf>, name: &str) -> Result<PathBuf> {
    let program = match named {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name(name),
    };
    ensure!(
        program.exists(),
        "{} does not exist: build it first (cargo build --release -p {name})",
        program.display()
    );
    // The process works in a folder of its own.
    Ok(std::fs::canonicalize(program)?)
}

fn catalog(orders: &Orders, simulator: &Simulator) -> Value {
    let host = |number: u32| {
        let mut host = json!({
            "name": name_of(number),
            "address": address_of(number).to_string(),
            "winrm_user": USER,
            "winrm_pass": PASSWORD,
            "labs": [number.to_string()],
        });
        if orders.tls {
            host["winrm_use_ssl"] = json!(true);
            host["winrm_ca_file"] = json!(simulator.ca_file);
            host["tls_server_name"] = json!(format!("{}.sim.test", name_of(number)));
        }
        if orders.watch {
            host["watch"] = json!(true);
        }
        host
    };
    json!({"hosts": (0..orders.hosts).map(host).collect::<Vec<_>>()})
}

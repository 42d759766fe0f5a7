//! The polling loop with `winrm-rs`: reads the heartbeat of every host, parses it, inserts a row into SQLite, and begins
//! again, as fast as it goes. Each host has one authenticated session and one shell, kept.

mod clients;
mod usage;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use clients::{Client, Session};

/// Polls with another client.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// winrm-rs or winrm-rs-2.
    #[arg(long)]
    client: String,
    /// Address of the first host; the others follow.
    #[arg(long)]
    first: Ipv4Addr,
    #[arg(long)]
    hosts: u32,
    #[arg(long)]
    seconds: u64,
    #[arg(long)]
    user: String,
    #[arg(long)]
    password: String,
    #[arg(long)]
    database: PathBuf,
    /// Polls at the same moment.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
}

/// What all hosts' loops share.
struct Loop {
    room: Semaphore,
    rows: Mutex<rusqlite::Connection>,
    counted: AtomicU64,
    failed: AtomicU64,
    first_error: Mutex<Option<String>>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let args = Args::parse();
    match args.client.as_str() {
        "winrm-rs" => run::<clients::WinrmRs1>(&args).await,
        #[cfg(feature = "winrm-rs-2")]
        "winrm-rs-2" => run::<clients::WinrmRs2>(&args).await,
        other => anyhow::bail!("{other} is not built in"),
    }
}

async fn run<C: Client>(args: &Args) -> Result<()> {
    let client = Arc::new(C::new(args)?);
    let shared = Arc::new(Loop {
        room: Semaphore::new(args.at_once),
        rows: Mutex::new(open(&args.database)?),
        counted: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        first_error: Mutex::default(),
    });
    let sessions = first_round(args, &client, &shared).await?;
    let (cpu, begun) = (usage::cpu_secs(), Instant::now());
    let (before, until) = (
        shared.counted.load(Ordering::Relaxed),
        begun + Duration::from_secs(args.seconds),
    );
    let mut tasks = JoinSet::new();
    for session in sessions {
        let shared = Arc::clone(&shared);
        tasks.spawn(async move {
            while Instant::now() < until {
                shared.poll(&session).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let report = serde_json::json!({
        "polls": shared.counted.load(Ordering::Relaxed) - before,
        "failed": shared.failed.load(Ordering::Relaxed),
        "first_error": *shared.first_error.lock().unwrap_or_else(PoisonError::into_inner),
        "wall_secs": begun.elapsed().as_secs_f64(),
        "cpu_secs": usage::cpu_secs() - cpu,
        "rss_kib": usage::rss_kib()?,
    });
    println!("{report}");
    Ok(())
}

/// Opens a session with every host and polls it once.
async fn first_round<C: Client>(args: &Args, client: &Arc<C>, shared: &Arc<Loop>) -> Result<Vec<C::Session>> {
    let mut tasks = JoinSet::new();
    for number in 0..args.hosts {
        let (client, shared) = (Arc::clone(client), Arc::clone(shared));
        tasks.spawn(async move {
            let session = {
                let _permit = shared.room.acquire().await;
                client.open(number).await
            };
            match session {
                Ok(session) => {
                    shared.poll(&session).await;
                    Some(session)
                }
                Err(error) => {
                    shared.fail(&error);
                    None
                }
            }
        });
    }
    let mut sessions = Vec::new();
    while let Some(session) = tasks.join_next().await {
        sessions.extend(session?);
    }
    ensure!(
        !sessions.is_empty(),
        "no host could be reached: {:?}",
        shared.first_error.lock()
    );
    Ok(sessions)
}

impl Loop {
    async fn poll<S: Session>(&self, session: &S) {
        let _permit = self.room.acquire().await;
        match session
            .heartbeat()
            .await
            .and_then(|document| self.keep(&document))
        {
            Ok(()) => {
                self.counted.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.fail(&error),
        }
    }

    fn keep(&self, document: &[u8]) -> Result<()> {
        let text = std::str::from_utf8(document)?.trim_start_matches('\u{feff}');
        let value: serde_json::Value = serde_json::from_str(text)?;
        let host = value["host"].as_str().context("no host")?;
        let ready = value["summary"]["ready"].as_bool();
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let mut insert =
            rows.prepare_cached("INSERT INTO heartbeat (host, ready, document) VALUES (?1, ?2, ?3)")?;
        insert.execute((host, ready, text))?;
        Ok(())
    }

    fn fail(&self, error: &anyhow::Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut first = self.first_error.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| format!("{error:#}"));
    }
}

fn open(file: &std::path::Path) -> Result<rusqlite::Connection> {
    let rows = rusqlite::Connection::open(file)?;
    rows.pragma_update(None, "journal_mode", "WAL")?;
    rows.pragma_update(None, "synchronous", "NORMAL")?;
    rows.execute_batch(
        "CREATE TABLE heartbeat (id INTEGER PRIMARY KEY, host TEXT NOT NULL, ready INTEGER, document TEXT NOT NULL,
         at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP); CREATE INDEX by_host ON heartbeat (host, at);",
    )?;
    Ok(rows)
}

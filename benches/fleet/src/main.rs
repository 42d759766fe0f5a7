//! Drives the real `ops-scheduler` against hundreds to ten thousand simulated hosts and prints tables: polls a second,
//! how late healthy hosts were asked, what a poll costs in requests, CPU, rows and bytes, and what all of it takes in
//! memory; beside it the same loop written with other WinRM clients.
//!
//! It works in a network and process namespace of its own, which goes with it. What each column means is said in
//! `docs/benchmarks/fleet.md`.

mod cell;
mod database;
mod exposition;
mod matrix;
mod namespace;
mod peers;
mod process;
mod rhythm;
mod scheduler;
mod simulator;
mod table;
mod watch;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

/// Measures the polling of a fleet.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Args {
    /// For how many seconds each cell is measured after its first round; three intervals and at least 20 s unless given.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only the cells whose name contains this, for example "10000 hosts" or "5 % sick".
    #[arg(long, default_value = "")]
    only: String,
    /// Only the cells with at most so many hosts.
    #[arg(long, default_value_t = 60_000)]
    most_hosts: u32,
    /// The scheduler to measure; the one beside this program unless given.
    #[arg(long)]
    scheduler: Option<PathBuf>,
    /// The simulator; the one beside this program unless given.
    #[arg(long)]
    simulator: Option<PathBuf>,
    /// The program with the other Rust clients (benches/fleet/peers); without it their lines are left out.
    #[arg(long)]
    peers: Option<PathBuf>,
    /// A Python with pywinrm; without it its lines are left out.
    #[arg(long)]
    python: Option<PathBuf>,
    /// More settings for the scheduler, as NAME=VALUE.
    #[arg(long = "set", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Prints the names of the cells and ends.
    #[arg(long)]
    list: bool,
    /// Also writes the tables to this file.
    #[arg(long)]
    save: Option<PathBuf>,
    /// The namespaces are there already.
    #[arg(long, hide = true)]
    inside: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    run(&Args::parse()).await.unwrap_or_else(|error| {
        tell(&format!("bench-fleet: {error:#}"));
        ExitCode::FAILURE
    })
}

async fn run(args: &Args) -> Result<ExitCode> {
    if args.list {
        let mut out = std::io::stdout().lock();
        for cell in matrix::cells(args) {
            writeln!(out, "{}", cell.name())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !args.inside {
        return namespace::enter().await;
    }
    namespace::prepare()?;
    tokio::select! {
        measured = measure(args) => measured?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            anyhow::bail!("interrupted")
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn measure(args: &Args) -> Result<()> {
    let mut text = matrix::measure(args).await?;
    text.push_str(&watch::measure(args).await?);
    text.push_str(&peers::measure(args).await?);
    std::io::stdout().write_all(text.as_bytes())?;
    if let Some(file) = &args.save {
        std::fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Says on the way what has been found.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not NAME=VALUE")),
    }
}

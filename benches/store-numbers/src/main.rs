//! Measures the heartbeat store and prints tables: rows per second through the recorder beside what the databases can, how
//! long questions take among few rows and many, and how a fleet's tables grow.
//!
//! What each line means is said in `docs/benchmarks/heartbeats.md`.

mod documents;
mod fill;
mod growth;
mod load_data;
mod place;
mod questions;
mod raw;
mod table;
mod through;
mod unchanged;
mod writing;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::Runtime;

use crate::place::Kind;

/// The scheduler's. It serves the raw ways as well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the heartbeat store.
#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// How many rounds; each writes the same rows in every way, one way after the other.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How many reports each way writes in a round.
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// How many hosts they are of.
    #[arg(long, default_value_t = 1_000)]
    hosts: usize,
    /// Of how many hosts the reports are that say nothing new.
    #[arg(long, default_value_t = 10_000)]
    fleet: usize,
    /// Among how many rows questions are asked.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    sizes: Vec<i64>,
    /// How often each question is asked.
    #[arg(long, default_value_t = 200)]
    asks: u32,
    /// Only `writing`, `unchanged`, `questions` or `growth`.
    #[arg(long, default_value = "")]
    only: String,
    /// Only those ways of writing whose name has this in it; shares are then of nothing unless `raw` is among them.
    #[arg(long, default_value = "")]
    way: String,
    /// How many reports a transaction of the recorder holds in a backlog; the store's own number without it.
    #[arg(long)]
    backlog: Option<usize>,
    /// Only `sqlite` or `mariadb`.
    #[arg(long, default_value = "")]
    place: String,
    /// Also writes the tables to this file.
    #[arg(long)]
    save: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = Runtime::new()?;
    let kinds: Vec<Kind> = [Kind::Sqlite, Kind::MariaDb]
        .into_iter()
        .filter(|kind| kind.word().contains(&args.place))
        .collect();
    let mut text = String::new();
    if "writing".contains(&args.only) {
        text += &runtime.block_on(writing::measure(&args, &kinds))?;
    }
    if "unchanged".contains(&args.only) {
        text += &runtime.block_on(unchanged::measure(&args, &kinds))?;
    }
    if "questions".contains(&args.only) {
        text += &runtime.block_on(questions::measure(&args, &kinds))?;
    }
    if "growth".contains(&args.only) {
        text += &growth::text();
    }
    io::stdout().write_all(text.as_bytes())?;
    if let Some(file) = &args.save {
        fs::write(file, text)?;
    }
    Ok(())
}

//! Measures the reservation engine and prints one table: how late starts are dispatched, how long a takeover takes,
//! what a reservation and an idle hour cost, how fast days are simulated; beside the older worker's arithmetic.
//!
//! What each line means is said in `docs/benchmarks/engine.md`.

mod days;
mod drive;
mod figures;
mod idle;
mod lateness;
mod older;
mod place;
mod station;
mod table;
mod takeover;
mod traffic;

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use crate::lateness::Case;
use crate::place::{Kind, Place};
use crate::table::{Row, Table};

/// Measures the reservation engine.
#[derive(Debug, Parser)]
struct Args {
    /// How often each start is repeated on a real database.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How many times faster than real hosts those of the runs on real databases boot.
    #[arg(long, default_value_t = 10)]
    faster: u32,
    /// How many connections to its database a scheduler has.
    #[arg(long, default_value_t = 10)]
    connections: u32,
    /// For how many seconds an idle scheduler is watched.
    #[arg(long, default_value_t = 60)]
    idle_secs: u64,
    /// For how many seconds days are simulated.
    #[arg(long, default_value_t = 10)]
    days_secs: u64,
    /// Only the lines whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// Also writes the table to this file.
    #[arg(long)]
    save: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let real = Runtime::new()?;
    let mut table = Table::new(&args.only);
    for starts in [1, 30, 500] {
        for boot in [45, 75] {
            punctuality(&mut table, &real, &args, starts, Duration::from_secs(boot))?;
        }
    }
    table.measure("takeover after a kill, median / longest", |row| {
        row.memory = paused()?.block_on(takeover::on_virtual_time())?.text();
        row.each(args.connections, |place| real.block_on(takeover::on(place)))
    })?;
    for starts in [1, 30] {
        let name = format!("statements (transactions) per reservation, {starts} at once");
        table.measure(&name, |row| {
            row.each(args.connections, |place| {
                real.block_on(traffic::of_reservations(place, starts))
            })
        })?;
    }
    for (hosts, reservations) in [(1, 10), (1_000, 10_000)] {
        let name = format!(
            "idle hour, {hosts} hosts, {reservations} reservations: statements (transactions); CPU s"
        );
        let watch = Duration::from_secs(args.idle_secs);
        table.measure(&name, |row| {
            row.each(args.connections, |place| {
                real.block_on(idle::hour(place, hosts, reservations, watch))
            })
        })?;
    }
    table.measure("lab-days simulated per second on one core", |row| {
        row.memory = days::per_second(Duration::from_secs(args.days_secs))?;
        Ok(())
    })?;
    let text = table.text();
    io::stdout().write_all(text.as_bytes())?;
    if let Some(file) = &args.save {
        fs::write(file, text)?;
    }
    Ok(())
}

fn punctuality(table: &mut Table, real: &Runtime, args: &Args, starts: usize, boot: Duration) -> Result<()> {
    let case = Case::new(starts, boot);
    let boots = format!("{starts} starts at once, {} s boots", boot.as_secs());
    let mut prepared = None;
    table.measure(&format!("lateness p50 / p99 / max, {boots}"), |row| {
        let seen = paused()?.block_on(lateness::on_virtual_time(case))?;
        row.memory = seen.late.text();
        prepared = Some(seen.prepared);
        row.each(args.connections, |place| {
            real.block_on(lateness::on(place, case.faster(args.faster), args.rounds))
        })?;
        row.older = older::lateness(starts, boot);
        Ok(())
    })?;
    table.measure(
        &format!("last host ready before (-) or after (+) the start, {boots}"),
        |row| {
            row.memory = prepared.map_or_else(String::new, figures::signed);
            row.older = older::last_ready(starts, boot);
            Ok(())
        },
    )
}

/// A runtime whose time passes only while everybody waits.
fn paused() -> Result<Runtime> {
    Ok(Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?)
}

impl Row {
    /// Fills in the columns of the real databases.
    fn each(
        &mut self,
        connections: u32,
        mut measure: impl FnMut(Place) -> Result<Option<String>>,
    ) -> Result<()> {
        for (kind, cell) in [
            (Kind::Sqlite, &mut self.sqlite),
            (Kind::MariaDb, &mut self.mariadb),
        ] {
            let measured = measure(Place { kind, connections })?;
            *cell = measured.unwrap_or_else(|| "-".to_owned());
        }
        Ok(())
    }
}

//! Measures `ops-api` as an operator runs it and prints one table: answers per second and their delay beside a bare
//! server on the same machine, many viewers of one stream, the time to the first answer, memory at rest.
//!
//! What each line means is said in `docs/benchmarks/api.md`.

mod figures;
mod fill;
mod hello;
mod load;
mod place;
mod service;
mod table;
mod viewers;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use crate::load::{Figures, Order};
use crate::place::Kind;
use crate::service::Service;
use crate::table::Table;

/// Measures the HTTP service.
#[derive(Debug, Parser)]
struct Args {
    /// For how many seconds each cell is measured.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often each cell is measured; the run of the middle is shown, by its 99th percentile.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many hosts the catalog has.
    #[arg(long, default_value_t = 1000)]
    hosts: usize,
    /// How many rows the larger history has.
    #[arg(long, default_value_t = 1_000_000)]
    rows: usize,
    /// How many viewers one stream has.
    #[arg(long, default_value_t = 2000)]
    viewers: usize,
    /// Only the lines whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
    /// The program to measure; the one beside this one, unless it is named.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Also writes the table to this file.
    #[arg(long)]
    save: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What this program does as a process of its own, so that its work is not counted as the service's.
#[derive(Debug, Subcommand)]
enum Part {
    /// A bare server that says hello.
    #[command(hide = true)]
    Hello,
    /// Asks a server, and prints how fast it answered.
    #[command(hide = true)]
    Load(Order),
}

/// With how many connections each route is asked.
const CONNECTIONS: [usize; 3] = [1, 16, 256];
/// The rate that the design's budget speaks of, over 16 connections.
const BUDGET_RATE: u32 = 2000;

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    match &args.part {
        Some(Part::Hello) => hello::serve().await,
        Some(Part::Load(order)) => load::run(order).await,
        None => measure(&args).await,
    }
}

async fn measure(args: &Args) -> Result<()> {
    let mut table = Table::new(&args.only);
    if table.wants("bare") {
        bare(&mut table, args).await?;
    }
    for kind in [Kind::Sqlite, Kind::MariaDb] {
        let here = args.clone_for_task();
        let name = table.only().to_owned();
        let measured = place::fresh(kind, move |place| async move {
            let mut part = Table::new(&name);
            on(&mut part, kind, &place, &here).await?;
            Ok(part)
        })
        .await?;
        match measured {
            Some(part) => table.join(part),
            None => writeln!(
                io::stderr(),
                "TEST_MYSQL_URL names no server: MariaDB is left out"
            )?,
        }
    }
    let text = table.text();
    io::stdout().write_all(text.as_bytes())?;
    if let Some(file) = &args.save {
        std::fs::write(file, text)?;
    }
    Ok(())
}

async fn bare(table: &mut Table, args: &Args) -> Result<()> {
    let server = hello::start().await?;
    for order in orders("/", args.seconds) {
        let name = order_name("bare server", order);
        if !table.wants(&name) {
            continue;
        }
        let mut runs = Vec::new();
        for _ in 0..args.runs.max(1) {
            runs.push((load::measure(server.address, order).await?, ()));
        }
        let (figures, (), best) = Figures::middle(runs).context("no run")?;
        let text = format!("{} (best {})", figures.text(), figures::ms(best));
        table.put(&name, table::BARE, &text);
    }
    server.stop().await;
    Ok(())
}

/// What an operator sees who has just installed it.
async fn idle(table: &mut Table, column: usize, place: &place::Place, args: &Args) -> Result<()> {
    let service = Service::start_with(place, args, &serde_json::json!({"hosts": []}), &[]).await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    table.put("memory at rest, no host", column, &service.memory()?);
    service.stop().await;
    Ok(())
}

/// All lines of one database.
async fn on(table: &mut Table, kind: Kind, place: &place::Place, args: &Args) -> Result<()> {
    let column = kind.column();
    if table.wants("memory at rest, no host") {
        idle(table, column, place, args).await?;
    }
    let service = Service::start(place, args, &[]).await?;
    table.put(
        "start to first healthy answer",
        column,
        &figures::ms(service.ready_after),
    );
    fill::fleet(&place.database, args.hosts).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let name = format!("memory at rest, {} hosts", args.hosts);
    table.put(&name, column, &service.memory()?);
    routes(table, column, &service, &["/health", "/api/hosts"], args).await?;
    for rows in [1000, args.rows] {
        fill::history(&place.database, rows).await?;
        let name = format!("timeline, {rows} operations");
        for order in orders(fill::TIMELINE, args.seconds) {
            cell(table, &name, column, &service, order, args).await?;
        }
    }
    service.stop().await;
    if table.wants("viewers") {
        viewers::measure(table, column, place, args).await?;
    }
    Ok(())
}

async fn routes(
    table: &mut Table,
    column: usize,
    service: &Service,
    paths: &[&'static str],
    args: &Args,
) -> Result<()> {
    for path in paths {
        for order in orders(path, args.seconds) {
            cell(table, path, column, service, order, args).await?;
        }
    }
    Ok(())
}

async fn cell(
    table: &mut Table,
    name: &str,
    column: usize,
    service: &Service,
    order: load::Asked,
    args: &Args,
) -> Result<()> {
    let name = order_name(name, order);
    if !table.wants(&name) {
        return Ok(());
    }
    let mut runs = Vec::new();
    for _ in 0..args.runs.max(1) {
        let before = service.cpu()?;
        let figures: Figures = load::measure(service.address, order).await?;
        runs.push((figures, service.cpu()?.saturating_sub(before)));
    }
    let (figures, used, best) = Figures::middle(runs).context("no run")?;
    let text = format!("{} (best {})", figures.text(), figures::ms(best));
    table.put(&name, column, &format!("{text}; {}", figures.cpu(used)));
    Ok(())
}

/// As fast as it goes with 1, 16 and 256 connections, then at the budget's rate.
fn orders(path: &'static str, seconds: u64) -> Vec<load::Asked> {
    let asked = |connections, rate| load::Asked {
        path,
        connections,
        rate,
        seconds,
    };
    let mut all: Vec<_> = CONNECTIONS.map(|connections| asked(connections, 0)).to_vec();
    all.push(asked(16, BUDGET_RATE));
    all
}

fn order_name(name: &str, order: load::Asked) -> String {
    match order.rate {
        0 => format!("{name}, {} connections", order.connections),
        rate => format!("{name}, {rate}/s over {} connections", order.connections),
    }
}

impl Args {
    /// The same without the part, for a task that outlives the borrow.
    fn clone_for_task(&self) -> Self {
        Self {
            only: self.only.clone(),
            program: self.program.clone(),
            save: None,
            part: None,
            ..*self
        }
    }
}

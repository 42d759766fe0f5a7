//! Compares the cost of `winrm-transport` with that of other WinRM clients: all against the same simulated hosts, in
//! the same run, each in a process of its own. See the README beside `Cargo.toml`.

mod child;
mod clients;
mod contest;
mod farm;
mod table;
mod usage;
mod wire;
mod worker;

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::contest::Entrant;

/// Prints one table: what a command costs with each WinRM client.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Options {
    /// Rounds; the table shows the least and the median.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Hosts in the largest run.
    #[arg(long, default_value_t = 1_000)]
    hosts: usize,
    /// Only the clients whose name contains this; may be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Also writes the table, with date and machine, to this file.
    #[arg(long)]
    save: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The simulated hosts.
    #[command(hide = true)]
    Farm { hosts: usize, ca_file: PathBuf },
    /// One of the clients.
    #[command(hide = true)]
    Client { name: Entrant },
}

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    match options.part {
        None => contest::hold(&options).await,
        Some(Part::Farm { hosts, ca_file }) => farm::serve(hosts, ca_file).await,
        Some(Part::Client { name }) => match name {
            Entrant::Ours => worker::serve::<clients::Ours>().await,
            Entrant::WinrmRs1 => worker::serve::<clients::WinrmRs1>().await,
            #[cfg(feature = "winrm-rs-2")]
            Entrant::WinrmRs2 => worker::serve::<clients::WinrmRs2>().await,
            Entrant::Pywinrm | Entrant::PywinrmSession | Entrant::Pypsrp => {
                anyhow::bail!("this client is written in Python")
            }
        },
    }
}

/// Writes one line to standard output: all that parent and child know of each other.
fn say(what: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, what)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

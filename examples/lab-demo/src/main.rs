//! Twelve simulated hosts, a small lab's day, the real services: the main job of Lab Ops to watch.
//!
//! The hosts are asleep until a magic packet wakes them and speak WinRM; the services are those of `ops-api` and
//! `ops-scheduler`, on an embedded database, with the clock at normal speed and short leads. Nothing is mocked.

mod call;
mod course;
mod day;
mod demo;
mod effects;
mod gateway;
mod lab;
mod plain;
mod screen;
mod summary;
mod tally;
mod verdict;
mod view;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// Runs a small lab's day on simulated hosts and says how punctual it was. Ends by itself in under two minutes.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// One line for each change instead of the table; also taken when there is no terminal.
    #[arg(long)]
    plain: bool,
    /// Keep hosts and services up after the summary, until Ctrl-C.
    #[arg(long)]
    stay: bool,
    /// Seed of the times that the hosts take to boot and to go down.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// By how many seconds a slow machine may be late with everything before the day counts as gone wrong.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    slack: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    match demo::run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            // Nothing can be done if nobody reads this either.
            let _ = writeln!(std::io::stderr(), "lab-demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

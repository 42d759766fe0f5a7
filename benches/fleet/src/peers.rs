//! The same loop written with other clients: read the heartbeat of every host, parse it, insert a row into SQLite.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use tokio::process::Command;

use crate::cell::{Cell, load};
use crate::database::Kind;
use crate::simulator::{Fleet, PASSWORD, Simulator, USER, address_of};
use crate::{Args, tell};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/poller.py");
/// For how long each loop runs after its first round.
const SECONDS: u64 = 20;

/// What a peer says at its end.
#[derive(Debug, Deserialize)]
struct Report {
    polls: u64,
    failed: u64,
    first_error: Option<String>,
    wall_secs: f64,
    cpu_secs: f64,
    rss_kib: u64,
}

pub(crate) async fn measure(args: &Args) -> Result<String> {
    let mut lines = String::new();
    for hosts in [100, 1000] {
        if hosts > args.most_hosts {
            continue;
        }
        for client in [
            "ops-scheduler",
            "winrm-rs",
            "winrm-rs-2",
            "pywinrm",
            "pywinrm-session",
        ] {
            let name = format!("{client}, {hosts} hosts");
            if !format!("peers: {name}").contains(&args.only) || !is_there(args, client) {
                continue;
            }
            tell(&format!("peers: {name} ..."));
            let line = match one(args, client, hosts).await {
                Ok(line) => line,
                Err(error) => format!("failed: {error:#} |"),
            };
            tell(&format!("{name} | {line}"));
            let _ = writeln!(lines, "| {name} | {line}");
        }
    }
    if lines.is_empty() {
        return Ok(lines);
    }
    Ok(format!(
        "\n| as fast as it goes | polls/s | CPU ms/poll | simulator | RSS MiB | requests/poll | connections/poll | failed | \
         load |\n|---|---|---|---|---|---|---|---|---|\n{lines}"
    ))
}

fn is_there(args: &Args, client: &str) -> bool {
    match client {
        "ops-scheduler" => true,
        _ if client.starts_with("winrm-rs") => args.peers.is_some(),
        _ => args.python.is_some(),
    }
}

async fn one(args: &Args, client: &str, hosts: u32) -> Result<String> {
    if client == "ops-scheduler" {
        return ours(args, hosts).await;
    }
    let folder = tempfile::tempdir()?;
    let fleet = Fleet {
        hosts,
        sick_percent: 0,
        heartbeat_secs: 1,
        change_secs: None,
        event_secs: None,
    };
    let mut simulator = Simulator::start(args, &fleet, folder.path()).await?;
    let (before, cpu) = (simulator.counts().await?, simulator.cpu()?);
    let report = run(args, client, hosts, folder.path()).await;
    let (after, used) = (simulator.counts().await?, simulator.cpu()? - cpu);
    simulator.stop().await?;
    let report = report?;
    let polls = report.polls.max(1) as f64;
    // The hosts also count the first round, which the client leaves out.
    let asked = (after.polls - before.polls).max(1) as f64;
    let error = report
        .first_error
        .map_or_else(String::new, |error| format!(" ({error})"));
    Ok(format!(
        "{:.0} | {:.3} | {:.3} | {:.0} | {:.2} | {:.3} | {}{error} | {} |",
        polls / report.wall_secs,
        report.cpu_secs * 1e3 / polls,
        used.as_secs_f64() * 1e3 / asked,
        report.rss_kib as f64 / 1024.0,
        (after.requests - before.requests) as f64 / asked,
        (after.connections - before.connections) as f64 / asked,
        report.failed,
        load()?,
    ))
}

async fn run(args: &Args, client: &str, hosts: u32, folder: &Path) -> Result<Report> {
    let mut command = match client {
        "winrm-rs" | "winrm-rs-2" => Command::new(args.peers.as_ref().context("no --peers")?),
        _ => {
            let mut python = Command::new(args.python.as_ref().context("no --python")?);
            python.arg(SCRIPT);
            python
        }
    };
    let output = command
        .args(["--client", client, "--first", &address_of(0).to_string()])
        .args(["--hosts", &hosts.to_string(), "--seconds", &SECONDS.to_string()])
        .args(["--user", USER, "--password", PASSWORD, "--database"])
        .arg(folder.join("peer.sqlite"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("run {client}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = complained
        .lines()
        .find(|line| line.contains("Error"))
        .or_else(|| complained.lines().last())
        .unwrap_or_default();
    let report = said
        .lines()
        .last()
        .with_context(|| format!("{client} said nothing: {last}"))?;
    serde_json::from_str(report).with_context(|| format!("{client} said {report}: {last}"))
}

/// The real scheduler, with every host due each second.
async fn ours(args: &Args, hosts: u32) -> Result<String> {
    let cell = Cell {
        hosts,
        tls: false,
        sick_percent: 0,
        database: Kind::Sqlite,
        interval_secs: 1,
    };
    let timed = Args {
        seconds: Some(SECONDS),
        ..args.clone()
    };
    let figures = cell.measure(&timed, None).await?;
    let polls = figures.polls.max(1) as f64;
    Ok(format!(
        "{:.0} (each second) | {:.3} | {:.3} | {:.0} | {:.2} | {:.3} | {} | {} |",
        polls / figures.secs,
        figures.cpu.as_secs_f64() * 1e3 / polls,
        figures.simulator_cpu.as_secs_f64() * 1e3 / polls,
        figures.memory.resident,
        figures.requests as f64 / polls,
        figures.connections as f64 / polls,
        figures.failed,
        figures.load,
    ))
}

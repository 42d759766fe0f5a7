//! Simulated Lab Station hosts for manual use and load runs: starts a farm, shows how to reach it, and runs until
//! Ctrl+C.

mod churn;
mod control;
mod settings;
mod sickness;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser as _;
use host_sim::Farm;

use churn::Changes;
use control::Shown;
use settings::Settings;

/// Hosts listed line by line; of more only the first and the last are.
const LISTED: usize = 1000;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match run(Settings::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> anyhow::Result<()> {
    let specs = settings.specs()?;
    let started = match settings.shared() {
        Some(shared) => Farm::start_wildcard(specs, settings.options(), shared).await,
        None => Farm::start(specs, settings.options()).await,
    };
    let farm = Arc::new(started.context("start the simulated hosts")?);
    if let Some(file) = &settings.ca_file {
        std::fs::write(file, farm.ca_pem()).with_context(|| format!("write {}", file.display()))?;
    }
    let sick = sickness::infect(&farm, settings.sick, &settings.sickness, settings.seed);
    let changes = Arc::new(Changes::default());
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(every) = settings.change_every {
        let churn = churn::change(Arc::clone(&farm), every, Arc::clone(&changes));
        tasks.spawn(async move {
            churn.await;
            Ok(())
        });
    }
    if let Some(every) = settings.events_every {
        let churn = churn::send_off(Arc::clone(&farm), every);
        tasks.spawn(async move {
            churn.await;
            Ok(())
        });
    }
    list(&farm, sick.len()).context("write the list of hosts")?;
    if let Some(address) = settings.control {
        let farm = Arc::clone(&farm);
        tasks.spawn(control::serve(address, Shown { farm, changes, sick }));
    }
    tokio::select! {
        stopped = tokio::signal::ctrl_c() => stopped.context("wait for Ctrl+C")?,
        Some(ended) = tasks.join_next() => ended.context("a part of the simulator")?.context("control endpoint")?,
    }
    tasks.shutdown().await;
    if let Some(farm) = Arc::into_inner(farm) {
        farm.stop().await;
    }
    Ok(())
}

/// Writes one line per host: name, address, ports, MAC.
fn list(farm: &Farm, sick: usize) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<10} {:<16} {:>5} {:>5} {:>5}  mac",
        "name", "address", "http", "https", "wol"
    )?;
    let hosts = farm.hosts();
    for (number, host) in hosts.iter().enumerate() {
        if hosts.len() > LISTED && number > 0 && number + 1 < hosts.len() {
            continue;
        }
        let mac = host.mac().map(|byte| format!("{byte:02x}")).join(":");
        let https = host
            .https_port()
            .map_or_else(|| "-".to_owned(), |port| port.to_string());
        let (name, address) = (host.name(), host.address().to_string());
        writeln!(
            out,
            "{name:<10} {address:<16} {:>5} {https:>5} {:>5}  {mac}",
            host.http_port(),
            host.wol_port()
        )?;
    }
    writeln!(out, "{} hosts, {sick} of them sick. Ctrl+C ends it.", hosts.len())?;
    out.flush()
}

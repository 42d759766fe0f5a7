//! Simulated Lab Station hosts for manual use: starts a farm, shows how to reach it, and runs until Ctrl+C.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use host_sim::{AuthPolicy, BootTimes, Farm, FarmOptions, HostSpec};

/// Serves simulated Lab Station hosts on loopback addresses until Ctrl+C.
///
/// Hosts are named sim-001, sim-002, ...; they sleep until a magic packet arrives at their address (UDP port 9).
#[derive(Debug, Parser)]
#[command(version)]
struct Settings {
    /// Number of hosts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    hosts: u16,
    /// Address of the first host; the others follow.
    #[arg(long, default_value = "127.77.0.1")]
    first_address: Ipv4Addr,
    /// TCP port of WinRM over HTTP.
    #[arg(long, default_value_t = 5985)]
    http_port: u16,
    /// TCP port of WinRM over HTTPS.
    #[arg(long, default_value_t = 5986)]
    https_port: u16,
    /// UDP port for magic packets.
    #[arg(long, default_value_t = 9)]
    wol_port: u16,
    /// Socket address that takes magic packets for all hosts, for example 127.0.0.1:9009.
    #[arg(long)]
    broadcast: Option<SocketAddr>,
    /// Account that may log on.
    #[arg(long, default_value = "LabGatewaySvc")]
    user: String,
    /// Password of the account. These hosts guard nothing, so it may stand on the command line.
    #[arg(long, default_value = "Corr3ct-horse")]
    password: String,
    /// Offer Basic and a bare NTLM header too, and take clear text over HTTP.
    #[arg(long)]
    lenient: bool,
    /// Start with all hosts up.
    #[arg(long)]
    awake: bool,
    /// Boot as slowly as real computers do.
    #[arg(long)]
    realistic: bool,
    /// Seed of the boot times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds between two heartbeats.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    heartbeat_secs: u64,
    /// File to which the certificate authority of the hosts is written.
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

impl Settings {
    fn specs(&self) -> anyhow::Result<Vec<HostSpec>> {
        let last = u32::from(self.first_address) + u32::from(self.hosts) - 1;
        let all_loopback = self.first_address.is_loopback() && Ipv4Addr::from(last).is_loopback();
        anyhow::ensure!(
            all_loopback,
            "--first-address: {} hosts from {} are not all loopback",
            self.hosts,
            self.first_address
        );
        Ok((0..self.hosts).map(|index| self.spec(index)).collect())
    }

    fn spec(&self, index: u16) -> HostSpec {
        let address = Ipv4Addr::from(u32::from(self.first_address) + u32::from(index));
        let [high, low] = (index + 1).to_be_bytes();
        let mut spec = HostSpec::new(
            format!("sim-{:03}", index + 1),
            address,
            [2, 0x1A, 0xB0, 0, high, low],
        );
        (spec.http_port, spec.https_port, spec.wol_port) =
            (self.http_port, Some(self.https_port), self.wol_port);
        (spec.user, spec.password) = (self.user.clone(), self.password.clone());
        spec.awake_at_start = self.awake;
        if self.lenient {
            (spec.auth, spec.allow_unencrypted) = (AuthPolicy::ALL, true);
        }
        if self.realistic {
            spec.boot = BootTimes::realistic();
        }
        spec
    }
}

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
    let options = FarmOptions {
        seed: settings.seed,
        heartbeat_every: Duration::from_secs(settings.heartbeat_secs),
        broadcast: settings.broadcast,
    };
    let farm = Farm::start(settings.specs()?, options)
        .await
        .context("start the simulated hosts")?;
    if let Some(file) = &settings.ca_file {
        std::fs::write(file, farm.ca_pem()).with_context(|| format!("write {}", file.display()))?;
    }
    list(&farm).context("write the list of hosts")?;
    tokio::signal::ctrl_c().await.context("wait for Ctrl+C")?;
    farm.stop().await;
    Ok(())
}

/// Writes one line per host: name, address, ports, MAC.
fn list(farm: &Farm) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<10} {:<16} {:>5} {:>5} {:>5}  mac",
        "name", "address", "http", "https", "wol"
    )?;
    for host in farm.hosts() {
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
    writeln!(out, "Ctrl+C ends it.")?;
    out.flush()
}

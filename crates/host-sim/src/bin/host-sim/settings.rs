//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use host_sim::{AuthPolicy, BootTimes, FarmOptions, HostSpec, Wildcard};

use crate::sickness::{Share, Sickness};

/// Hosts with listeners of their own: each takes three descriptors.
const MOST_OF_THEIR_OWN: u16 = 10_000;

/// Serves simulated Lab Station hosts on loopback addresses until Ctrl+C.
///
/// Hosts are named sim-001, sim-002, ...; they sleep until a magic packet arrives at their address (UDP port 9), unless
/// they start awake. With --wildcard all of them share one listener per port, which needs addresses that reach this
/// machine, such as those of a network namespace:
///
///     unshare --net sh -c 'ip link set lo up; ip route add local 10.50.0.0/16 dev lo; host-sim --wildcard --awake --hosts 10000'
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Settings {
    /// Number of hosts; above 10000 only with --wildcard.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=60_000))]
    pub(crate) hosts: u16,
    /// Address of the first host; the others follow. 127.77.0.1 unless given, with --wildcard 10.50.0.1.
    #[arg(long)]
    first_address: Option<Ipv4Addr>,
    /// One listener on 0.0.0.0 per port for all hosts, each known by the address that a client speaks to.
    #[arg(long)]
    pub(crate) wildcard: bool,
    /// Domain of the one certificate that all hosts show with --wildcard: sim-001 is sim-001.<DOMAIN>.
    #[arg(long, default_value = "sim.test")]
    domain: String,
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
    /// Seed of the boot times, and of who is sick.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds between two heartbeats.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    heartbeat_secs: u64,
    /// File to which the certificate authority of the hosts is written.
    #[arg(long)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Share of the hosts that are sick, for example 5%.
    #[arg(long, default_value = "0%")]
    pub(crate) sick: Share,
    /// What the sick hosts have, in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Sickness::ALL)]
    pub(crate) sickness: Vec<Sickness>,
    /// Seconds between two lines in the event file of one host; none unless given.
    #[arg(long, value_parser = secs)]
    pub(crate) events_every: Option<Duration>,
    /// Seconds between two changes of the heartbeat of one host, beyond its stamps; none unless given.
    #[arg(long, value_parser = secs)]
    pub(crate) change_every: Option<Duration>,
    /// TCP address that answers the lines `counts`, `asked`, `changes` and `sick` with JSON.
    #[arg(long)]
    pub(crate) control: Option<SocketAddr>,
}

impl Settings {
    pub(crate) fn options(&self) -> FarmOptions {
        FarmOptions {
            seed: self.seed,
            heartbeat_every: Duration::from_secs(self.heartbeat_secs),
            broadcast: self.broadcast,
        }
    }

    /// How the hosts share their listeners, if they do.
    pub(crate) fn shared(&self) -> Option<Wildcard> {
        self.wildcard.then(|| Wildcard {
            http_port: self.http_port,
            https_port: Some(self.https_port),
            domain: self.domain.clone(),
            ..Wildcard::default()
        })
    }

    pub(crate) fn specs(&self) -> anyhow::Result<Vec<HostSpec>> {
        let first = self.first_address.unwrap_or(if self.wildcard {
            Ipv4Addr::new(10, 50, 0, 1)
        } else {
            Ipv4Addr::new(127, 77, 0, 1)
        });
        let last = u32::from(first)
            .checked_add(u32::from(self.hosts) - 1)
            .map(Ipv4Addr::from);
        anyhow::ensure!(
            last.is_some_and(|last| self.wildcard || (first.is_loopback() && last.is_loopback())),
            "--first-address: {} hosts from {first} are not all loopback",
            self.hosts,
        );
        anyhow::ensure!(
            self.wildcard || self.hosts <= MOST_OF_THEIR_OWN,
            "--hosts: more than {MOST_OF_THEIR_OWN} need --wildcard"
        );
        Ok((0..self.hosts).map(|index| self.spec(first, index)).collect())
    }

    fn spec(&self, first: Ipv4Addr, index: u16) -> HostSpec {
        let address = Ipv4Addr::from(u32::from(first) + u32::from(index));
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

fn secs(text: &str) -> Result<Duration, String> {
    let time = text
        .parse()
        .ok()
        .and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    time.filter(|time| (0.001..=1e6).contains(&time.as_secs_f64()))
        .ok_or_else(|| "a number of seconds from 0.001 to 1000000 is needed".to_owned())
}

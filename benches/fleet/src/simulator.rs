//! The simulated hosts, as a process of their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::Args;
use crate::process::Process;

const CONTROL: &str = "127.0.0.1:9300";
/// Longest time for its start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first host; the others follow.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 50, 0, 1);

/// The account of all hosts; they guard nothing.
pub(crate) const USER: &str = "LabGatewaySvc";
pub(crate) const PASSWORD: &str = "Corr3ct-horse";

/// What the hosts are to be like.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    pub(crate) hosts: u32,
    pub(crate) sick_percent: u32,
    pub(crate) heartbeat_secs: u64,
    pub(crate) change_secs: Option<f64>,
    pub(crate) event_secs: Option<f64>,
}

/// One question for a heartbeat, by the clock of the simulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(from = "(u32, u64)")]
pub(crate) struct Asked {
    pub(crate) host: u32,
    pub(crate) at_micros: u64,
}

impl From<(u32, u64)> for Asked {
    fn from((host, at_micros): (u32, u64)) -> Self {
        Self { host, at_micros }
    }
}

/// Sums over all hosts since the simulator started.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) at_micros: u64,
    pub(crate) connections: u64,
    pub(crate) open_connections: u64,
    pub(crate) requests: u64,
    pub(crate) polls: u64,
}

pub(crate) struct Simulator {
    process: Process,
    to: OwnedWriteHalf,
    from: Lines<BufReader<OwnedReadHalf>>,
    pub(crate) sick: Vec<u32>,
    pub(crate) ca_file: PathBuf,
}

impl Simulator {
    /// Starts the hosts, all of them awake.
    pub(crate) async fn start(args: &Args, fleet: &Fleet, folder: &Path) -> Result<Self> {
        let program = crate::scheduler::beside(args.simulator.as_ref(), "host-sim")?;
        let ca_file = folder.join("hosts-ca.pem");
        let began = Instant::now();
        let mut command = Command::new(program);
        command
            .args(["--wildcard", "--awake", "--hosts", &fleet.hosts.to_string()])
            .args(["--sick", &format!("{}%", fleet.sick_percent)])
            .args(["--heartbeat-secs", &fleet.heartbeat_secs.to_string()])
            .args(["--user", USER, "--password", PASSWORD, "--control", CONTROL])
            .arg("--ca-file")
            .arg(&ca_file);
        if let Some(secs) = fleet.change_secs {
            command.args(["--change-every", &secs.to_string()]);
        }
        if let Some(secs) = fleet.event_secs {
            command.args(["--events-every", &secs.to_string()]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut process = Process::start("host-sim", &mut command)?;
        let stream = loop {
            process.still_runs()?;
            match TcpStream::connect(CONTROL.parse::<SocketAddr>()?).await {
                Ok(stream) => break stream,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
            ensure!(began.elapsed() < PATIENCE, "the simulator does not start");
        };
        let (from, to) = stream.into_split();
        let mut simulator = Self {
            process,
            to,
            from: BufReader::new(from).lines(),
            sick: Vec::new(),
            ca_file,
        };
        simulator.sick = simulator.ask("sick").await?;
        Ok(simulator)
    }

    pub(crate) async fn counts(&mut self) -> Result<Counts> {
        self.ask("counts").await
    }

    /// The questions since the last call.
    pub(crate) async fn asked(&mut self) -> Result<Vec<Asked>> {
        self.ask("asked").await
    }

    /// Which host changed, and when, since the last call.
    pub(crate) async fn changes(&mut self) -> Result<Vec<Asked>> {
        self.ask("changes").await
    }

    async fn ask<T: DeserializeOwned>(&mut self, word: &str) -> Result<T> {
        self.to.write_all(format!("{word}\n").as_bytes()).await?;
        let line = self.from.next_line().await?.context("the simulator hung up")?;
        serde_json::from_str(&line).with_context(|| format!("the simulator's answer to {word}"))
    }

    pub(crate) fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    pub(crate) fn memory(&self) -> Result<crate::process::Memory> {
        self.process.memory()
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

/// Address of the host with this number.
pub(crate) fn address_of(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(FIRST) + number)
}

/// Its name.
pub(crate) fn name_of(number: u32) -> String {
    format!("sim-{:03}", number + 1)
}

//! `ops-api` as a program of its own, and what the kernel says of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::Args;
use crate::place::Place;

/// The token every question carries.
pub(crate) const TOKEN: &str = "measured-0123456789abcdef0123456789abcdef";
/// The kernel counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

pub(crate) struct Service {
    child: Child,
    pid: u32,
    _folder: TempDir,
    pub(crate) address: SocketAddr,
    /// From its start to its first healthy answer.
    pub(crate) ready_after: Duration,
}

impl Service {
    /// Starts it on hosts that nobody polls, with a few more variables.
    pub(crate) async fn start(place: &Place, args: &Args, more: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(place, args, &catalog(args.hosts), more).await
    }

    pub(crate) async fn start_with(
        place: &Place,
        args: &Args,
        hosts: &Value,
        more: &[(&str, &str)],
    ) -> Result<Self> {
        let program = program(args)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("hosts.json");
        std::fs::write(&file, hosts.to_string())?;
        let address = free_address().await?;
        let began = Instant::now();
        let mut child = Command::new(&program)
            .env_clear()
            .env("OPS_BIND", address.ip().to_string())
            .env("OPS_PORT", address.port().to_string())
            .env("OPS_SECRET", TOKEN)
            .env("OPS_CONFIG", &file)
            .env("MYSQL_DSN", &place.dsn)
            .env("OPS_LOG_LEVEL", "WARNING")
            // What is measured is the service, not its limits.
            .env("OPS_RATE_PER_MINUTE", "0")
            .envs(more.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let pid = child.id().context("the service has ended")?;
        while !healthy(address).await {
            if let Some(status) = child.try_wait()? {
                bail!("the service ended with {status}");
            }
            ensure!(
                began.elapsed() < Duration::from_secs(60),
                "the service does not get healthy"
            );
            sleep(Duration::from_millis(2)).await;
        }
        Ok(Self {
            child,
            pid,
            _folder: folder,
            address,
            ready_after: began.elapsed(),
        })
    }

    /// Resident memory.
    pub(crate) fn memory(&self) -> Result<String> {
        Ok(format!("{:.1} MiB", self.resident()? as f64 / 1024.0))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }

    /// CPU time used so far, its own and the kernel's for it.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name in brackets may hold blanks; what follows it does not.
        let after = stat.rsplit_once(')').context("an unknown form of stat")?.1;
        let field = |at: usize| -> Result<u32> {
            Ok(after
                .split_whitespace()
                .nth(at)
                .context("too few fields")?
                .parse()?)
        };
        Ok(TICK * (field(11)? + field(12)?))
    }

    pub(crate) async fn stop(mut self) {
        let _ = self.child.kill().await;
    }
}

fn program(args: &Args) -> Result<PathBuf> {
    if let Some(program) = &args.program {
        return Ok(program.clone());
    }
    let beside = std::env::current_exe()?.with_file_name("ops-api");
    ensure!(
        beside.exists(),
        "{} does not exist: build it first (cargo build --release -p ops-api)",
        beside.display()
    );
    Ok(beside)
}

async fn free_address() -> Result<SocketAddr> {
    // Given back at once: the service binds it a moment later.
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}

async fn healthy(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask.await.unwrap_or(false)
}

/// Host `n` is named `host-n` and serves lab `n`.
fn catalog(hosts: usize) -> Value {
    let entries: Vec<Value> = (0..hosts)
        .map(|n| {
            json!({
                "name": format!("host-{n}"),
                "address": format!("10.{}.{}.{}", 1 + n / 62_500, n / 250 % 250, 1 + n % 250),
                "winrm_user": "lab",
                "winrm_pass": "not used",
                "mac": format!("02:00:00:{:02x}:{:02x}:{:02x}", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff),
                "labs": [n.to_string()],
            })
        })
        .collect();
    json!({ "hosts": entries })
}

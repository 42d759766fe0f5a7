//! Asks a server over many connections, from a process of its own.
//!
//! Without a rate each connection asks again as soon as it was answered. With one, questions are due at fixed instants
//! and their delay counts from there: a server that stalls is not let off the questions it would have got.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::figures::{at, ms};

/// Longest an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked, how, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) path: &'static str,
    pub(crate) connections: usize,
    /// Questions per second in all; 0 means as fast as it goes.
    pub(crate) rate: u32,
    pub(crate) seconds: u64,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Order {
    address: SocketAddr,
    path: String,
    connections: usize,
    rate: u32,
    seconds: u64,
}

/// What was seen.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    answers: usize,
    seconds: f64,
    p50: Duration,
    p99: Duration,
    bytes: usize,
}

impl Figures {
    pub(crate) fn text(&self) -> String {
        let rate = self.answers as f64 / self.seconds;
        format!("{rate:.0}/s, p50 {}, p99 {}", ms(self.p50), ms(self.p99))
    }

    /// The service's own time per answer.
    pub(crate) fn cpu(&self, used: Duration) -> String {
        let micros = used.as_secs_f64() * 1e6 / self.answers.max(1) as f64;
        format!("{micros:.0} µs of CPU, {} bytes", self.bytes)
    }
}

/// Has another process ask.
pub(crate) async fn measure(address: SocketAddr, asked: Asked) -> Result<Figures> {
    let arguments = [
        "load".to_owned(),
        address.to_string(),
        asked.path.to_owned(),
        asked.connections.to_string(),
        asked.rate.to_string(),
        asked.seconds.to_string(),
    ];
    let output = Command::new(std::env::current_exe()?)
        .args(arguments)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await?;
    ensure!(output.status.success(), "asking {} failed", asked.path);
    serde_json::from_slice(&output.stdout).context("reading the figures")
}

/// Asks, and prints the figures.
pub(crate) async fn run(order: &Order) -> Result<()> {
    use std::io::Write as _;
    let request: Arc<[u8]> = request(order).into_bytes().into();
    let mut connections = Vec::new();
    for _ in 0..order.connections {
        let mut connection = Connection::open(order.address).await?;
        // The first answer warms both sides up and is not counted.
        connection.ask(&request).await?;
        connections.push(connection);
    }
    let began = Instant::now();
    let end = began + Duration::from_secs(order.seconds);
    let mut tasks = JoinSet::new();
    for (number, connection) in connections.into_iter().enumerate() {
        let pace = Pace::new(order, number, began);
        tasks.spawn(asks(connection, Arc::clone(&request), pace, end));
    }
    let mut delays = Vec::new();
    let mut bytes = 0;
    while let Some(ended) = tasks.join_next().await {
        let (seen, length) = ended??;
        delays.extend(seen);
        bytes = length;
    }
    let seconds = began.elapsed().as_secs_f64();
    delays.sort_unstable();
    let figures = Figures {
        answers: delays.len(),
        seconds,
        p50: at(&delays, 50),
        p99: at(&delays, 99),
        bytes,
    };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&figures)?)?;
    Ok(())
}

/// Health is asked without a token, as a load balancer does; everything else needs one.
fn request(order: &Order) -> String {
    let (path, address) = (&order.path, order.address);
    let token = if path == "/health" {
        String::new()
    } else {
        format!("X-Ops-Token: {}\r\n", crate::service::TOKEN)
    };
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{token}\r\n")
}

/// When a connection's questions are due.
struct Pace {
    next: Instant,
    every: Option<Duration>,
}

impl Pace {
    fn new(order: &Order, number: usize, began: Instant) -> Self {
        if order.rate == 0 {
            return Self {
                next: began,
                every: None,
            };
        }
        let step = Duration::from_secs(1) / order.rate;
        Self {
            next: began + step * u32::try_from(number).unwrap_or(0),
            every: Some(step * u32::try_from(order.connections).unwrap_or(1)),
        }
    }

    /// Waits until the next question is due, and gives that instant.
    async fn due(&mut self) -> Instant {
        let Some(every) = self.every else {
            return Instant::now();
        };
        let due = self.next;
        self.next += every;
        sleep_until(due).await;
        due
    }
}

async fn asks(
    mut connection: Connection,
    request: Arc<[u8]>,
    mut pace: Pace,
    end: Instant,
) -> Result<(Vec<Duration>, usize)> {
    let mut delays = Vec::new();
    let mut bytes = 0;
    loop {
        let due = pace.due().await;
        if due >= end {
            return Ok((delays, bytes));
        }
        bytes = connection.ask(&request).await?;
        delays.push(due.elapsed());
    }
}

/// One connection that is kept.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    /// Gives the length of the answer's body.
    async fn ask(&mut self, request: &[u8]) -> Result<usize> {
        timeout(PATIENCE, self.exchange(request)).await?
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<usize> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let (mut head, mut length) = (0, 0);
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("hung up in the middle of an answer");
            }
            if head == 0
                && let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n")
            {
                head = end + 4;
                length = body_length(&self.buffer[..head])?;
            }
            if head > 0 && self.buffer.len() >= head + length {
                return Ok(length);
            }
        }
    }
}

fn body_length(head: &[u8]) -> Result<usize> {
    let text = std::str::from_utf8(head)?;
    ensure!(
        text.starts_with("HTTP/1.1 200"),
        "{}",
        text.lines().next().unwrap_or_default()
    );
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    length.context("an answer without a length")
}

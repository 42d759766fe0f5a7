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
use tokio::time::{Instant, timeout};

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

    /// The run of the middle by its 99th percentile, and the 99th percentile of the best.
    pub(crate) fn middle<T>(mut runs: Vec<(Self, T)>) -> Option<(Self, T, Duration)> {
        runs.sort_by_key(|(figures, _)| figures.p99);
        let best = runs.first()?.0.p99;
        let middle = (runs.len() - 1) / 2;
        runs.into_iter()
            .nth(middle)
            .map(|(figures, of)| (figures, of, best))
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
        let request = Arc::clone(&request);
        match Pace::new(order, number, began) {
            None => tasks.spawn(asks(connection, request, end)),
            Some(pace) => {
                let connection = Blocking::of(connection)?;
                tasks.spawn_blocking(move || connection.asks(&request, pace, end))
            }
        };
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
    every: Duration,
}

impl Pace {
    /// `None` without a rate.
    fn new(order: &Order, number: usize, began: Instant) -> Option<Self> {
        let step = Duration::from_secs(1).checked_div(order.rate)?;
        Some(Self {
            next: began + step * u32::try_from(number).unwrap_or(0),
            every: step * u32::try_from(order.connections).unwrap_or(1),
        })
    }
}

async fn asks(
    mut connection: Connection,
    request: Arc<[u8]>,
    end: Instant,
) -> Result<(Vec<Duration>, usize)> {
    let mut delays = Vec::new();
    let mut bytes = 0;
    loop {
        let begun = Instant::now();
        if begun >= end {
            return Ok((delays, bytes));
        }
        bytes = connection.ask(&request).await?;
        delays.push(begun.elapsed());
    }
}

/// A connection with a thread of its own: tokio's clock ticks in milliseconds, and half a millisecond is what lies between
/// two questions.
struct Blocking {
    stream: std::net::TcpStream,
    buffer: Vec<u8>,
}

impl Blocking {
    fn of(connection: Connection) -> Result<Self> {
        let stream = connection.stream.into_std()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(64 * 1024),
        })
    }

    fn asks(mut self, request: &[u8], mut pace: Pace, end: Instant) -> Result<(Vec<Duration>, usize)> {
        let mut delays = Vec::new();
        let mut bytes = 0;
        loop {
            let due = pace.next;
            if due >= end {
                return Ok((delays, bytes));
            }
            pace.next += pace.every;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            bytes = self.exchange(request)?;
            delays.push(due.elapsed());
        }
    }

    fn exchange(&mut self, request: &[u8]) -> Result<usize> {
        use std::io::{Read as _, Write as _};
        self.stream.write_all(request)?;
        self.buffer.clear();
        let mut answer = Answer::default();
        let mut part = [0; 64 * 1024];
        loop {
            let read = self.stream.read(&mut part)?;
            ensure!(read > 0, "hung up in the middle of an answer");
            self.buffer.extend_from_slice(&part[..read]);
            if let Some(length) = answer.whole(&self.buffer)? {
                return Ok(length);
            }
        }
    }
}

/// How far an answer was read.
#[derive(Default)]
struct Answer {
    head: usize,
    length: usize,
}

impl Answer {
    /// The length of its body, once all of it is there.
    fn whole(&mut self, buffer: &[u8]) -> Result<Option<usize>> {
        if self.head == 0
            && let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            self.head = end + 4;
            self.length = body_length(&buffer[..self.head])?;
        }
        Ok((self.head > 0 && buffer.len() >= self.head + self.length).then_some(self.length))
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
        let mut answer = Answer::default();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("hung up in the middle of an answer");
            }
            if let Some(length) = answer.whole(&self.buffer)? {
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

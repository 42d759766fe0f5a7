//! Many viewers of one host's stream: what each costs in memory, and how long after the first the last one sees an
//! event.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use host_sim::{Farm, FarmOptions, HostSpec, SimHost, addresses};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::Args;
use crate::figures::{at, ms};
use crate::place::Place;
use crate::service::{Service, TOKEN};
use crate::table::Table;

/// Events that every viewer has to see.
const EVENTS: usize = 5;
/// Longest the whole run takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// One event at one viewer.
struct Seen {
    id: String,
    at: Instant,
}

pub(crate) async fn measure(table: &mut Table, column: usize, place: &Place, args: &Args) -> Result<()> {
    let mut spec = HostSpec::new("host-0", addresses::block(1)[0], [2, 0, 1, 0, 0, 1]).awake();
    spec.https_port = None;
    let farm = Farm::start(vec![spec], FarmOptions::default()).await?;
    let host = farm.hosts().first().context("no host")?;
    let places = (args.viewers + 64).to_string();
    let more = [
        ("OPS_HEARTBEAT_SSE_INTERVAL_SECONDS", "2"),
        ("OPS_HTTP_MAX_CONNECTIONS", places.as_str()),
        ("OPS_MAX_STREAMS", places.as_str()),
        ("OPS_MAX_STREAMS_PER_TOKEN", places.as_str()),
    ];
    let service = Service::start_with(place, args, &json!({ "hosts": [entry(host)] }), &more).await?;
    let rest = service.resident()?;
    let cpu = service.cpu()?;
    let seen = timeout(PATIENCE, watch(service.address, args.viewers)).await??;
    let held = service.resident()?.saturating_sub(rest);
    let used = service.cpu()?.saturating_sub(cpu);
    service.stop().await;
    let each = held as f64 / args.viewers.max(1) as f64;
    let name = format!("{} viewers of one stream", args.viewers);
    table.put(
        &format!("{name}: memory of each"),
        column,
        &format!("{each:.1} KiB, {:.1} MiB in all", held as f64 / 1024.0),
    );
    let mut spreads: Vec<Duration> = Vec::new();
    for arrivals in seen.values().filter(|arrivals| arrivals.len() == args.viewers) {
        let first = arrivals.iter().min().context("no arrival")?;
        spreads.extend(arrivals.iter().map(|arrival| *arrival - *first));
    }
    ensure!(!spreads.is_empty(), "no event reached every viewer");
    spreads.sort_unstable();
    table.put(
        &format!("{name}: after the first viewer, p50 / p99 / last"),
        column,
        &format!(
            "{} / {} / {}; {} of CPU in all",
            ms(at(&spreads, 50)),
            ms(at(&spreads, 99)),
            ms(at(&spreads, 100)),
            ms(used)
        ),
    );
    Ok(())
}

/// Opens all streams, and gives when each event came to each of them. All are held open until every one has its events.
async fn watch(address: SocketAddr, viewers: usize) -> Result<BTreeMap<String, Vec<Instant>>> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut streams = JoinSet::new();
    for _ in 0..viewers {
        let stream = open(address).await?;
        streams.spawn(read(stream, tell.clone()));
    }
    drop(tell);
    // What was told before the last viewer came is told again to each that comes.
    let all_here = Instant::now();
    let mut seen: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    let mut before: BTreeSet<String> = BTreeSet::new();
    let whole = |seen: &BTreeMap<String, Vec<Instant>>| {
        seen.values().filter(|arrivals| arrivals.len() == viewers).count() >= EVENTS
    };
    while !whole(&seen) {
        let event: Seen = told.recv().await.context("the streams ended early")?;
        if event.at < all_here {
            seen.remove(&event.id);
            before.insert(event.id);
        } else if !before.contains(&event.id) {
            seen.entry(event.id).or_default().push(event.at);
        }
    }
    streams.shutdown().await;
    Ok(seen)
}

async fn open(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /api/heartbeat/stream?host=host-0 HTTP/1.1\r\nHost: {address}\r\nX-Ops-Token: {TOKEN}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

async fn read(mut stream: TcpStream, tell: mpsc::UnboundedSender<Seen>) -> Result<()> {
    let mut buffer = Vec::new();
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let at = Instant::now();
        // Whole lines only: the rest waits for what comes next.
        let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        let lines: Vec<u8> = buffer.drain(..=end).collect();
        for line in String::from_utf8_lossy(&lines).lines() {
            if let Some(id) = line.strip_prefix("id:") {
                let id = id.trim().to_owned();
                let _ = tell.send(Seen { id, at });
            }
        }
    }
}

fn entry(host: &SimHost) -> Value {
    json!({
        "name": host.name(),
        "address": host.address().to_string(),
        "winrm_user": host.spec().user,
        "winrm_pass": host.spec().password,
        "winrm_port": host.http_port(),
        "labs": ["0"],
    })
}

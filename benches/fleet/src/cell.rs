//! One cell: a fleet, a scheduler on a fresh database, a first round, and then the measurement.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::{Instant, sleep};

use crate::database::{Kind, Look, Rows, Server};
use crate::exposition::Exposition;
use crate::process::Memory;
use crate::rhythm::{Lateness, busiest_second, lateness};
use crate::scheduler::{Orders, Scheduler};
use crate::simulator::{Asked, Counts, Fleet, Simulator};
use crate::{Args, tell};

/// A station of a laboratory changes now and then: somebody logs on or off every half an hour.
const CHANGE_SECS: f64 = 1800.0;
/// And now and then the session guard sends somebody off.
const EVENT_SECS: f64 = 1800.0;
/// What of the scheduler's log is shown.
const LINES_SHOWN: usize = 5;
/// Longest first round beyond the interval.
const FIRST_ROUND: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) hosts: u32,
    pub(crate) tls: bool,
    pub(crate) sick_percent: u32,
    pub(crate) database: Kind,
    pub(crate) interval_secs: u64,
}

/// What a cell came to.
#[derive(Debug, Clone)]
pub(crate) struct Figures {
    pub(crate) secs: f64,
    pub(crate) polls: u64,
    pub(crate) lateness: Lateness,
    /// What the scheduler's own histogram says: the buckets of the 99th percentile and of the last, in seconds.
    pub(crate) own: [Option<f64>; 2],
    /// Polls in the busiest second, as a multiple of the mean.
    pub(crate) burst: f64,
    pub(crate) failed: f64,
    pub(crate) requests: u64,
    pub(crate) connections: u64,
    pub(crate) open_connections: u64,
    pub(crate) cpu: Duration,
    pub(crate) simulator_cpu: Duration,
    pub(crate) database_cpu: Duration,
    pub(crate) memory: Memory,
    pub(crate) simulator_memory: Memory,
    pub(crate) heartbeat_rows: i64,
    pub(crate) event_rows: i64,
    pub(crate) change_rows: i64,
    pub(crate) bytes_written: u64,
    /// The machine's, and for how many seconds of each the scheduler's threads were kept from a core, all together.
    pub(crate) load: String,
}

/// All counters at one moment.
struct Snapshot {
    at: Instant,
    counts: Counts,
    metrics: Exposition,
    cpu: Duration,
    kept_from_cores: Duration,
    simulator_cpu: Duration,
    written: u64,
    database: (Duration, u64),
    rows: Rows,
}

impl Cell {
    pub(crate) fn name(&self) -> String {
        let transport = if self.tls { "TLS" } else { "sealed" };
        let health = match self.sick_percent {
            0 => "healthy".to_owned(),
            percent => format!("{percent} % sick"),
        };
        format!(
            "{} hosts, {transport}, {health}, {}",
            self.hosts,
            self.database.name()
        )
    }

    pub(crate) async fn measure(&self, args: &Args, server: Option<&Server>) -> Result<Figures> {
        let folder = tempfile::tempdir()?;
        let (dsn, server) = match (self.database, server) {
            (Kind::Sqlite, _) => (String::new(), None),
            (Kind::MariaDb, Some(server)) => (server.fresh().await?, Some(server)),
            (Kind::MariaDb, None) => anyhow::bail!("no MariaDB"),
        };
        let fleet = Fleet {
            hosts: self.hosts,
            sick_percent: self.sick_percent,
            heartbeat_secs: self.interval_secs,
            change_secs: Some(CHANGE_SECS),
            event_secs: Some(EVENT_SECS),
        };
        let mut simulator = Simulator::start(args, &fleet, folder.path()).await?;
        let orders = Orders {
            hosts: self.hosts,
            tls: self.tls,
            watch: false,
            interval_secs: self.interval_secs,
            dsn: dsn.clone(),
        };
        let scheduler = Scheduler::start(args, &orders, &simulator, folder.path()).await?;
        let look = Look::at(&dsn, folder.path(), server).await?;
        let ran = async {
            self.first_round(&mut simulator).await?;
            let secs = args.seconds.unwrap_or((3 * self.interval_secs).max(20));
            self.observe(&mut simulator, &scheduler, &look, Duration::from_secs(secs))
                .await
        };
        let ran = ran.await;
        let log = std::fs::read_to_string(folder.path().join("scheduler.log")).unwrap_or_default();
        // It speaks only when something is amiss, such as a database that does not answer.
        for line in log.lines().take(LINES_SHOWN) {
            tell(&format!("{}: the scheduler said: {line}", self.name()));
        }
        let figures = ran.with_context(|| {
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            format!("the scheduler said: {}", last.join(" | "))
        });
        look.close().await?;
        scheduler.stop().await?;
        simulator.stop().await?;
        figures
    }

    /// Waits until every healthy host was asked, and then one interval, so that the rhythm is that of a long run.
    async fn first_round(&self, simulator: &mut Simulator) -> Result<()> {
        let interval = Duration::from_secs(self.interval_secs);
        let began = Instant::now();
        let sick: HashSet<u32> = simulator.sick.iter().copied().collect();
        let healthy = self.hosts as usize - sick.len();
        let mut seen: HashSet<u32> = HashSet::new();
        while seen.len() < healthy {
            let asked = simulator.asked().await?;
            seen.extend(asked.iter().map(|a| a.host).filter(|host| !sick.contains(host)));
            ensure!(
                began.elapsed() < FIRST_ROUND + interval,
                "only {} of {healthy} healthy hosts were asked in {:?}",
                seen.len(),
                began.elapsed()
            );
            sleep(Duration::from_millis(200)).await;
        }
        sleep(interval).await;
        simulator.asked().await?;
        Ok(())
    }

    async fn observe(
        &self,
        simulator: &mut Simulator,
        scheduler: &Scheduler,
        look: &Look,
        time: Duration,
    ) -> Result<Figures> {
        let before = Snapshot::take(simulator, scheduler, look).await?;
        sleep(time).await;
        let after = Snapshot::take(simulator, scheduler, look).await?;
        let asked = simulator.asked().await?;
        let window = (before.counts.at_micros, after.counts.at_micros);
        let late = self.lateness(simulator, &asked, window);
        let (counts, earlier) = (after.counts, before.counts);
        let secs = (after.at - before.at).as_secs_f64();
        // Threads that ended took their part with them.
        let kept_from_cores = after.kept_from_cores.saturating_sub(before.kept_from_cores);
        Ok(Figures {
            secs,
            polls: counts.polls - earlier.polls,
            lateness: late,
            own: [0.99, 1.0].map(|share| {
                let name = "labops_poll_lateness_seconds";
                after.metrics.quantile(&before.metrics, name, share)
            }),
            burst: busiest_second(&asked, window),
            failed: failures(&after.metrics, &before.metrics),
            requests: counts.requests - earlier.requests,
            connections: counts.connections - earlier.connections,
            open_connections: counts.open_connections,
            cpu: after.cpu - before.cpu,
            simulator_cpu: after.simulator_cpu - before.simulator_cpu,
            database_cpu: after.database.0 - before.database.0,
            memory: scheduler.process().memory()?,
            simulator_memory: simulator.memory()?,
            heartbeat_rows: after.rows.heartbeats - before.rows.heartbeats,
            event_rows: after.rows.events - before.rows.events,
            change_rows: after.rows.changes - before.rows.changes,
            bytes_written: after.written + after.database.1 - before.written - before.database.1,
            load: format!("{} ({:.2})", load()?, kept_from_cores.as_secs_f64() / secs),
        })
    }

    fn lateness(&self, simulator: &Simulator, asked: &[Asked], window: (u64, u64)) -> Lateness {
        let sick: HashSet<u32> = simulator.sick.iter().copied().collect();
        let healthy = |host: u32| !sick.contains(&host);
        lateness(asked, healthy, self.hosts, self.interval_secs * 1_000_000, window)
    }
}

impl Snapshot {
    async fn take(simulator: &mut Simulator, scheduler: &Scheduler, look: &Look) -> Result<Self> {
        let rows = look.rows().await?;
        Ok(Self {
            at: Instant::now(),
            counts: simulator.counts().await?,
            cpu: scheduler.process().cpu()?,
            kept_from_cores: scheduler.process().kept_from_cores()?,
            simulator_cpu: simulator.cpu()?,
            written: scheduler.process().written()?,
            database: look.server()?,
            metrics: scheduler.metrics().await?,
            rows,
        })
    }
}

/// Polls that ended otherwise than well.
fn failures(after: &Exposition, before: &Exposition) -> f64 {
    let polls = |label: &str| after.grown_where(before, "labops_polls_total", label);
    polls("outcome=") - polls("outcome=\"ok\"")
}

/// The machine's load average: how busy others kept it.
pub(crate) fn load() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

//! Rows per second, every way in every round, and each way's rate as a share of the raw multi-row rate of its round.

use std::time::Duration;

use anyhow::Result;
use heartbeat_store::Keep;
use rustix::time::{ClockId, clock_gettime};
use sea_orm::ConnectionTrait as _;
use store_support::{Backend, Database};

use crate::Args;
use crate::load_data::Client;
use crate::place::{Kind, fresh};
use crate::table::{grouped, head, line, quantile};
use crate::{documents, raw, through};

/// A way to write the rows of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    MultiRow,
    LoadData,
    PreparedInOne,
    RecorderEvery,
    RecorderChanges,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::MultiRow => "raw `INSERT` of 500 rows",
            Self::LoadData => "raw `LOAD DATA LOCAL INFILE`",
            Self::PreparedInOne => "raw prepared `INSERT`s in one transaction",
            Self::RecorderEvery => "`Recorder`, `Keep::Every`",
            Self::RecorderChanges => "`Recorder`, `Keep::Changes`, each document changed",
        }
    }

    fn of(kind: Kind) -> Vec<Self> {
        let own = match kind {
            Kind::Sqlite => Self::PreparedInOne,
            Kind::MariaDb => Self::LoadData,
        };
        vec![Self::MultiRow, own, Self::RecorderEvery, Self::RecorderChanges]
    }
}

/// What one way took in one round.
#[derive(Debug, Clone, Copy)]
struct Lap {
    way: Way,
    took: Duration,
    cpu: Duration,
    share: f64,
    share_of_own: f64,
}

/// The table.
pub(crate) async fn measure(args: &Args, kinds: &[Kind]) -> Result<String> {
    let mut text = format!(
        "{} reports of {} bytes a round, {} hosts, {} rounds; each way in each round, in turn.\n\n",
        args.rows,
        documents::BYTES,
        args.hosts,
        args.rounds
    );
    text += &head(&[
        "way",
        "database",
        "rows/s, median (least, most)",
        "of the raw multi-row rate of its round",
        "of the other raw way's",
        "CPU of ours per row",
    ]);
    for kind in kinds.iter().copied() {
        let (rounds, rows, hosts, backlog) = (args.rounds, args.rows, args.hosts, args.backlog);
        let only = args.way.clone();
        let laps = fresh(kind, move |db| async move {
            all(&db, kind, &only, rounds, rows, hosts, backlog).await
        });
        let Some(laps) = Box::pin(laps).await? else {
            continue;
        };
        for way in Way::of(kind)
            .into_iter()
            .filter(|way| way.name().contains(&args.way))
        {
            text += &shown(kind, way, &laps, rows);
        }
    }
    Ok(text + "\n")
}

fn shown(kind: Kind, way: Way, laps: &[Lap], rows: usize) -> String {
    let of_way = || laps.iter().filter(|lap| lap.way == way);
    let rates: Vec<f64> = of_way().map(|lap| rows as f64 / lap.took.as_secs_f64()).collect();
    let shares: Vec<f64> = of_way().map(|lap| lap.share).collect();
    let shares_of_own: Vec<f64> = of_way().map(|lap| lap.share_of_own).collect();
    let cpu: Vec<f64> = of_way()
        .map(|lap| lap.cpu.as_secs_f64() * 1e6 / rows as f64)
        .collect();
    let at = |all: &[f64], percent| quantile(all, percent).unwrap_or_default();
    let share = |all: &[f64]| {
        let percent = |rank| at(all, rank) * 100.0;
        format!("{:.0} % ({:.0}, {:.0})", percent(50), percent(1), percent(100))
    };
    line(&[
        way.name().to_owned(),
        kind.name().to_owned(),
        format!(
            "{} ({}, {})",
            grouped(at(&rates, 50)),
            grouped(at(&rates, 1)),
            grouped(at(&rates, 100))
        ),
        share(&shares),
        share(&shares_of_own),
        format!("{:.0} us", at(&cpu, 50)),
    ])
}

async fn all(
    db: &Database,
    kind: Kind,
    only: &str,
    rounds: u32,
    rows: usize,
    hosts: usize,
    backlog: Option<usize>,
) -> Result<Vec<Lap>> {
    raw::hosts(db, hosts).await?;
    let client = match kind {
        Kind::Sqlite => None,
        Kind::MariaDb => Some(Client::new(&server_url()?, &name(db).await?)?),
    };
    let ways: Vec<Way> = Way::of(kind)
        .into_iter()
        .filter(|way| way.name().contains(only))
        .collect();
    let mut laps = Vec::new();
    // The first round only warms up what is measured.
    for round in 0..=rounds {
        let mut of_round = Vec::new();
        for turn in 0..ways.len() {
            let way = ways[(turn + round as usize) % ways.len()];
            emptied(db).await?;
            // Each way has instants of its own, so that none of its reports is older than the last.
            let number = round * ways.len() as u32 + turn as u32;
            let reports = documents::reports(number, rows, hosts)?;
            let cpu = cpu_now();
            let took = match (way, &client) {
                (Way::MultiRow, _) => raw::multi_row(db, &reports, hosts).await?,
                (Way::LoadData, Some(client)) => client.load(&reports, hosts).await?,
                (Way::LoadData | Way::PreparedInOne, _) => raw::prepared(db, &reports, hosts, rows).await?,
                (Way::RecorderEvery, _) => through::recorder(db, reports, Keep::Every, backlog).await?,
                (Way::RecorderChanges, _) => through::recorder(db, reports, Keep::default(), backlog).await?,
            };
            let cpu = cpu_now().saturating_sub(cpu);
            let stored = count(db).await?;
            anyhow::ensure!(
                stored == rows as i64,
                "{}: {stored} rows instead of {rows}",
                way.name()
            );
            of_round.push(Lap {
                way,
                took,
                cpu,
                share: 0.0,
                share_of_own: 0.0,
            });
        }
        let took = |ways: &[Way]| {
            let lap = of_round.iter().find(|lap| ways.contains(&lap.way));
            lap.map_or(0.0, |lap| lap.took.as_secs_f64())
        };
        let raw = took(&[Way::MultiRow]);
        let own = took(&[Way::LoadData, Way::PreparedInOne]);
        if round > 0 {
            laps.extend(of_round.into_iter().map(|lap| Lap {
                share: raw / lap.took.as_secs_f64(),
                share_of_own: own / lap.took.as_secs_f64(),
                ..lap
            }));
        }
    }
    Ok(laps)
}

async fn emptied(db: &Database) -> Result<()> {
    let statements: &[&str] = match db.backend() {
        Backend::MySql => &["TRUNCATE TABLE lab_host_heartbeat"],
        Backend::Sqlite => &[
            "DELETE FROM lab_host_heartbeat",
            "PRAGMA wal_checkpoint(TRUNCATE)",
        ],
    };
    for sql in statements {
        db.connection().execute_unprepared(sql).await?;
    }
    Ok(())
}

async fn count(db: &Database) -> Result<i64> {
    let read = db.statement("SELECT COUNT(*) FROM lab_host_heartbeat", []);
    let row = db.connection().query_one_raw(read).await?;
    Ok(row.map_or(Ok(0), |row| row.try_get_by_index(0))?)
}

async fn name(db: &Database) -> Result<String> {
    let read = db.statement("SELECT CAST(DATABASE() AS CHAR)", []);
    let row = db.connection().query_one_raw(read).await?;
    Ok(row.map_or(Ok(String::new()), |row| row.try_get_by_index(0))?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "tells where the server is, as for the tests"
)]
fn server_url() -> Result<String> {
    Ok(std::env::var("TEST_MYSQL_URL")?)
}

/// Processor time of this process, all threads.
pub(crate) fn cpu_now() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        now.tv_sec.try_into().unwrap_or_default(),
        now.tv_nsec.try_into().unwrap_or_default(),
    )
}

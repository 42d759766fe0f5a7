//! Watch mode beside polling: how long a change at a station takes until it is stored, and what that costs.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::cell::load;
use crate::database::Look;
use crate::scheduler::{Orders, Scheduler};
use crate::simulator::{Asked, Fleet, Simulator};
use crate::{Args, tell};

/// Seconds between two polls, and of the slow poll beside a watch.
const INTERVAL: u64 = 30;
/// Seconds between two changes of one host.
const CHANGE_SECS: f64 = 60.0;
/// How often the database is looked at: no delay is known more exactly.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Changes of the last seconds are not missed yet.
const GRACE_MICROS: u64 = 40_000_000;

/// Delays in milliseconds of changes that were stored, and how many never were.
#[derive(Debug, Clone, Default, PartialEq)]
struct Delays {
    sorted: Vec<u64>,
    missed: usize,
}

pub(crate) async fn measure(args: &Args) -> Result<String> {
    let mut lines = String::new();
    for hosts in [100, 1000] {
        for watch in [false, true] {
            let name = format!("{hosts} hosts, {}", if watch { "watch" } else { "polling" });
            if hosts > args.most_hosts || !format!("changes: {name}").contains(&args.only) {
                continue;
            }
            tell(&format!("changes: {name} ..."));
            let line = match one(args, hosts, watch).await {
                Ok(line) => format!("| {name} | {line} |"),
                Err(error) => format!("| {name} | failed: {error:#} |"),
            };
            tell(&line);
            let _ = writeln!(lines, "{line}");
        }
    }
    if lines.is_empty() {
        return Ok(lines);
    }
    Ok(format!(
        "\n| a change until it is stored | changes | p50 / p99 / max ms | never stored | watched | connections per host | \
         requests per host and minute | CPU ms per host and minute | simulator | RSS MiB (anon) | load |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n{lines}"
    ))
}

async fn one(args: &Args, hosts: u32, watch: bool) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let fleet = Fleet {
        hosts,
        sick_percent: 0,
        heartbeat_secs: 60,
        change_secs: Some(CHANGE_SECS),
        event_secs: None,
    };
    let mut simulator = Simulator::start(args, &fleet, folder.path()).await?;
    let orders = Orders {
        hosts,
        tls: false,
        watch,
        interval_secs: INTERVAL,
        dsn: String::new(),
    };
    let scheduler = Scheduler::start(args, &orders, &simulator, folder.path()).await?;
    let look = Look::at("", folder.path(), None).await?;
    let line = observe(args, hosts, &mut simulator, &scheduler, &look).await;
    look.close().await?;
    scheduler.stop().await?;
    simulator.stop().await?;
    line
}

async fn observe(
    args: &Args,
    hosts: u32,
    simulator: &mut Simulator,
    scheduler: &Scheduler,
    look: &Look,
) -> Result<String> {
    sleep(Duration::from_secs(INTERVAL + 10)).await;
    let mut last_id = stored_after(look, 0).await?.last().map_or(0, |row| row.0);
    simulator.changes().await?;
    let (counts, cpu, simulator_cpu) = (
        simulator.counts().await?,
        scheduler.process().cpu()?,
        simulator.cpu()?,
    );
    let began = Instant::now();
    let time = Duration::from_secs(args.seconds.unwrap_or(120));
    let mut stored: Vec<Asked> = Vec::new();
    while began.elapsed() < time {
        sleep(LOOK_EVERY).await;
        let rows = stored_after(look, last_id).await?;
        let at_micros = counts.at_micros + u64::try_from(began.elapsed().as_micros())?;
        for (id, host) in rows {
            last_id = last_id.max(id);
            stored.push(Asked { host, at_micros });
        }
    }
    let after = simulator.counts().await?;
    let changes = simulator.changes().await?;
    let delays = match_up(&changes, &stored, after.at_micros.saturating_sub(GRACE_MICROS));
    let per_minute = 60.0 / began.elapsed().as_secs_f64() / f64::from(hosts);
    let memory = scheduler.process().memory()?;
    Ok(format!(
        "{} | {} / {} / {} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} ({:.0}) | {}",
        delays.sorted.len(),
        delays.at(50),
        delays.at(99),
        delays.at(100),
        delays.missed,
        scheduler.metrics().await?.sum("labops_watches"),
        after.open_connections as f64 / f64::from(hosts),
        (after.requests - counts.requests) as f64 * per_minute,
        (scheduler.process().cpu()? - cpu).as_secs_f64() * 1e3 * per_minute,
        (simulator.cpu()? - simulator_cpu).as_secs_f64() * 1e3 * per_minute,
        memory.resident,
        memory.anonymous,
        load()?,
    ))
}

/// The changes of local sessions stored after this id: id and number of the host.
async fn stored_after(look: &Look, id: i64) -> Result<Vec<(i64, u32)>> {
    let sql = format!(
        "SELECT id, host_name FROM ops_host_changes WHERE id > {id} AND field = 'local_session' ORDER BY id"
    );
    let rows = look.query(&sql).await?;
    let read = |row: &sea_orm::QueryResult| -> Result<(i64, u32)> {
        let name: String = row.try_get_by_index(1)?;
        let number: u32 = name.rsplit('-').next().unwrap_or_default().parse()?;
        Ok((row.try_get_by_index(0)?, number - 1))
    };
    rows.iter().map(read).collect()
}

/// Ties each stored row to the newest change of its host before it. Changes before `settled` without a row are missed.
fn match_up(changes: &[Asked], stored: &[Asked], settled: u64) -> Delays {
    let mut delays = Delays::default();
    for (index, change) in changes.iter().enumerate() {
        let of_host = |other: &&Asked| other.host == change.host;
        let next = changes[index + 1..]
            .iter()
            .find(of_host)
            .map_or(u64::MAX, |next| next.at_micros);
        let row = stored
            .iter()
            .filter(of_host)
            .find(|row| (change.at_micros..next).contains(&row.at_micros));
        match row {
            Some(row) => delays.sorted.push((row.at_micros - change.at_micros) / 1000),
            None if change.at_micros < settled => delays.missed += 1,
            None => {}
        }
    }
    delays.sorted.sort_unstable();
    delays
}

impl Delays {
    fn at(&self, percent: usize) -> u64 {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: u32, at_micros: u64) -> Asked {
        Asked { host, at_micros }
    }

    #[test]
    fn each_change_is_tied_to_its_own_row() {
        let changes = [
            at(1, 1_000_000),
            at(2, 1_000_000),
            at(1, 61_000_000),
            at(2, 99_000_000),
        ];
        let stored = [at(1, 1_400_000), at(1, 62_000_000)];
        let delays = match_up(&changes, &stored, 90_000_000);
        assert_eq!(delays.sorted, [400, 1000]);
        assert_eq!(delays.missed, 1);
        assert_eq!((delays.at(50), delays.at(99)), (400, 1000));
    }
}

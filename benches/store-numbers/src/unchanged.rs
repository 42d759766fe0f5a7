//! What a report costs that says what the last one said: the steady state of a fleet, in processor time.

use std::time::Duration;

use anyhow::Result;
use heartbeat_store::Keep;
use sea_orm::ConnectionTrait as _;
use store_support::{Backend, Database};

use crate::place::{Kind, fresh};
use crate::table::{head, line, quantile};
use crate::writing::cpu_now;
use crate::{Args, documents, through};

/// Longer than all rounds together.
const KEEP: Keep = Keep::Changes {
    keep_alive: Duration::from_secs(86_400),
};
/// Of a tick of the processor times under `/proc`.
const TICK: Duration = Duration::from_millis(10);

/// Processor time per report, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Lap {
    ours: f64,
    servers: f64,
}

/// The table.
pub(crate) async fn measure(args: &Args, kinds: &[Kind]) -> Result<String> {
    let mut text = format!(
        "One report of {} bytes of each of {} hosts a round, {} rounds, nothing changed but its stamp.\n\n",
        documents::BYTES,
        args.fleet,
        args.rounds
    );
    text += &head(&[
        "database",
        "CPU of ours per report, median (least, most)",
        "CPU of the server",
        "together",
    ]);
    for kind in kinds.iter().copied() {
        let (rounds, hosts) = (args.rounds, args.fleet);
        let laps = fresh(kind, move |db| async move { all(&db, rounds, hosts).await });
        let Some(laps) = Box::pin(laps).await? else {
            continue;
        };
        let shown = |of: fn(&Lap) -> f64| {
            let all: Vec<f64> = laps.iter().map(of).collect();
            let at = |percent| quantile(&all, percent).unwrap_or_default();
            format!("{:.1} us ({:.1}, {:.1})", at(50), at(1), at(100))
        };
        text += &line(&[
            kind.name().to_owned(),
            shown(|lap| lap.ours),
            shown(|lap| lap.servers),
            shown(|lap| lap.ours + lap.servers),
        ]);
    }
    Ok(text + "\n")
}

async fn all(db: &Database, rounds: u32, hosts: usize) -> Result<Vec<Lap>> {
    let server = server_process(db).await?;
    let mut laps = Vec::new();
    // The first round makes the rows, the second warms up what is measured.
    for round in 0..=rounds + 1 {
        let reports = documents::unchanged(round, hosts)?;
        let (ours, servers) = (cpu_now(), server_cpu(server));
        through::recorder(db, reports, KEEP, None).await?;
        let per_report = |time: Duration| time.as_secs_f64() * 1e6 / hosts as f64;
        let lap = Lap {
            ours: per_report(cpu_now().saturating_sub(ours)),
            servers: per_report(server_cpu(server).saturating_sub(servers)),
        };
        if round > 1 {
            laps.push(lap);
        }
    }
    let read = db.statement("SELECT COUNT(*) FROM lab_host_heartbeat", []);
    let row = db.connection().query_one_raw(read).await?;
    let stored: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    anyhow::ensure!(stored == hosts as i64, "{stored} rows of {hosts} hosts");
    Ok(laps)
}

/// The number of the server's process, where it runs on this machine.
async fn server_process(db: &Database) -> Result<Option<u32>> {
    if db.backend() == Backend::Sqlite {
        return Ok(None);
    }
    let read = db.statement("SELECT CAST(@@pid_file AS CHAR)", []);
    let row = db.connection().query_one_raw(read).await?;
    let file: String = row.map_or(Ok(String::new()), |row| row.try_get_by_index(0))?;
    let number = std::fs::read_to_string(file).ok();
    Ok(number.and_then(|number| number.trim().parse().ok()))
}

/// Processor time of a process, all threads; nothing where there is none.
fn server_cpu(process: Option<u32>) -> Duration {
    let stat = process.and_then(|process| std::fs::read_to_string(format!("/proc/{process}/stat")).ok());
    // Behind the name, which may have blanks in it: the times of user and system are the 12th and 13th.
    let ticks = stat.and_then(|stat| {
        let (_, fields) = stat.rsplit_once(')')?;
        let mut times = fields.split_ascii_whitespace().skip(11);
        let user: u32 = times.next()?.parse().ok()?;
        let system: u32 = times.next()?.parse().ok()?;
        user.checked_add(system)
    });
    TICK * ticks.unwrap_or(0)
}

//! The tables.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;

use crate::cell::{Cell, Figures};

const HEAD: &str = "| cell | every s | polls/s | beyond the interval p50/p99/max ms | late p99 / max s | busiest second | requests/poll | connections/poll | \
                    CPU ms/poll | simulator | database | RSS MiB (anon) | rows/poll | KiB/poll | events | changes | load |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// The main table, and then what one host costs with how many of them.
pub(crate) fn text(lines: &[(Cell, Result<Figures>)]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let mut text = String::from(HEAD);
    for (cell, figures) in lines {
        match figures {
            Ok(figures) => text.push_str(&line(cell, figures)),
            Err(error) => {
                let _ = write!(
                    text,
                    "| {} | {} | failed: {error:#} |",
                    cell.name(),
                    cell.interval_secs
                );
            }
        }
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&per_host(lines));
    text
}

/// One line, without its end.
pub(crate) fn line(cell: &Cell, f: &Figures) -> String {
    let polls = f.polls.max(1) as f64;
    let [own_p99, own_max] = f
        .own
        .map(|bound| bound.map_or_else(|| "-".to_owned(), |bound| format!("{bound}")));
    format!(
        "| {} | {} | {:.1} | {:.1} / {:.0} / {:.0} | {own_p99} / {own_max} | {:.1}x | {:.2} | {:.3} | {} | {} | {} | {:.0} ({:.0}) | {:.2} | {:.2} | {} | {} | {} |",
        cell.name(),
        cell.interval_secs,
        polls / f.secs,
        f.lateness.p50,
        f.lateness.p99,
        f.lateness.max,
        f.burst,
        f.requests as f64 / polls,
        f.connections as f64 / polls,
        per_poll(f.cpu, polls),
        per_poll(f.simulator_cpu, polls),
        per_poll(f.database_cpu, polls),
        f.memory.resident,
        f.memory.anonymous,
        f.heartbeat_rows as f64 / polls,
        f.bytes_written as f64 / 1024.0 / polls,
        f.event_rows,
        f.change_rows,
        f.load,
    )
}

fn per_poll(time: Duration, polls: f64) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3 / polls)
}

/// What a host costs by the minute, healthy over SQLite: it is to be the same from a hundred hosts to ten thousand.
fn per_host(lines: &[(Cell, Result<Figures>)]) -> String {
    let mut text = String::from(
        "| hosts | CPU ms/poll | polls/s of one core | KiB of memory per further host | open connections per host | failed polls | simulator MiB |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for (cell, figures) in lines {
        let Ok(f) = figures else { continue };
        if cell.sick_percent > 0 || cell.tls {
            continue;
        }
        let polls = f.polls.max(1) as f64;
        let cpu = f.cpu.as_secs_f64();
        let floor = smallest(lines, cell);
        let memory = match f64::from(cell.hosts) - floor.0 {
            more if more > 0.0 => format!("{:.1}", (f.memory.resident - floor.1) * 1024.0 / more),
            _ => "-".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {}, {} | {} | {:.0} | {memory} | {:.2} | {} | {:.0} |",
            cell.hosts,
            cell.database.name(),
            per_poll(f.cpu, polls),
            polls / cpu.max(0.001),
            f.open_connections as f64 / f64::from(cell.hosts),
            f.failed,
            f.simulator_memory.resident,
        );
    }
    text
}

/// Hosts and resident memory of the smallest healthy cell over the same database: what is there with few hosts already.
fn smallest(lines: &[(Cell, Result<Figures>)], like: &Cell) -> (f64, f64) {
    let same = lines
        .iter()
        .filter(|(cell, _)| cell.database == like.database && cell.sick_percent == 0 && !cell.tls);
    let known = same.filter_map(|(cell, figures)| Some((cell.hosts, figures.as_ref().ok()?.memory.resident)));
    known
        .min_by_key(|(hosts, _)| *hosts)
        .map_or((0.0, 0.0), |(hosts, memory)| (f64::from(hosts), memory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Kind;
    use crate::process::Memory;
    use crate::rhythm::Lateness;

    fn cell() -> Cell {
        Cell {
            hosts: 100,
            tls: false,
            sick_percent: 0,
            database: Kind::Sqlite,
            interval_secs: 1,
        }
    }

    fn figures() -> Figures {
        Figures {
            secs: 10.0,
            polls: 1000,
            lateness: Lateness::default(),
            own: [Some(0.01), None],
            burst: 1.5,
            failed: 0.0,
            requests: 3000,
            connections: 10,
            open_connections: 100,
            cpu: Duration::from_millis(400),
            simulator_cpu: Duration::from_millis(500),
            database_cpu: Duration::ZERO,
            memory: Memory {
                resident: 30.0,
                anonymous: 10.0,
            },
            simulator_memory: Memory {
                resident: 40.0,
                anonymous: 30.0,
            },
            heartbeat_rows: 100,
            event_rows: 2,
            change_rows: 3,
            bytes_written: 1024 * 1000,
            load: "0.5".into(),
        }
    }

    #[test]
    fn everything_is_divided_by_the_polls_of_the_hosts() {
        let line = line(&cell(), &figures());
        assert!(
            line.contains("| 1 | 100.0 | 0.0 / 0 / 0 | 0.01 / - | 1.5x |"),
            "{line}"
        );
        assert!(
            line.contains("| 3.00 | 0.010 | 0.400 | 0.500 | 0.000 | 30 (10) | 0.10 | 1.00 | 2 | 3 | 0.5 |"),
            "{line}"
        );
    }

    #[test]
    fn a_cell_that_failed_says_why_and_the_others_stand() {
        let more = Cell {
            hosts: 1124,
            ..cell()
        };
        let grown = Figures {
            memory: Memory {
                resident: 40.0,
                anonymous: 20.0,
            },
            ..figures()
        };
        let lines = [
            (cell(), Ok(figures())),
            (cell(), Err(anyhow::anyhow!("no hosts"))),
            (more, Ok(grown)),
        ];
        let text = text(&lines);
        assert!(text.contains("failed: no hosts"));
        assert!(
            text.contains("| 100, SQLite | 0.400 | 2500 | - | 1.00 | 0 | 40 |"),
            "{text}"
        );
        assert!(text.contains("| 1124, SQLite | 0.400 | 2500 | 10.0 |"), "{text}");
    }
}

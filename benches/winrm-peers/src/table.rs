//! The table.

use std::fmt::Write as _;

use crate::Options;
use crate::contest::{Entrant, Entry, Measured, Round};
use crate::wire::Transport;

const HEADS: [&str; 17] = [
    "transport",
    "client",
    "first ms",
    "steady ms",
    "requests",
    "connections",
    "handshakes",
    "CPU s/1000, 1 host",
    "CPU s/1000, 64 hosts",
    "cmd/s, 1 host",
    "cmd/s, 64",
    "cmd/s, 1000",
    "KiB/idle host",
    "kept %",
    "ok %",
    "CPU x ours, 1",
    "CPU x ours, 64",
];

/// Least and median of what the rounds came to; nothing where no round has it.
fn spread(entry: &Entry, value: impl Fn(&Round) -> Option<f64>) -> Option<(f64, f64)> {
    let mut values: Vec<f64> = entry
        .rounds
        .iter()
        .filter_map(value)
        .filter(|value| value.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    Some((*values.first()?, values[values.len() / 2]))
}

fn cpu(measured: &Measured) -> Option<f64> {
    let report = &measured.report;
    (report.completed > 0).then(|| report.cpu_secs * 1e3 / report.completed as f64)
}

fn rate(measured: &Measured) -> Option<f64> {
    let report = &measured.report;
    (report.completed > 0).then(|| report.completed as f64 / report.wall_secs)
}

fn latency(measured: &Measured) -> Option<f64> {
    (measured.report.completed > 0).then_some(measured.report.p50_ms)
}

/// Per command tried: what a failed one cost the host counts, too.
fn per_command(measured: &Measured, count: u64) -> Option<f64> {
    let tried = measured.report.completed + measured.report.failed;
    (tried > 0).then(|| count as f64 / tried as f64)
}

fn succeeded(round: &Round) -> Option<f64> {
    let all = [
        Some(&round.paced),
        Some(&round.alone),
        round.few.as_ref(),
        round.many.as_ref(),
    ];
    let (mut completed, mut tried) = (0, 0);
    for report in all.into_iter().flatten().map(|measured| &measured.report) {
        completed += report.completed;
        tried += report.completed + report.failed;
    }
    (tried > 0).then(|| completed as f64 * 100.0 / tried as f64)
}

fn show(spread: Option<(f64, f64)>) -> String {
    let digits = |value: f64| match value {
        value if value == 0.0 => "0".to_owned(),
        value if value < 0.01 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    };
    match spread.map(|(least, middle)| (digits(least), digits(middle))) {
        None => "-".to_owned(),
        Some((least, middle)) if least == middle => middle,
        Some((least, middle)) => format!("{least} / {middle}"),
    }
}

fn cells(entry: &Entry, ours: Option<&Entry>) -> Vec<String> {
    let of = |value: &dyn Fn(&Round) -> Option<f64>| show(spread(entry, value));
    let ratio = |value: &dyn Fn(&Round) -> Option<f64>| {
        let middle = |entry: &Entry| spread(entry, value).map(|(_, middle)| middle);
        match (middle(entry), ours.and_then(middle)) {
            (Some(theirs), Some(ours)) => format!("{:.1}", theirs / ours),
            _ => "-".to_owned(),
        }
    };
    vec![
        entry.transport.title().to_owned(),
        entry.entrant.title().to_owned(),
        of(&|round| latency(&round.first)),
        of(&|round| latency(&round.paced)),
        of(&|round| per_command(&round.alone, round.alone.counts.requests)),
        of(&|round| per_command(&round.alone, round.alone.counts.connections)),
        of(&|round| per_command(&round.alone, round.alone.counts.handshakes)),
        of(&|round| cpu(&round.alone)),
        of(&|round| round.few.as_ref().and_then(cpu)),
        of(&|round| rate(&round.alone)),
        of(&|round| round.few.as_ref().and_then(rate)),
        of(&|round| round.many.as_ref().and_then(rate)),
        of(&|round| round.memory.as_ref().map(|memory| memory.kib_per_host)),
        of(&|round| round.memory.as_ref().map(|memory| memory.kept * 100.0)),
        of(&succeeded),
        ratio(&|round| cpu(&round.alone)),
        ratio(&|round| round.few.as_ref().and_then(cpu)),
    ]
}

/// The table in Markdown, with the first error of each client that had one below it.
pub fn write(entries: &[Entry]) -> String {
    let mut rows = vec![HEADS.map(str::to_owned).to_vec()];
    for entry in entries {
        let ours = |other: &&Entry| other.entrant == Entrant::Ours && other.transport == entry.transport;
        rows.push(cells(entry, entries.iter().find(ours)));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    let mut out = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(out, "| {cell:width$} ");
        }
        out.push_str("|\n");
        if number == 0 {
            widths.iter().for_each(|width| {
                let _ = write!(out, "|{}", "-".repeat(width + 2));
            });
            out.push_str("|\n");
        }
    }
    out.push_str("\nLeast / median of the rounds. Errors:\n");
    for entry in entries {
        if let Some(error) = entry.rounds.iter().find_map(first_error) {
            let error: String = error.chars().filter(|c| !c.is_control()).take(300).collect();
            let _ = writeln!(
                out,
                "- {}, {}: {error}",
                entry.transport.title(),
                entry.entrant.title()
            );
        }
    }
    out
}

fn first_error(round: &Round) -> Option<String> {
    let all = [
        Some(&round.first),
        Some(&round.paced),
        Some(&round.alone),
        round.few.as_ref(),
        round.many.as_ref(),
    ];
    let found = all
        .into_iter()
        .flatten()
        .find_map(|measured| measured.report.first_error.clone());
    round.stopped.clone().or(found)
}

/// The table with what it was made on.
pub fn document(table: &str, options: &Options) -> String {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .to_owned();
        line.split_once(':')
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    format!(
        "# What a WinRM command costs\n\n{}: {cores} cores ({}), {} of memory, {} rounds, {} hosts.\n\
         Command line: `winrm-peers {}`; transports {:?}. What each column means: `benches/winrm-peers/README.md`.\n\n{table}",
        chrono::Local::now().format("%Y-%m-%d"),
        field("/proc/cpuinfo", "model name"),
        field("/proc/meminfo", "MemTotal"),
        options.rounds,
        options.hosts,
        arguments.join(" "),
        Transport::ALL,
    )
}

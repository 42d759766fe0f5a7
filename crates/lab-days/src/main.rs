//! Runs many days and says which of them broke a promise.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use clap::Parser;
use lab_days::{DayReport, FaultKind, Options, Swarm, run_day};
use tokio::time::Instant;

/// Simulates lab days on virtual time and audits them.
#[derive(Debug, Parser)]
struct Args {
    /// How many days.
    #[arg(long, default_value_t = 1_000)]
    days: u64,
    /// The seed of the first day; the others follow.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many days at once; as many as there are cores when left out.
    #[arg(long)]
    threads: Option<usize>,
    /// No new day after this many seconds.
    #[arg(long)]
    seconds: Option<u64>,
    /// Only these kinds of faults, all the time, instead of a drawn mixture: `Crash,HostCrash`.
    #[arg(long, value_delimiter = ',')]
    faults: Vec<FaultKind>,
    /// Prints the whole log of the first day.
    #[arg(long)]
    trace: bool,
    /// Keeps the seed of each failing day as a file in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Totals {
    days: u64,
    effects: u64,
    reservations: usize,
    faults: BTreeMap<FaultKind, u64>,
    failing: u64,
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    if args.trace {
        return trace(&args);
    }
    if let Some(folder) = &args.keep {
        std::fs::create_dir_all(folder)?;
    }
    let began = Instant::now();
    let totals = run(&args)?;
    report(&totals, began.elapsed().as_secs_f64())?;
    Ok(if totals.failing == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn trace(args: &Args) -> io::Result<ExitCode> {
    let options = Options {
        keep_trace: true,
        ..args.options()
    };
    let day = run_day(args.from, &options)?;
    let mut out = io::stdout().lock();
    out.write_all(day.trace.unwrap_or_default().as_bytes())?;
    for violation in &day.violations {
        writeln!(out, "{violation}")?;
    }
    Ok(if day.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> io::Result<Totals> {
    let threads = args
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from))
        .max(1);
    let options = args.options();
    let next = AtomicU64::new(args.from);
    let totals = Mutex::new(Totals::default());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(args, &next, &options, &totals)))
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a day panicked")))
        })
    })?;
    Ok(totals.into_inner().unwrap_or_default())
}

fn work(args: &Args, next: &AtomicU64, options: &Options, totals: &Mutex<Totals>) -> io::Result<()> {
    let last = args.from.saturating_add(args.days);
    let until = args
        .seconds
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    while until.is_none_or(|until| Instant::now() < until) {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= last {
            break;
        }
        let day = run_day(seed, options)?;
        told(args, &day)?;
        if let Ok(mut totals) = totals.lock() {
            totals.add(day);
        }
    }
    Ok(())
}

/// A failing day is said and kept at once: a long hunt may be ended before its time.
fn told(args: &Args, day: &DayReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for violation in &day.violations {
        writeln!(out, "seed {}: {violation}", day.seed)?;
    }
    match &args.keep {
        Some(folder) if !day.violations.is_empty() => {
            std::fs::write(folder.join(format!("{}.seed", day.seed)), seed_file(args, day))
        }
        _ => Ok(()),
    }
}

impl Args {
    fn options(&self) -> Options {
        let faults: Vec<_> = self.faults.iter().map(|kind| (*kind, 3)).collect();
        Options {
            swarm: (!faults.is_empty()).then(|| Swarm::of(&faults)),
            ..Options::default()
        }
    }
}

impl Totals {
    fn add(&mut self, day: DayReport) {
        self.days += 1;
        self.effects += day.effects;
        self.reservations += day.reservations;
        for (kind, hits) in &day.faults {
            *self.faults.entry(*kind).or_insert(0) += hits;
        }
        if !day.violations.is_empty() {
            self.failing += 1;
        }
    }
}

fn report(totals: &Totals, seconds: f64) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let rate = f64::from(u32::try_from(totals.days).unwrap_or(u32::MAX)) / seconds.max(0.001);
    writeln!(
        out,
        "{} days in {seconds:.1} s, {rate:.0} days/s; {} reservations, {} effects, {} failing days",
        totals.days, totals.reservations, totals.effects, totals.failing
    )?;
    for (kind, hits) in &totals.faults {
        writeln!(out, "{hits:>10}  {kind}")?;
    }
    Ok(())
}

fn seed_file(args: &Args, day: &DayReport) -> String {
    let told: Vec<String> = day
        .violations
        .iter()
        .map(|violation| format!("# {violation}\n"))
        .collect();
    let names: Vec<String> = args.faults.iter().map(ToString::to_string).collect();
    let faults = if names.is_empty() {
        String::new()
    } else {
        format!("faults {}\n", names.join(","))
    };
    format!("{}{faults}{}\n", told.concat(), day.seed)
}

//! The process of one Rust client: does what standard input says and reports on standard output.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::clients::{Client, Session};
use crate::usage;
use crate::wire::{Phase, Report, Setup};

/// Runs until standard input ends.
pub async fn serve<C: Client>() -> anyhow::Result<()> {
    // Blocks the main thread only, which runs nothing else meanwhile: the runtime has threads of its own.
    let mut lines = std::io::stdin().lines();
    let first = lines.next().context("no setup")??;
    let setup: Setup = serde_json::from_str(&first)?;
    let client = Arc::new(C::new(&setup)?);
    let mut sessions: Vec<Arc<C::Session>> = Vec::new();
    while let Some(line) = lines.next().transpose()? {
        let (cpu, begun) = (usage::cpu_secs(), Instant::now());
        let mut tally = match serde_json::from_str(&line)? {
            Phase::First { from, to } => first_commands::<C>(&setup, from..to).await?,
            Phase::Open { hosts, at_once } => open(&client, hosts, at_once, &mut sessions).await,
            Phase::Run {
                hosts,
                commands,
                pause_ms,
            } => {
                run(
                    &sessions[..hosts.min(sessions.len())],
                    commands,
                    Duration::from_millis(pause_ms),
                )
                .await
            }
            Phase::Close => close(&mut sessions).await,
        };
        let wall_secs = tally.wall.unwrap_or_else(|| begun.elapsed()).as_secs_f64();
        tally.took.sort_unstable();
        let middle = tally.took.get(tally.took.len() / 2).copied().unwrap_or_default();
        crate::say(&Report {
            completed: tally.took.len() as u64,
            failed: tally.failed,
            first_error: tally.first_error,
            wall_secs,
            cpu_secs: usage::cpu_secs() - cpu,
            p50_ms: middle.as_secs_f64() * 1e3,
            rss_kib: usage::rss_kib()?,
        })?;
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    took: Vec<Duration>,
    failed: u64,
    first_error: Option<String>,
    /// Where it is less than the whole phase.
    wall: Option<Duration>,
}

impl Tally {
    fn add(&mut self, begun: Instant, result: anyhow::Result<()>) {
        match result {
            Ok(()) => self.took.push(begun.elapsed()),
            Err(error) => {
                self.failed += 1;
                self.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    fn join(&mut self, other: Self) {
        self.took.extend(other.took);
        self.failed += other.failed;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

async fn first_commands<C: Client>(setup: &Setup, range: std::ops::Range<usize>) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    for index in range {
        let begun = Instant::now();
        let client = C::new(setup)?;
        let result = match client.open(index).await {
            Ok(session) => {
                let result = session.run().await;
                // Only the command counts, not what follows it.
                tally.add(begun, result);
                session.close().await;
                continue;
            }
            Err(error) => Err(error),
        };
        tally.add(begun, result);
    }
    Ok(tally)
}

async fn open<C: Client>(
    client: &Arc<C>,
    hosts: usize,
    at_once: usize,
    sessions: &mut Vec<Arc<C::Session>>,
) -> Tally {
    let mut tally = Tally::default();
    let room = Arc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for index in sessions.len()..hosts {
        let (client, room) = (client.clone(), room.clone());
        tasks.spawn(async move {
            let _permit = room.acquire().await;
            let begun = Instant::now();
            let session = match client.open(index).await {
                Ok(session) => session,
                Err(error) => return (None, begun, Err(error)),
            };
            let result = session.run().await;
            (Some(session), begun, result)
        });
    }
    while let Some(Ok((session, begun, result))) = tasks.join_next().await {
        sessions.extend(session.map(Arc::new));
        tally.add(begun, result);
    }
    tally
}

async fn run<S: Session>(sessions: &[Arc<S>], commands: usize, pause: Duration) -> Tally {
    let mut tally = Tally::default();
    let start = Arc::new(Barrier::new(sessions.len() + 1));
    let mut tasks = JoinSet::new();
    for session in sessions {
        let (session, start) = (session.clone(), start.clone());
        tasks.spawn(async move {
            start.wait().await;
            let mut tally = Tally::default();
            for _ in 0..commands {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let begun = Instant::now();
                tally.add(begun, session.run().await);
            }
            tally
        });
    }
    start.wait().await;
    let begun = Instant::now();
    while let Some(part) = tasks.join_next().await {
        tally.join(part.unwrap_or_default());
    }
    tally.wall = Some(begun.elapsed());
    tally
}

async fn close<S: Session>(sessions: &mut Vec<Arc<S>>) -> Tally {
    let mut tasks = JoinSet::new();
    for session in sessions.drain(..) {
        if let Ok(session) = Arc::try_unwrap(session) {
            tasks.spawn(async move { session.close().await });
        }
        if tasks.len() >= 32 {
            tasks.join_next().await;
        }
    }
    while tasks.join_next().await.is_some() {}
    Tally::default()
}

/// What every client has to bring back.
pub fn check(exit_code: Option<i32>, stdout: &[u8], stderr: &[u8]) -> anyhow::Result<()> {
    ensure!(exit_code == Some(0), "exit code {exit_code:?}");
    ensure!(stderr.is_empty(), "{} bytes of stderr", stderr.len());
    ensure!(stdout.len() > 1_000, "only {} bytes of stdout", stdout.len());
    Ok(())
}

//! Who takes part, and what each has to do.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use tokio::process::Command;

use crate::Options;
use crate::child::Asked;
use crate::table;
use crate::wire::{FarmCounts, FarmReady, Phase, Report, Setup, Transport};

/// Hosts for the first commands, beyond those of the runs.
const FIRSTS: usize = 5;
/// Hosts with a session before memory is first looked at, so that what is needed once is not counted.
const WARM: usize = 50;

/// A client that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Entrant {
    Ours,
    #[cfg(feature = "winrm-rs-2")]
    WinrmRs2,
    WinrmRs1,
    Pypsrp,
    Pywinrm,
    PywinrmSession,
}

impl Entrant {
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "winrm-transport",
            #[cfg(feature = "winrm-rs-2")]
            Self::WinrmRs2 => "winrm-rs 2.0.1",
            Self::WinrmRs1 => "winrm-rs 1.1.2",
            Self::Pypsrp => "pypsrp 0.9.1",
            Self::Pywinrm => "pywinrm 0.5.0, shell kept",
            Self::PywinrmSession => "pywinrm 0.5.0, Session",
        }
    }

    fn python(self) -> Option<&'static str> {
        match self {
            Self::Pypsrp => Some("pypsrp"),
            Self::Pywinrm => Some("pywinrm"),
            Self::PywinrmSession => Some("pywinrm-session"),
            _ => None,
        }
    }

    fn plan(self, hosts: usize) -> Plan {
        if self.python().is_some() {
            Plan {
                paced: 30,
                alone: 60,
                few: (64, 3),
                many: None,
                memory: (8, 64),
            }
        } else {
            Plan {
                paced: 200,
                alone: 1_500,
                few: (64, 25),
                many: Some((hosts, 4)),
                memory: (WARM, hosts),
            }
        }
    }

    fn command(self) -> anyhow::Result<Option<Command>> {
        let Some(name) = self.python() else {
            let mut command = Command::new(std::env::current_exe()?);
            let value = self.to_possible_value().context("no name")?;
            command.args(["client", value.get_name()]);
            return Ok(Some(command));
        };
        let Some(python) = std::env::var_os("INTEROP_PYTHON") else {
            return Ok(None);
        };
        let mut command = Command::new(python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/peer.py"))
            .arg(name);
        Ok(Some(command))
    }
}

/// How many commands; bounded by what the slower clients need for them.
struct Plan {
    paced: usize,
    alone: usize,
    few: (usize, usize),
    many: Option<(usize, usize)>,
    memory: (usize, usize),
}

/// What one phase came to, on both sides.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    pub report: Report,
    pub counts: FarmCounts,
}

/// One round of one client over one transport.
#[derive(Debug, Clone, Default)]
pub struct Round {
    pub first: Measured,
    pub paced: Measured,
    pub alone: Measured,
    pub few: Option<Measured>,
    pub many: Option<Measured>,
    pub memory: Option<Memory>,
    /// Why the client did not get further.
    pub stopped: Option<String>,
}

/// What idle hosts cost.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// For each connection that was kept.
    pub kib_per_host: f64,
    /// Part of the hosts whose connection was kept.
    pub kept: f64,
}

/// All rounds of one client over one transport.
pub struct Entry {
    pub entrant: Entrant,
    pub transport: Transport,
    pub rounds: Vec<Round>,
}

/// Holds the whole contest and prints the table.
pub async fn hold(options: &Options) -> anyhow::Result<()> {
    let folder = std::env::temp_dir().join(format!("winrm-peers-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = contest(options, folder.join("ca.pem")).await;
    std::fs::remove_dir_all(&folder).unwrap_or_default();
    let entries = result?;
    let text = table::write(&entries);
    println!("{text}");
    if let Some(file) = &options.save {
        std::fs::write(file, table::document(&text, options)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

async fn contest(options: &Options, ca_file: PathBuf) -> anyhow::Result<Vec<Entry>> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("farm")
        .arg((options.hosts + FIRSTS).to_string())
        .arg(ca_file);
    let mut farm = Asked::start("farm", command)?;
    let ready: FarmReady = farm.hear().await?;
    let wanted = |entrant: &Entrant| {
        options.only.is_empty()
            || options
                .only
                .iter()
                .any(|part| entrant.title().contains(part.as_str()))
    };
    let entrants: Vec<_> = Entrant::value_variants().iter().copied().filter(wanted).collect();
    let mut entries: Vec<Entry> = Transport::ALL
        .iter()
        .flat_map(|&transport| {
            entrants.iter().map(move |&entrant| Entry {
                entrant,
                transport,
                rounds: Vec::new(),
            })
        })
        .collect();
    for number in 1..=options.rounds {
        for entry in &mut entries {
            eprintln!(
                "round {number}: {}, {}",
                entry.transport.title(),
                entry.entrant.title()
            );
            let setup = Setup {
                transport: entry.transport,
                hosts: ready.hosts.clone(),
                ca_file: ready.ca_file.clone(),
            };
            let round = match round(entry.entrant, options.hosts, &setup, &mut farm).await {
                Ok(round) => round,
                Err(error) => Round {
                    stopped: Some(format!("{error:#}")),
                    ..Round::default()
                },
            };
            entry.rounds.push(round);
        }
    }
    farm.end().await;
    Ok(entries)
}

async fn round(entrant: Entrant, hosts: usize, setup: &Setup, farm: &mut Asked) -> anyhow::Result<Round> {
    let plan = entrant.plan(hosts);
    let start = || {
        let command = entrant.command()?.context("INTEROP_PYTHON is not set")?;
        Asked::start(entrant.title(), command)
    };
    let mut round = Round::default();
    let mut client = start()?;
    client.tell(setup).await?;
    round.first = measure(
        &mut client,
        farm,
        &Phase::First {
            from: hosts,
            to: hosts + FIRSTS,
        },
    )
    .await?;
    let opened = measure(&mut client, farm, &Phase::Open { hosts: 1, at_once: 1 }).await?;
    if opened.report.completed == 0 {
        let error = opened
            .report
            .first_error
            .or(round.first.report.first_error.clone());
        round.stopped = Some(error.unwrap_or_default());
        client.end().await;
        return Ok(round);
    }
    let run = |hosts, commands, pause_ms| Phase::Run {
        hosts,
        commands,
        pause_ms,
    };
    round.paced = measure(&mut client, farm, &run(1, plan.paced, 5)).await?;
    round.alone = measure(&mut client, farm, &run(1, plan.alone, 0)).await?;
    for (slot, (hosts, commands)) in [(&mut round.few, plan.few)]
        .into_iter()
        .chain(plan.many.map(|many| (&mut round.many, many)))
    {
        measure(&mut client, farm, &Phase::Open { hosts, at_once: 16 }).await?;
        *slot = Some(measure(&mut client, farm, &run(hosts, commands, 0)).await?);
    }
    measure(&mut client, farm, &Phase::Close).await?;
    client.end().await;

    let mut client = start()?;
    client.tell(setup).await?;
    let (few, all) = plan.memory;
    let before = measure(
        &mut client,
        farm,
        &Phase::Open {
            hosts: few,
            at_once: 4,
        },
    )
    .await?;
    let after = measure(
        &mut client,
        farm,
        &Phase::Open {
            hosts: all,
            at_once: 4,
        },
    )
    .await?;
    let kib = after.report.rss_kib.saturating_sub(before.report.rss_kib);
    // A client that gives connections up needs no memory for them, and has to log on again for the next command.
    let kept = after
        .counts
        .open_connections
        .saturating_sub(before.counts.open_connections);
    if kept > 0 {
        let hosts = (all - few) as f64;
        round.memory = Some(Memory {
            kib_per_host: kib as f64 / kept as f64,
            kept: kept as f64 / hosts,
        });
    }
    measure(&mut client, farm, &Phase::Close).await?;
    client.end().await;
    Ok(round)
}

async fn measure(client: &mut Asked, farm: &mut Asked, phase: &Phase) -> anyhow::Result<Measured> {
    let before: FarmCounts = farm.ask(&()).await?;
    let report: Report = client.ask(phase).await?;
    // What follows the last answer, such as a Signal that nobody waits for.
    tokio::time::sleep(Duration::from_millis(30)).await;
    let after: FarmCounts = farm.ask(&()).await?;
    Ok(Measured {
        report,
        counts: after.since(before),
    })
}

//! One day from its seed to its verdict.

use std::collections::BTreeMap;
use std::sync::Arc;

use reservation_engine::Settings;
use reservation_engine::testing::MemoryStore;
use tokio::runtime::Builder;

use crate::audit::{Record, Violation, audit};
use crate::faults::{Chaos, FaultKind, Swarm};
use crate::log::{fingerprint, text};
use crate::world::{Callers, Engineers, Gateway, Layout, Sites, World};

/// What is different about a day from what its seed says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Another mixture of faults than the drawn one.
    pub swarm: Option<Swarm>,
    /// Whether the whole log is given back as text.
    pub keep_trace: bool,
    /// A fault that is planted in the engine.
    #[cfg(feature = "mutants")]
    pub mutant: Option<reservation_engine::Mutant>,
}

/// What came of a day.
#[derive(Debug, Clone)]
pub struct DayReport {
    /// Which day it was.
    pub seed: u64,
    /// Which promises were broken, earliest first.
    pub violations: Vec<Violation>,
    /// How often each fault hit.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How many things were sent to hosts.
    pub effects: u64,
    /// How many reservations there were.
    pub reservations: usize,
    /// A number that is the same for the same log.
    pub fingerprint: Option<u64>,
    /// The log, if it was asked for.
    pub trace: Option<String>,
}

/// Lives through the day of a seed and audits it. The same seed and options give the same day to the byte.
///
/// # Errors
/// When the runtime cannot be built, for want of memory or threads.
pub fn run_day(seed: u64, options: &Options) -> std::io::Result<DayReport> {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(live(seed, options)))
}

#[cfg(feature = "mutants")]
fn planted(options: &Options, settings: Settings) -> (MemoryStore, Settings) {
    let memory = options
        .mutant
        .map_or_else(MemoryStore::default, MemoryStore::with_mutant);
    let settings = Settings {
        mutant: options.mutant,
        ..settings
    };
    (memory, settings)
}

#[cfg(not(feature = "mutants"))]
fn planted(_: &Options, settings: Settings) -> (MemoryStore, Settings) {
    (MemoryStore::default(), settings)
}

async fn live(seed: u64, options: &Options) -> DayReport {
    let layout = Layout::draw(seed, options.swarm.clone());
    let (memory, settings) = planted(options, layout.settings.clone());
    let world = World::new(layout, memory);
    let sites = Sites::new(&world, &settings);
    let gateway = Arc::new(Gateway::draw(&world));
    let callers = Callers::draw(&world);
    let engineers = Engineers::draw(&world);
    let chaos = Chaos::draw(&world);
    sites.start();
    let at_gateway = Arc::clone(&gateway);
    tokio::spawn(async move { at_gateway.run().await });
    let (at_callers, at_chaos) = (sites.clone(), sites.clone());
    tokio::spawn(async move { callers.run(&at_callers).await });
    tokio::spawn(async move { engineers.run().await });
    tokio::spawn(async move { chaos.run(&at_chaos).await });
    world.sleep_until(world.layout().end_at).await;
    judge(seed, options, &world, settings, &sites, &gateway)
}

fn judge(
    seed: u64,
    options: &Options,
    world: &World,
    settings: Settings,
    sites: &Sites,
    gateway: &Gateway,
) -> DayReport {
    let lines = world.log().take();
    let (effects, faults) = (lines.effects(), lines.faults);
    let left = crate::audit::Left {
        reservations: gateway.reservations.clone(),
        late: gateway.late.clone(),
        complaints: sites.complaints(),
    };
    let record = Record::new(world, settings, lines.entries, left);
    let trace = options.keep_trace.then(|| text(&record.entries));
    DayReport {
        seed,
        violations: audit(&record),
        faults,
        effects,
        reservations: record.reservations.len(),
        fingerprint: trace.as_deref().map(fingerprint),
        trace,
    }
}

//! The processes of a lab: started, driven as their binaries drive an engine, and started again after they died.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lab_model::Clock;
use rand::RngExt;
use reservation_engine::{Engine, Settings};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Labs, Process, ProcessClock, World};
use crate::hosts::SimStation;
use crate::log::What;
use crate::store::SimStore;

/// What runs in a process.
pub(crate) type SimEngine = Engine<SimStore, SimStation>;

/// More passes than any day needs: an engine that never comes to rest is found out instead of hanging the test.
const MAX_PASSES: usize = 60_000;
/// How long a process that is stopped properly may take.
const GRACE: Duration = Duration::from_secs(30);

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs reservations.
    Scheduler,
    /// Runs what callers order.
    Api,
}

#[derive(Debug, Clone)]
struct Running {
    process: Arc<Process>,
    engine: SimEngine,
    restart: Arc<Notify>,
}

/// A place in which one process runs at a time.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: String,
    role: Role,
    world: World,
    settings: Settings,
    pub(crate) clock: ProcessClock,
    running: Mutex<Option<Running>>,
    /// What the passes found wrong with themselves.
    complaints: Mutex<Vec<String>>,
}

/// All places.
#[derive(Debug, Clone)]
pub(crate) struct Sites {
    all: Vec<Arc<Site>>,
}

impl Sites {
    pub(crate) fn new(world: &World, settings: &Settings) -> Self {
        let layout = world.layout();
        let schedulers = (1..=layout.schedulers).map(|n| (format!("scheduler-{n}"), Role::Scheduler));
        let apis = (1..=layout.apis).map(|n| (format!("api-{n}"), Role::Api));
        let all = schedulers.chain(apis).map(|(name, role)| {
            Arc::new(Site {
                name,
                role,
                world: world.clone(),
                settings: settings.clone(),
                clock: ProcessClock::new(world.clone()),
                running: Mutex::default(),
                complaints: Mutex::default(),
            })
        });
        Self { all: all.collect() }
    }

    pub(crate) fn all(&self) -> &[Arc<Site>] {
        &self.all
    }

    /// The place of the `n`th caller's process, counted round.
    pub(crate) fn api(&self, n: usize) -> Option<&Arc<Site>> {
        let apis: Vec<_> = self.all.iter().filter(|site| site.role == Role::Api).collect();
        apis.get(n % apis.len().max(1)).copied()
    }

    pub(crate) fn start(&self) {
        for site in &self.all {
            tokio::spawn(Arc::clone(site).supervise());
        }
    }

    /// What the engines say of themselves at the end: flows that never ended, passes without rest.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let mut all = Vec::new();
        for site in &self.all {
            all.extend(
                site.complaints
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .iter()
                    .cloned(),
            );
            if let Some(running) = site.engine().map(|engine| engine.running()).filter(|n| *n > 0) {
                all.push(format!("{}: {running} flows still run", site.name));
            }
        }
        all
    }
}

impl Site {
    /// The process that runs here now, unless it is dead.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.current().map(|running| running.process)
    }

    pub(crate) fn engine(&self) -> Option<SimEngine> {
        self.current().map(|running| running.engine)
    }

    /// Asks the process to stop; another is started in its place.
    pub(crate) fn restart(&self) {
        if let Some(running) = self.current() {
            running.restart.notify_one();
        }
    }

    fn current(&self) -> Option<Running> {
        let running = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        running.filter(|running| !running.process.is_dead())
    }

    fn complain(&self, what: String) {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }

    async fn supervise(self: Arc<Self>) {
        let mut rng = self.world.rng(&format!("supervise {}", self.name));
        for incarnation in 1_u32.. {
            let name = format!("{}.{incarnation}", self.name);
            let process = Process::new(name.clone(), self.world.clone(), self.clock.clone());
            let engine = Engine::new(
                SimStore::new(Arc::clone(&process)),
                SimStation::new(Arc::clone(&process)),
                Arc::new(self.clock.clone()),
                self.settings.clone(),
                &name,
                Some(rng.random()),
            );
            let restart = Arc::new(Notify::new());
            *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running {
                process: Arc::clone(&process),
                engine: engine.clone(),
                restart: Arc::clone(&restart),
            });
            self.world.note(What::Process {
                process: name,
                event: "starts",
            });
            tokio::select! {
                biased;
                () = process.died() => {
                    // Only frees memory: nothing that a dead process does reaches anybody.
                    tokio::spawn(async move { engine.stop(Duration::ZERO).await });
                }
                () = restart.notified() => {
                    tokio::select! {
                        biased;
                        () = process.died() => {}
                        _ = engine.stop(GRACE) => process.kill(),
                    }
                }
                () = self.drive(&engine, &process) => return,
            }
            sleep(Duration::from_secs(rng.random_range(1..=120))).await;
        }
    }

    /// As the binary does: a pass when something is due, when a flow ended, and every so often.
    async fn drive(&self, engine: &SimEngine, process: &Process) {
        if self.role == Role::Api {
            return std::future::pending().await;
        }
        let labs = Labs {
            hosts: self.world.layout().hosts,
            spare: self.world.layout().settings.host_pooling,
        };
        let never = CancellationToken::new();
        for _ in 0..MAX_PASSES {
            process.gets_time().await;
            let scan = Instant::now() + self.world.layout().scan;
            let next_at = match engine.pass(&labs, &never).await {
                Ok(report) => report.next_at.map(|at| self.instant(at)),
                Err(_) => Some(Instant::now() + Duration::from_secs(2)),
            };
            // A paused clock does not move while it is not waited for.
            let next = next_at
                .map_or(scan, |at| at.min(scan))
                .max(Instant::now() + Duration::from_millis(1));
            tokio::select! {
                biased;
                () = engine.changed() => {}
                () = sleep_until(next) => {}
            }
        }
        self.complain(format!("{}: no rest after {MAX_PASSES} passes", self.name));
    }

    fn instant(&self, at: chrono::DateTime<chrono::Utc>) -> Instant {
        Instant::now() + (at - self.clock.now()).to_std().unwrap_or_default()
    }
}

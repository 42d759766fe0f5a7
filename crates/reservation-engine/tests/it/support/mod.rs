//! A small lab: a clock that follows tokio's paused time, hosts that do as scripted, a store that can crash.

mod hosts;
mod rooms;
mod store;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use lab_model::{Clock, HostName, LabId, ReservationId};
use reservation_engine::testing::MemoryStore;
use reservation_engine::{
    Engine, HostMap, Operation, OperationKind, PassReport, Reservation, ReservationStatus, Settings, State,
    Station, Store,
};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

pub(crate) use hosts::{Hosts, Script};
pub(crate) use rooms::{Rooms, Share};
pub(crate) use store::{Moment, ShakyStore, StatusFault};

/// More passes than any test needs; a loop that does not come to rest fails instead of hanging.
const MAX_PASSES: usize = 5_000;

/// Follows tokio's clock from a fixed instant on, and may be wrong. Clones step together.
#[derive(Debug, Clone)]
pub(crate) struct PausedClock {
    base: DateTime<Utc>,
    since: Instant,
    wrong_by_ms: Arc<AtomicI64>,
}

impl PausedClock {
    fn starting_at(base: DateTime<Utc>) -> Self {
        Self {
            base,
            since: Instant::now(),
            wrong_by_ms: Arc::default(),
        }
    }

    /// Another clock that goes as this one, until it is set.
    pub(crate) fn another(&self) -> Self {
        Self {
            wrong_by_ms: Arc::new(AtomicI64::new(self.wrong_by().num_milliseconds())),
            ..self.clone()
        }
    }

    /// Sets the clock forward, or back.
    pub(crate) fn step(&self, by: TimeDelta) {
        self.wrong_by_ms
            .fetch_add(by.num_milliseconds(), Ordering::SeqCst);
    }

    fn wrong_by(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.wrong_by_ms.load(Ordering::SeqCst))
    }
}

impl Clock for PausedClock {
    fn now(&self) -> DateTime<Utc> {
        self.base + TimeDelta::from_std(self.since.elapsed()).unwrap() + self.wrong_by()
    }
}

/// 09:00 plus minutes.
pub(crate) fn at(minutes: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap() + TimeDelta::minutes(minutes)
}

pub(crate) fn id(text: &str) -> ReservationId {
    ReservationId::parse(text).unwrap()
}

pub(crate) fn host(number: u32) -> HostName {
    HostName::parse(&format!("ws-{number}")).unwrap()
}

/// Lab `n` is served by host `ws-n`; labs from 900 on by none.
pub(crate) struct Numbered;

impl HostMap for Numbered {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        lab.as_str().parse().ok().filter(|number| *number < 900).map(host)
    }
}

pub(crate) type TestEngine = Engine<ShakyStore, Hosts>;

pub(crate) struct Lab {
    pub(crate) store: MemoryStore,
    pub(crate) hosts: Hosts,
    pub(crate) settings: Settings,
    /// The true time, by which hosts do what they do.
    pub(crate) clock: PausedClock,
    /// The clock of the machine that the engines run on.
    pub(crate) wall: PausedClock,
    /// Which host serves which lab.
    pub(crate) map: Arc<dyn HostMap>,
}

impl Lab {
    /// A lab at ten minutes before nine.
    pub(crate) fn new() -> Self {
        let clock = PausedClock::starting_at(at(-10));
        let wall = clock.another();
        let hosts = Hosts::new(clock.clone(), wall.clone());
        Self {
            store: MemoryStore::default(),
            hosts,
            settings: Settings::default(),
            clock,
            wall,
            map: Arc::new(Numbered),
        }
    }

    pub(crate) fn engine(&self, name: &str) -> TestEngine {
        self.engine_on(ShakyStore::new(self.store.clone()), name)
    }

    pub(crate) fn engine_on(&self, store: ShakyStore, name: &str) -> TestEngine {
        self.engine_by(&self.wall, store, name)
    }

    /// An engine on a machine with this clock.
    pub(crate) fn engine_by(&self, wall: &PausedClock, store: ShakyStore, name: &str) -> TestEngine {
        let seed = name.bytes().map(u64::from).sum();
        Engine::new(
            store,
            self.hosts.seen_by(wall),
            Arc::new(wall.clone()),
            self.settings.clone(),
            name,
            Some(seed),
        )
    }

    /// Adds a confirmed reservation of lab `lab` from `from` to `to`, in minutes after nine.
    pub(crate) fn reserve(&self, name: &str, lab: u32, from: i64, to: i64) {
        self.store.put(Reservation {
            id: id(name),
            lab: LabId::new(&lab.to_string()),
            status: ReservationStatus::Confirmed,
            starts_at: at(from),
            ends_at: at(to),
        });
    }

    pub(crate) fn cancel(&self, name: &str) {
        self.store.change(&id(name), |reservation| {
            reservation.status = ReservationStatus::Cancelled
        });
    }

    pub(crate) fn status(&self, name: &str) -> ReservationStatus {
        self.store.find_reservation(&id(name)).unwrap().status
    }

    /// The newest of its kind.
    pub(crate) fn operation(&self, name: &str, kind: OperationKind) -> Option<Operation> {
        let operations = self.store.operations();
        operations
            .into_iter()
            .rfind(|operation| operation.kind == kind && operation.reservation == id(name))
    }

    /// How an operation ended, in one word and the code of its reason: `done`, `needs_attention missed`.
    pub(crate) fn ending(&self, name: &str, kind: OperationKind) -> String {
        match self.operation(name, kind).map(|operation| operation.state) {
            None => "none".to_owned(),
            Some(State::Done {
                note: Some(reason), ..
            }) => format!("done {}", reason.code),
            Some(State::NeedsAttention { reason, .. }) => format!("needs_attention {}", reason.code),
            Some(state) => state.name().to_owned(),
        }
    }

    /// The rows of the history of a reservation: `wake completed`.
    pub(crate) fn history(&self, name: &str) -> Vec<String> {
        let rows = self
            .store
            .history()
            .into_iter()
            .filter(|row| row.reservation == id(name));
        rows.map(|row| format!("{} {}", row.action, row.status)).collect()
    }

    /// Whole minutes after nine, by the lab's wall clock.
    pub(crate) fn wall_minutes(&self) -> i64 {
        (self.wall.now() - at(0)).num_minutes()
    }

    pub(crate) fn clock_seconds(&self) -> i64 {
        self.clock.now().timestamp()
    }

    /// Moves the time on without any engine at work.
    pub(crate) async fn sleep_until(&self, until: DateTime<Utc>) {
        sleep_until(self.instant(until)).await;
    }

    fn instant(&self, at: DateTime<Utc>) -> Instant {
        Instant::now() + (at - self.clock.now()).to_std().unwrap_or_default()
    }

    /// Runs passes until a true time, on a machine with the lab's wall clock.
    pub(crate) async fn run<S: Store, T: Station>(
        &self,
        engine: &Engine<S, T>,
        until: DateTime<Utc>,
    ) -> PassReport {
        self.run_by(&self.wall, engine, until).await
    }

    /// Runs passes as the scheduler does: when something is due, when a flow ended, and every 30 seconds.
    pub(crate) async fn run_by<S: Store, T: Station>(
        &self,
        wall: &PausedClock,
        engine: &Engine<S, T>,
        until: DateTime<Utc>,
    ) -> PassReport {
        self.run_seeing(&*self.map, wall, engine, until).await
    }

    /// The same in a process with a map of its own.
    pub(crate) async fn run_seeing<S: Store, T: Station>(
        &self,
        map: &dyn HostMap,
        wall: &PausedClock,
        engine: &Engine<S, T>,
        until: DateTime<Utc>,
    ) -> PassReport {
        let end = self.instant(until);
        let never = CancellationToken::new();
        for _ in 0..MAX_PASSES {
            let report = engine.pass(map, &never).await;
            let next_at = report.as_ref().ok().and_then(|report| report.next_at);
            let scan = Instant::now() + Duration::from_secs(30);
            // A paused clock does not move while it is not waited for.
            let next = next_at
                .map_or(scan, |at| {
                    let wait = (at - wall.now()).to_std().unwrap_or_default();
                    scan.min(Instant::now() + wait)
                })
                .max(Instant::now() + Duration::from_millis(1));
            tokio::select! {
                biased;
                () = sleep_until(end) => return report.unwrap_or_default(),
                () = engine.changed() => {}
                () = sleep_until(next) => {}
            }
        }
        panic!("no rest after {MAX_PASSES} passes");
    }
}

/// How often each thing occurs.
pub(crate) fn counted<T: Into<String>>(things: impl IntoIterator<Item = T>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for thing in things {
        *counts.entry(thing.into()).or_insert(0) += 1;
    }
    counts
}

//! The lab as it really is: one true time, the hosts, the stored rows, and the log of all that happens.

mod callers;
mod clock;
mod engineers;
mod gateway;
mod process;
mod site;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use lab_model::{HostName, LabId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reservation_engine::testing::MemoryStore;
use reservation_engine::{HostMap, IdlePower, PowerMode, Settings};
use tokio::time::{Instant, sleep_until};

use crate::faults::{FaultKind, Swarm};
use crate::hosts::Host;
use crate::log::{EffectId, Log, What};

pub(crate) use callers::Callers;
pub(crate) use clock::ProcessClock;
pub(crate) use engineers::Engineers;
pub(crate) use gateway::Gateway;
pub(crate) use process::{Blow, Point, Process};
pub(crate) use site::{Site, Sites};

/// The lab that no host serves.
pub(crate) const UNMAPPED_LAB: &str = "99";

/// How a day is laid out.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) seed: u64,
    pub(crate) hosts: u32,
    pub(crate) schedulers: u32,
    pub(crate) apis: u32,
    /// When faults cease, since the day began.
    pub(crate) quiet_at: Duration,
    /// When the day is over and is audited.
    pub(crate) end_at: Duration,
    /// How often schedulers read everything, whatever they wait for.
    pub(crate) scan: Duration,
    pub(crate) swarm: Swarm,
    /// How the engines are configured.
    pub(crate) settings: Settings,
}

impl Layout {
    pub(crate) fn draw(seed: u64, swarm: Option<Swarm>) -> Self {
        let mut rng = stream(seed, "layout");
        let drawn = Swarm::draw(&mut rng).with_engineers(&mut stream(seed, "engineers"));
        let quiet_at = Duration::from_mins(rng.random_range(120..=360));
        let idle_power = rng.random_bool(0.3).then(|| IdlePower {
            after: Duration::from_mins(rng.random_range(3..=15)),
            ..IdlePower::new(PowerMode::Shutdown)
        });
        let wake_rate = rng.random_bool(0.2).then(|| rng.random_range(30..=120));
        let settings = Settings {
            host_pooling: rng.random_bool(0.3),
            idle_power,
            wake_rate_per_minute: wake_rate.and_then(NonZeroU32::new),
            ..Settings::default()
        };
        Self {
            seed,
            hosts: rng.random_range(1..=4),
            schedulers: rng.random_range(1..=3),
            apis: rng.random_range(1..=2),
            quiet_at,
            // Now and then long enough for what is tried for hours to be given up.
            end_at: quiet_at + Duration::from_mins(if rng.random_range(0..10) == 0 { 420 } else { 150 }),
            scan: Duration::from_secs([60, 120, 300][rng.random_range(0..3)]),
            swarm: swarm.unwrap_or(drawn),
            settings,
        }
    }
}

impl Layout {
    /// The hosts with the spare that all labs share, if there is one.
    pub(crate) fn all_hosts(&self) -> u32 {
        self.hosts + u32::from(self.settings.host_pooling)
    }
}

/// A source of random numbers of its own for each part of the day, so that a change in one part leaves the others
/// as they were.
pub(crate) fn stream(seed: u64, name: &str) -> StdRng {
    let mut hasher = DefaultHasher::new();
    (seed, name).hash(&mut hasher);
    StdRng::seed_from_u64(hasher.finish())
}

/// Shared by everything in a day.
#[derive(Debug, Clone)]
pub(crate) struct World {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    began: Instant,
    base: DateTime<Utc>,
    log: Log,
    memory: MemoryStore,
    hosts: Mutex<BTreeMap<HostName, Host>>,
    weather: Mutex<Weather>,
}

/// What the store is like for everybody right now.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) down: bool,
    pub(crate) slow: bool,
}

impl World {
    pub(crate) fn new(layout: Layout, memory: MemoryStore) -> Self {
        let mut hosts = BTreeMap::new();
        for number in 1..=layout.all_hosts() {
            let name = host_name(number);
            hosts.insert(name.clone(), Host::new(stream(layout.seed, name.as_str())));
        }
        let base = Utc
            .with_ymd_and_hms(2026, 3, 2, 6, 0, 0)
            .single()
            .unwrap_or_default();
        Self {
            inner: Arc::new(Inner {
                layout,
                began: Instant::now(),
                base,
                log: Log::default(),
                memory,
                hosts: Mutex::new(hosts),
                weather: Mutex::default(),
            }),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn log(&self) -> &Log {
        &self.inner.log
    }

    pub(crate) fn memory(&self) -> &MemoryStore {
        &self.inner.memory
    }

    /// How long the day lasts already.
    pub(crate) fn elapsed(&self) -> Duration {
        self.inner.began.elapsed()
    }

    /// The true wall clock.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.wall(self.elapsed())
    }

    /// What the true wall clock shows so long after the day began.
    pub(crate) fn wall(&self, at: Duration) -> DateTime<Utc> {
        self.inner.base + TimeDelta::from_std(at).unwrap_or_default()
    }

    pub(crate) async fn sleep_until(&self, at: Duration) {
        sleep_until(self.inner.began + at).await;
    }

    pub(crate) fn note(&self, what: What) {
        self.inner.log.note(self.elapsed(), what);
    }

    pub(crate) fn fault(&self, kind: FaultKind, target: impl Into<String>) {
        self.note(What::Fault {
            kind,
            target: target.into(),
        });
    }

    /// Draws whether a fault hits this occasion; never after faults ceased.
    pub(crate) fn hit(&self, rng: &mut StdRng, kind: FaultKind, each: f64, target: &str) -> bool {
        let chance = self.layout().swarm.chance(kind, each);
        let hit = chance > 0.0 && self.elapsed() < self.layout().quiet_at && rng.random_bool(chance);
        if hit {
            self.fault(kind, target);
        }
        hit
    }

    pub(crate) fn next_effect(&self) -> EffectId {
        self.inner.log.next_effect()
    }

    pub(crate) fn rng(&self, name: &str) -> StdRng {
        stream(self.layout().seed, name)
    }

    pub(crate) fn hosts(&self) -> MutexGuard<'_, BTreeMap<HostName, Host>> {
        self.inner.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn weather(&self) -> Weather {
        *self.weather_mut()
    }

    pub(crate) fn weather_mut(&self) -> MutexGuard<'_, Weather> {
        self.inner.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lab `n` is served by host `ws-n`, and by the spare if there is one.
pub(crate) fn host_name(number: u32) -> HostName {
    HostName::parse(&format!("ws-{number}")).unwrap_or_else(|_| unreachable!("a number makes a valid name"))
}

/// The catalog: which host serves which lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labs {
    pub(crate) hosts: u32,
    /// Whether one more host serves all of them.
    pub(crate) spare: bool,
}

impl HostMap for Labs {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        let number: u32 = lab.as_str().parse().ok()?;
        (1..=self.hosts).contains(&number).then(|| host_name(number))
    }

    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        let spare = self.spare.then(|| host_name(self.hosts + 1));
        self.host_for(lab)
            .map(|host| [host].into_iter().chain(spare).collect())
            .unwrap_or_default()
    }
}

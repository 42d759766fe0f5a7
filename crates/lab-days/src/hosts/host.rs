//! One host: off, booting or up; prepared or not; well or not.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::HostName;
use rand::RngExt;
use rand::rngs::StdRng;
use reservation_engine::Observation;
use tokio::time::sleep;

use crate::faults::FaultKind;
use crate::log::{EffectId, What};
use crate::world::World;

/// Whether a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Power {
    Off,
    Booting,
    Up,
}

/// What a station writes down about what was done to it, in true instants.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stamps {
    pub(crate) booted: Option<Duration>,
    pub(crate) prepared: Option<Duration>,
    pub(crate) released: Option<Duration>,
    pub(crate) power: Option<Duration>,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) power: Power,
    pub(crate) stamps: Stamps,
    pub(crate) hangs_until: Duration,
    pub(crate) refuses_until: Duration,
    pub(crate) local_until: Duration,
    pub(crate) lies_until: Duration,
    /// Something else answers for it until then.
    pub(crate) impostor_until: Duration,
    frozen: Option<Frozen>,
    /// Grows whenever the power changes: what was begun before is void.
    pub(crate) life: u64,
    /// A station does one thing after the other.
    pub(crate) line: Arc<tokio::sync::Mutex<()>>,
    pub(crate) rng: StdRng,
}

/// A heartbeat that is not written any more.
#[derive(Debug, Clone, Copy)]
struct Frozen {
    stamps: Stamps,
    since: Duration,
    until: Duration,
}

impl Host {
    pub(crate) fn new(mut rng: StdRng) -> Self {
        let up = rng.random_bool(0.3);
        Self {
            power: if up { Power::Up } else { Power::Off },
            stamps: Stamps {
                booted: up.then_some(Duration::ZERO),
                ..Stamps::default()
            },
            hangs_until: Duration::ZERO,
            refuses_until: Duration::ZERO,
            local_until: Duration::ZERO,
            lies_until: Duration::ZERO,
            impostor_until: Duration::ZERO,
            frozen: None,
            life: 0,
            line: Arc::default(),
            rng,
        }
    }

    pub(crate) fn freeze_heartbeat(&mut self, since: Duration, until: Duration) {
        self.frozen = Some(Frozen {
            stamps: self.stamps,
            since,
            until,
        });
    }

    pub(crate) fn hangs(&self, now: Duration) -> bool {
        self.hangs_until > now
    }

    /// What somebody who reads the heartbeat now is told, on their clock.
    pub(crate) fn heartbeat(&self, now: Duration, wall: impl Fn(Duration) -> DateTime<Utc>) -> Observation {
        let frozen = self.frozen.filter(|frozen| frozen.until > now);
        let (mut stamps, reported) =
            frozen.map_or((self.stamps, now), |frozen| (frozen.stamps, frozen.since));
        if self.lies_until > now {
            stamps.prepared = None;
            stamps.released = None;
            stamps.power = None;
        }
        Observation {
            // The boot time is asked of the machine, not of the heartbeat.
            booted_at: self.stamps.booted.map(&wall),
            reported_at: Some(wall(reported)),
            ready: Some(true),
            local_mode: Some(self.local_until > now),
            local_session: Some(self.local_until > now),
            prepared_at: stamps.prepared.map(&wall),
            released_at: stamps.released.map(&wall),
            power_action_at: stamps.power.map(&wall),
            ..answering()
        }
    }
}

/// An observation of a host that answers.
pub(crate) fn answering() -> Observation {
    Observation {
        reachable: true,
        ..Observation::default()
    }
}

/// Stamps are whole seconds of true time, as a station writes them.
pub(crate) fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at - TimeDelta::nanoseconds(i64::from(at.timestamp_subsec_nanos()))
}

/// The hosts that are off.
pub(crate) fn off(world: &World) -> Vec<HostName> {
    let hosts = world.hosts();
    let off = hosts.iter().filter(|(_, host)| host.power == Power::Off);
    off.map(|(name, _)| name.clone()).collect()
}

/// Turns a host off, or makes it lose its power.
pub(crate) fn goes_down(world: &World, name: &HostName) {
    let mut hosts = world.hosts();
    let Some(host) = hosts.get_mut(name).filter(|host| host.power != Power::Off) else {
        return;
    };
    host.power = Power::Off;
    host.life += 1;
    drop(hosts);
    world.note(What::Down(name.clone()));
}

/// Lets a host that is off begin to boot; says whether it did.
pub(crate) fn boot(world: &World, name: &HostName, by: Option<EffectId>) -> bool {
    let now = world.elapsed();
    let mut hosts = world.hosts();
    let Some(host) = hosts.get_mut(name).filter(|host| host.power == Power::Off) else {
        return false;
    };
    let rng = &mut host.rng;
    let refuses = world.hit(rng, FaultKind::NoBoot, 0.06, name.as_str());
    let slow = world.hit(rng, FaultKind::SlowBoot, 0.1, name.as_str());
    let impostor = world.hit(rng, FaultKind::Impostor, 0.1, name.as_str());
    let seconds = if slow {
        rng.random_range(90..=260)
    } else {
        rng.random_range(20..=75)
    };
    if refuses {
        return false;
    }
    host.power = Power::Booting;
    host.life += 1;
    let life = host.life;
    if impostor {
        host.impostor_until = now + Duration::from_secs(seconds / 2);
    }
    drop(hosts);
    let (world, name) = (world.clone(), name.clone());
    tokio::spawn(async move {
        sleep(Duration::from_secs(seconds)).await;
        comes_up(&world, &name, life, by);
    });
    true
}

fn comes_up(world: &World, name: &HostName, life: u64, by: Option<EffectId>) {
    let now = world.elapsed();
    {
        let mut hosts = world.hosts();
        let Some(host) = hosts.get_mut(name).filter(|host| host.life == life) else {
            return;
        };
        host.power = Power::Up;
        host.stamps.booted = Some(now);
    }
    world.note(What::Up(name.clone()));
    if let Some(effect) = by {
        world.note(What::Took {
            host: name.clone(),
            effect,
            step: reservation_engine::Step::Wake,
        });
    }
}

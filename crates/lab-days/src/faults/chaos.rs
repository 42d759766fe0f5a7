//! The faults that come at an instant of their own and last for a while.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::FaultKind;
use crate::world::{Blow, Point, Site, Sites, World, host_name};

/// How long a pause lasts at least: three leases.
const SHORTEST_PAUSE: u64 = 45;

/// One planned fault.
#[derive(Debug, Clone)]
pub(crate) struct Scheduled {
    at: Duration,
    length: Duration,
    kind: FaultKind,
    /// Which process or host, counted round.
    target: usize,
    /// Hits a process at a point of its work rather than at the instant.
    point: Option<Point>,
    /// How far a clock jumps, in seconds.
    jump: i64,
}

/// All planned faults of a day.
#[derive(Debug)]
pub(crate) struct Chaos {
    world: World,
    plan: Vec<Scheduled>,
}

/// Kinds that are planned, with how many there are for each degree of intensity and how long they last, in seconds.
const PLANNED: [(FaultKind, u32, u64, u64); 15] = [
    (FaultKind::Crash, 4, 1, 1),
    (FaultKind::Pause, 3, SHORTEST_PAUSE, 200),
    (FaultKind::StandingClock, 2, SHORTEST_PAUSE, 200),
    (FaultKind::Restart, 2, 1, 1),
    (FaultKind::StorePartition, 3, 5, 120),
    (FaultKind::HostPartition, 3, 5, 300),
    (FaultKind::StoreDown, 3, 2, 240),
    (FaultKind::StoreSlow, 3, 30, 600),
    (FaultKind::ClockJump, 2, 60, 3_000),
    (FaultKind::HostHangs, 3, 20, 900),
    (FaultKind::HostRefuses, 2, 20, 900),
    (FaultKind::HostCrash, 2, 1, 1),
    (FaultKind::StaleHeartbeat, 3, 30, 1_200),
    (FaultKind::LyingHeartbeat, 2, 30, 1_200),
    (FaultKind::LocalMode, 2, 60, 2_400),
];

impl Chaos {
    pub(crate) fn draw(world: &World) -> Self {
        let mut rng = world.rng("chaos");
        let mut plan = Vec::new();
        let last = world.layout().quiet_at.as_secs();
        for (kind, each, shortest, longest) in PLANNED {
            for _ in 0..world.layout().swarm.intensity(kind) * each {
                plan.push(Scheduled {
                    at: Duration::from_secs(rng.random_range(30..last)),
                    length: Duration::from_secs(rng.random_range(shortest..=longest)),
                    kind,
                    target: rng.random_range(0..64),
                    point: draw_point(&mut rng),
                    jump: rng.random_range(-300..=300),
                });
            }
        }
        plan.sort_by_key(|scheduled| scheduled.at);
        Self {
            world: world.clone(),
            plan,
        }
    }

    /// Plants them all, and lets them cease when the quiet begins.
    pub(crate) async fn run(&self, sites: &Sites) {
        for scheduled in &self.plan {
            self.world.sleep_until(scheduled.at).await;
            self.plant(sites, scheduled);
        }
        self.world.sleep_until(self.world.layout().quiet_at).await;
        self.cease(sites);
    }

    fn plant(&self, sites: &Sites, fault: &Scheduled) {
        use FaultKind as Kind;
        match fault.kind {
            Kind::StoreDown | Kind::StoreSlow => self.weather(fault),
            Kind::HostHangs
            | Kind::HostRefuses
            | Kind::HostCrash
            | Kind::StaleHeartbeat
            | Kind::LyingHeartbeat
            | Kind::LocalMode => self.on_host(fault),
            _ => {
                let all = sites.all();
                if let Some(site) = all.get(fault.target % all.len().max(1)) {
                    self.on_process(site, fault);
                }
            }
        }
    }

    fn on_process(&self, site: &std::sync::Arc<Site>, fault: &Scheduled) {
        let Some(process) = site.process() else { return };
        self.world.fault(fault.kind, site.name.clone());
        match fault.kind {
            FaultKind::Crash => match fault.point {
                Some(point) => process.set_trap(point, Blow::Crash),
                None => process.kill(),
            },
            FaultKind::Pause => match fault.point {
                Some(point) => process.set_trap(point, Blow::Pause(fault.length)),
                None => process.pause(fault.length),
            },
            FaultKind::StandingClock => {
                let point = fault.point.map_or(Point::AfterIntent, |point| {
                    // As often as not where it hurts most.
                    if fault.jump > 0 { Point::AfterIntent } else { point }
                });
                process.set_trap(point, Blow::Suspend(fault.length));
            }
            FaultKind::Restart => site.restart(),
            FaultKind::StorePartition | FaultKind::HostPartition => {
                let cut = if fault.kind == FaultKind::StorePartition {
                    &process.no_store
                } else {
                    &process.no_hosts
                };
                cut.store(true, Ordering::SeqCst);
                let (length, kind, process) = (fault.length, fault.kind, process.clone());
                tokio::spawn(async move {
                    sleep(length).await;
                    let cut = if kind == FaultKind::StorePartition {
                        &process.no_store
                    } else {
                        &process.no_hosts
                    };
                    cut.store(false, Ordering::SeqCst);
                });
            }
            FaultKind::ClockJump => {
                let (clock, length) = (site.clock.clone(), fault.length);
                clock.set_offset(TimeDelta::seconds(fault.jump));
                tokio::spawn(async move {
                    sleep(length).await;
                    clock.set_offset(TimeDelta::zero());
                });
            }
            _ => {}
        }
    }

    fn weather(&self, fault: &Scheduled) {
        self.world.fault(fault.kind, "store");
        let (world, kind, length) = (self.world.clone(), fault.kind, fault.length);
        set_weather(&world, kind, true);
        tokio::spawn(async move {
            sleep(length).await;
            set_weather(&world, kind, false);
        });
    }

    fn on_host(&self, fault: &Scheduled) {
        let number = u32::try_from(fault.target).unwrap_or(0) % self.world.layout().all_hosts() + 1;
        let name = host_name(number);
        self.world.fault(fault.kind, name.as_str());
        let now = self.world.elapsed();
        let until = (now + fault.length).min(self.world.layout().quiet_at);
        if fault.kind == FaultKind::HostCrash {
            crate::hosts::goes_down(&self.world, &name);
            return;
        }
        if let Some(host) = self.world.hosts().get_mut(&name) {
            match fault.kind {
                FaultKind::HostHangs => host.hangs_until = until,
                FaultKind::HostRefuses => host.refuses_until = until,
                FaultKind::StaleHeartbeat => host.freeze_heartbeat(now, until),
                FaultKind::LyingHeartbeat => host.lies_until = until,
                _ => host.local_until = until,
            }
        }
    }

    /// Everything works again from here on.
    fn cease(&self, sites: &Sites) {
        for site in sites.all() {
            site.clock.set_offset(TimeDelta::zero());
            if let Some(process) = site.process() {
                process.heal();
            }
        }
        *self.world.weather_mut() = crate::world::Weather::default();
    }
}

fn draw_point(rng: &mut StdRng) -> Option<Point> {
    // Two thirds come at a moment that matters; the rest at any.
    let index = rng.random_range(0..Point::ALL.len() + 2);
    Point::ALL.get(index).copied()
}

fn set_weather(world: &World, kind: FaultKind, on: bool) {
    let mut weather = world.weather_mut();
    match kind {
        FaultKind::StoreDown => weather.down = on,
        _ => weather.slow = on,
    }
}

//! Hosts that do as scripted and keep a log of every effect.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{Clock, HostName};
use reservation_engine::{
    Observation, Reason, Station, Step, StepAction, StepOrder, StepOutcome, StepReport,
};
use serde_json::json;
use tokio::time::sleep;

use super::PausedClock;

/// How one step goes. Without a script, every step succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    Done,
    Warnings,
    /// No effect, with this code as the reason.
    Fail(&'static str),
    /// The effect happens, and the answer is lost.
    LostAfter,
    /// No effect, and no answer.
    LostBefore,
    /// As `LostAfter`, and then the host does not answer questions for this many seconds.
    LostAndGone(u64),
    /// No effect and never an answer, not even by the deadline.
    Hang,
    /// The host boots, which takes this many seconds.
    ColdBoot(u64),
    /// The host takes the order and stays up.
    StaysUp,
}

/// One effect on a host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Effect {
    pub(crate) host: HostName,
    /// `wake`, `prepare`, `release --reboot`.
    pub(crate) what: String,
    pub(crate) at: DateTime<Utc>,
}

#[derive(Debug, Default)]
struct Host {
    scripts: HashMap<Step, VecDeque<Script>>,
    seen: Observation,
    gone_until: Option<DateTime<Utc>>,
    mute_until: Option<DateTime<Utc>>,
    off: bool,
    busy: bool,
}

#[derive(Debug, Default)]
struct World {
    hosts: HashMap<HostName, Host>,
    effects: Vec<Effect>,
    at_once: usize,
    most_at_once: usize,
    looks: usize,
    overlap_allowed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    world: Arc<Mutex<World>>,
    /// By which hosts do what they do.
    clock: PausedClock,
    /// By which whoever looks at them understands their stamps.
    wall: PausedClock,
}

impl Hosts {
    pub(crate) fn new(clock: PausedClock, wall: PausedClock) -> Self {
        Self {
            world: Arc::default(),
            clock,
            wall,
        }
    }

    /// The same hosts, looked at from a machine with another clock.
    pub(crate) fn seen_by(&self, wall: &PausedClock) -> Self {
        Self {
            wall: wall.clone(),
            ..self.clone()
        }
    }

    /// Stamps as the station control gives them: translated to the clock of whoever looks.
    fn translated(&self, seen: &Observation) -> Observation {
        let by = self.wall.now() - self.clock.now();
        let shifted = |at: Option<DateTime<Utc>>| at.map(|at| at + by);
        Observation {
            booted_at: shifted(seen.booted_at),
            reported_at: shifted(seen.reported_at),
            prepared_at: shifted(seen.prepared_at),
            released_at: shifted(seen.released_at),
            logged_off_at: shifted(seen.logged_off_at),
            power_action_at: shifted(seen.power_action_at),
            ..seen.clone()
        }
    }

    /// Says how the next tries of a step go on a host; after them it succeeds.
    pub(crate) fn script(&self, host: &HostName, step: Step, scripts: &[Script]) {
        let mut world = self.world();
        world
            .hosts
            .entry(host.clone())
            .or_default()
            .scripts
            .entry(step)
            .or_default()
            .extend(scripts);
    }

    pub(crate) fn set_local_mode(&self, host: &HostName, on: bool) {
        self.world()
            .hosts
            .entry(host.clone())
            .or_default()
            .seen
            .local_mode = Some(on);
    }

    /// The host answers no question until an instant, without being off.
    pub(crate) fn set_mute(&self, host: &HostName, until: DateTime<Utc>) {
        self.world().hosts.entry(host.clone()).or_default().mute_until = Some(until);
    }

    pub(crate) fn set_local_session(&self, host: &HostName, on: bool) {
        self.world()
            .hosts
            .entry(host.clone())
            .or_default()
            .seen
            .local_session = Some(on);
    }

    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.world().effects.clone()
    }

    /// The effects on one host, in order.
    pub(crate) fn done_to(&self, host: &HostName) -> Vec<String> {
        self.effects()
            .into_iter()
            .filter(|effect| effect.host == *host)
            .map(|effect| effect.what)
            .collect()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.world().most_at_once
    }

    pub(crate) fn at_once(&self) -> usize {
        self.world().at_once
    }

    /// The host has booted just now, whoever made it.
    pub(crate) fn boot(&self, host: &HostName) {
        let now = self.clock.now();
        self.world().hosts.entry(host.clone()).or_default().seen.booted_at = Some(now);
    }

    /// For tests of a flow that does not know yet that it lost its claim.
    pub(crate) fn allow_overlap(&self) {
        self.world().overlap_allowed = true;
    }

    pub(crate) fn looks(&self) -> usize {
        self.world().looks
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn next_script(&self, order: &StepOrder) -> Script {
        let mut world = self.world();
        let host = world.hosts.entry(order.host.clone()).or_default();
        let scripts = host.scripts.entry(order.action.step()).or_default();
        scripts.pop_front().unwrap_or(Script::Done)
    }

    fn take_effect(&self, order: &StepOrder) {
        let now = self.clock.now();
        let mut world = self.world();
        world.effects.push(Effect {
            host: order.host.clone(),
            what: shown(&order.action),
            at: now,
        });
        let host = world.hosts.entry(order.host.clone()).or_default();
        host.seen.reachable = true;
        match &order.action {
            StepAction::Wake(_) => host.seen.booted_at = host.seen.booted_at.or(Some(now)),
            StepAction::Prepare { .. } => host.seen.prepared_at = Some(now),
            StepAction::Release { .. } => host.seen.released_at = Some(now),
            StepAction::Power { .. } => host.seen.power_action_at = Some(now),
        }
    }

    /// A host that went down answers nobody; a wake boots it.
    fn go_down_or_up(&self, order: &StepOrder, script: Script) {
        let now = self.clock.now();
        let mut world = self.world();
        let host = world.hosts.entry(order.host.clone()).or_default();
        match order.action {
            StepAction::Power { .. } if script != Script::StaysUp => host.off = true,
            StepAction::Wake(_) if std::mem::take(&mut host.off) => host.seen.booted_at = Some(now),
            _ => {}
        }
    }

    fn begin(&self, host: &HostName) -> Busy {
        let mut world = self.world();
        world.at_once += 1;
        world.most_at_once = world.most_at_once.max(world.at_once);
        let allowed = world.overlap_allowed;
        let entry = world.hosts.entry(host.clone()).or_default();
        assert!(
            !std::mem::replace(&mut entry.busy, true) || allowed,
            "two steps at once on {host}"
        );
        Busy {
            hosts: self.clone(),
            host: host.clone(),
        }
    }
}

/// Ends with the step, also when its future is dropped.
struct Busy {
    hosts: Hosts,
    host: HostName,
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut world = self.hosts.world();
        world.at_once -= 1;
        world.hosts.get_mut(&self.host).unwrap().busy = false;
    }
}

fn shown(action: &StepAction) -> String {
    let args = match action {
        StepAction::Release { args } | StepAction::Power { args, .. } => args.join(" "),
        _ => String::new(),
    };
    format!("{} {args}", action.history_name()).trim().to_owned()
}

impl Station for Hosts {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let busy = self.begin(&order.host);
        let script = self.next_script(&order);
        let duration = Duration::from_secs(match (script, order.action.step()) {
            (Script::ColdBoot(seconds), _) => seconds,
            (_, Step::Wake) => 20,
            _ => 3,
        });
        if script == Script::Hang {
            std::future::pending::<()>().await;
        }
        sleep(duration).await;
        let lost = || StepOutcome::Unknown(Reason::new("answer_lost", "the connection broke"));
        let outcome = match script {
            Script::Done | Script::Hang | Script::ColdBoot(_) => StepOutcome::Done,
            Script::Warnings => StepOutcome::DoneWithWarnings,
            Script::Fail(code) => StepOutcome::Failed(Reason::new(code, "as scripted").at_rung("tcp_port")),
            Script::LostAfter | Script::LostBefore | Script::LostAndGone(_) | Script::StaysUp => lost(),
        };
        if !matches!(script, Script::Fail(_) | Script::LostBefore) {
            self.take_effect(&order);
            self.go_down_or_up(&order, script);
        }
        if let Script::LostAndGone(seconds) = script {
            let until = self.clock.now() + chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap());
            self.world().hosts.get_mut(&order.host).unwrap().gone_until = Some(until);
        }
        if let Script::ColdBoot(_) = script {
            let booted_at = self.clock.now() - chrono::TimeDelta::seconds(1);
            self.world().hosts.get_mut(&order.host).unwrap().seen.booted_at = Some(booted_at);
        }
        drop(busy);
        let success = matches!(outcome, StepOutcome::Done | StepOutcome::DoneWithWarnings);
        let observed = self
            .world()
            .hosts
            .get(&order.host)
            .map(|host| self.translated(&host.seen));
        StepReport {
            message: format!("Exit code {}", i32::from(!success)),
            response_code: Some(i32::from(!success)),
            details: json!({"exitCode": i32::from(!success)}),
            outcome,
            duration,
            observed: observed.filter(|_| success),
        }
    }

    async fn observe(&self, host: &HostName, _: Duration) -> Observation {
        sleep(Duration::from_secs(1)).await;
        let now = self.clock.now();
        let mut world = self.world();
        world.looks += 1;
        let Some(host) = world.hosts.get(host) else {
            return Observation::default();
        };
        if host.mute_until.is_some_and(|until| until > now) {
            return Observation::default();
        }
        if host.off || host.gone_until.is_some_and(|until| until > now) {
            return Observation {
                off: true,
                ..Observation::default()
            };
        }
        // It looks now, as `status-json` does.
        self.translated(&Observation {
            reported_at: Some(now),
            ..host.seen.clone()
        })
    }
}

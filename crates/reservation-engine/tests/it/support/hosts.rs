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
    clock: PausedClock,
}

impl Hosts {
    pub(crate) fn new(clock: PausedClock) -> Self {
        Self {
            world: Arc::default(),
            clock,
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
        StepAction::Release { args } => args.join(" "),
        _ => String::new(),
    };
    format!("{} {args}", action.history_name()).trim().to_owned()
}

impl Station for Hosts {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let busy = self.begin(&order.host);
        let script = self.next_script(&order);
        let duration = Duration::from_secs(if order.action.step() == Step::Wake { 20 } else { 3 });
        if script == Script::Hang {
            std::future::pending::<()>().await;
        }
        sleep(duration).await;
        let lost = || StepOutcome::Unknown(Reason::new("answer_lost", "the connection broke"));
        let outcome = match script {
            Script::Done | Script::Hang => StepOutcome::Done,
            Script::Warnings => StepOutcome::DoneWithWarnings,
            Script::Fail(code) => StepOutcome::Failed(Reason::new(code, "as scripted").at_rung("tcp_port")),
            Script::LostAfter | Script::LostBefore | Script::LostAndGone(_) => lost(),
        };
        if !matches!(script, Script::Fail(_) | Script::LostBefore) {
            self.take_effect(&order);
        }
        if let Script::LostAndGone(seconds) = script {
            let until = self.clock.now() + chrono::TimeDelta::seconds(i64::try_from(seconds).unwrap());
            self.world().hosts.get_mut(&order.host).unwrap().gone_until = Some(until);
        }
        drop(busy);
        let success = matches!(outcome, StepOutcome::Done | StepOutcome::DoneWithWarnings);
        let observed = self.world().hosts.get(&order.host).map(|host| host.seen.clone());
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
        if host.gone_until.is_some_and(|until| until > now) {
            return Observation::default();
        }
        // It looks now, as `status-json` does.
        Observation {
            reported_at: Some(now),
            ..host.seen.clone()
        }
    }
}

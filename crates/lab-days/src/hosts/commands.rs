//! What a command does on a host once the host has it. Nobody can call it back: it goes on when its sender is dead.

use std::time::Duration;

use lab_model::HostName;
use rand::RngExt;
use reservation_engine::{Step, StepAction};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::host::{Power, boot, goes_down};
use crate::faults::FaultKind;
use crate::log::{EffectId, What};
use crate::world::World;

/// How long a host that restarts is down before it begins to boot.
const DOWN_FOR: Duration = Duration::from_secs(8);

/// How a command ended on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Done,
    Warnings,
    ExitCode(i32),
}

/// Sends a command to the host, which gets it after it has travelled; the answer comes over the channel, or never.
pub(crate) fn execute(
    world: &World,
    name: &HostName,
    action: &StepAction,
    effect: EffectId,
    travels: Duration,
) -> oneshot::Receiver<Ended> {
    let (tell, told) = oneshot::channel();
    let (world, name, action) = (world.clone(), name.clone(), action.clone());
    tokio::spawn(async move {
        sleep(travels).await;
        if let Some(ended) = carry_out(&world, &name, &action, effect).await {
            // Nobody may be listening any more.
            let _ = tell.send(ended);
        }
    });
    told
}

/// `None` when the host went down meanwhile.
async fn carry_out(world: &World, name: &HostName, action: &StepAction, effect: EffectId) -> Option<Ended> {
    let step = action.step();
    let (line, life) = world
        .hosts()
        .get(name)
        .map(|host| (host.line.clone(), host.life))?;
    if !is_same_life(world, name, life) {
        return None;
    }
    let _turn = line.lock().await;
    let (takes, ended) = draw(world, name, step)?;
    sleep(takes).await;
    if !is_same_life(world, name, life) {
        return None;
    }
    if let Ended::ExitCode(_) = ended {
        return Some(ended);
    }
    take_effect(world, name, action);
    world.note(What::Took {
        host: name.clone(),
        effect,
        step,
    });
    if step == Step::Power || reboots(action) {
        let (world, name) = (world.clone(), name.clone());
        let stays_down = step == Step::Power;
        // The answer leaves before the host does, mostly.
        tokio::spawn(async move {
            sleep(Duration::from_secs(2)).await;
            if !is_same_life(&world, &name, life) {
                return;
            }
            goes_down(&world, &name);
            if !stays_down {
                sleep(DOWN_FOR).await;
                boot(&world, &name, None);
            }
        });
    }
    Some(ended)
}

fn reboots(action: &StepAction) -> bool {
    matches!(action, StepAction::Release { args } if args.iter().any(|arg| arg == "--reboot"))
}

fn is_same_life(world: &World, name: &HostName, life: u64) -> bool {
    world
        .hosts()
        .get(name)
        .is_some_and(|host| host.life == life && host.power == Power::Up)
}

fn draw(world: &World, name: &HostName, step: Step) -> Option<(Duration, Ended)> {
    let mut hosts = world.hosts();
    let host = hosts.get_mut(name)?;
    let rng = &mut host.rng;
    let seconds = match step {
        Step::Prepare if world.hit(rng, FaultKind::SlowPrepare, 0.1, name.as_str()) => {
            rng.random_range(60..=170)
        }
        Step::Prepare => rng.random_range(2..=10),
        Step::Release => rng.random_range(2..=15),
        _ => rng.random_range(1..=3),
    };
    let ended = if world.hit(rng, FaultKind::StepFails, 0.06, name.as_str()) {
        Ended::ExitCode(rng.random_range(2..=5))
    } else if rng.random_range(0..10) == 0 {
        Ended::Warnings
    } else {
        Ended::Done
    };
    Some((Duration::from_secs(seconds), ended))
}

fn take_effect(world: &World, name: &HostName, action: &StepAction) {
    let now = world.elapsed();
    let mut hosts = world.hosts();
    let Some(host) = hosts.get_mut(name) else { return };
    match action.step() {
        Step::Prepare => host.stamps.prepared = Some(now),
        Step::Release => host.stamps.released = Some(now),
        Step::Power => host.stamps.power = Some(now),
        Step::Wake | Step::Activate | Step::Complete => {}
    }
}

//! What happens on the hosts by itself: people come and go, and now and then the session guard sends one off.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use host_sim::Farm;
use tokio::time::{Instant, sleep_until};

/// Who comes and goes.
const VISITOR: &str = "visitor";
/// Who is sent off.
const GUEST: &str = "guest";
/// Changes kept until somebody takes them.
const LIMIT: usize = 4_000_000;

/// When which host changed: its number, and microseconds since the farm started.
#[derive(Debug, Default)]
pub(crate) struct Changes(Mutex<Vec<(usize, u64)>>);

impl Changes {
    pub(crate) fn take(&self) -> Vec<(usize, u64)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, host: usize, at: Duration) {
        let mut changes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() < LIMIT {
            changes.push((host, u64::try_from(at.as_micros()).unwrap_or(u64::MAX)));
        }
    }
}

/// Somebody logs on or off at one host after the other, each host once in `every`.
pub(crate) async fn change(farm: Arc<Farm>, every: Duration, changes: Arc<Changes>) {
    in_turn(&farm, every, |number| {
        let host = &farm.hosts()[number];
        if host.users().is_empty() {
            host.log_on(VISITOR);
        } else {
            host.log_off(VISITOR);
        }
        host.write_heartbeat();
        changes.add(number, farm.running_for());
    })
    .await;
}

/// The session guard writes a line at one host after the other, each host once in `every`.
pub(crate) async fn send_off(farm: Arc<Farm>, every: Duration) {
    in_turn(&farm, every, |number| {
        let host = &farm.hosts()[number];
        host.log_on(GUEST);
        host.send_off(GUEST);
    })
    .await;
}

/// Calls `act` for every host in turn, evenly spread over `every`, without end.
async fn in_turn(farm: &Farm, every: Duration, mut act: impl FnMut(usize)) {
    let (start, hosts) = (Instant::now(), farm.hosts().len());
    for turn in 1_u64.. {
        // By the turn's number, not from the last one: pauses that come out long do not add up.
        sleep_until(start + every.mul_f64(turn as f64 / hosts as f64)).await;
        act(usize::try_from(turn % hosts as u64).unwrap_or(0));
    }
}

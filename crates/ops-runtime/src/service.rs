//! What the service manager hears: ready, reloading, stopping, and that the main loops still move. Spoken as systemd's
//! `sd_notify`; without `NOTIFY_SOCKET` in the environment nothing is said.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use worker_registry::Progress;

use crate::site::SiteHandle;

/// Signs of life in one watchdog interval: one that is late or lost does no harm.
const SIGNS: u32 = 3;
/// Loops that wait say so each second; a busy machine may be late with it.
const SHORTEST_STILL: Duration = Duration::from_secs(5);

/// Says that the service does its work, and from then on that it lives, as long as every loop of `loops` moves. The
/// database need not be there yet: an outage is waited for, by the service and so by its manager.
///
/// Says nothing more of the database once `stop` is cancelled. Must be called within a tokio runtime.
pub fn tell_service_manager(handle: &SiteHandle, loops: Vec<Progress>, stop: &CancellationToken) {
    tell(&[
        NotifyState::Ready,
        NotifyState::Status("waiting for the database"),
    ]);
    let (site, stopping) = (handle.clone(), stop.clone());
    tokio::spawn(async move {
        if let Some(Some(_)) = stopping.run_until_cancelled(site.opened()).await {
            tell(&[NotifyState::Status("working")]);
        }
    });
    if let Some(interval) = sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) {
        tokio::spawn(keep_alive(interval, loops, || tell(&[NotifyState::Watchdog])));
    }
}

/// Says that the service finishes what is under way, and will then end.
pub fn tell_stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("finishing what is under way"),
    ]);
}

/// Says that the configuration is being read again, until the value is dropped.
#[derive(Debug)]
#[must_use = "the manager waits until this is dropped"]
pub struct Reloading(());

impl Reloading {
    /// Says that it begins.
    pub fn begin() -> Self {
        // From systemd 253 on a reload without the time at which it began counts as failed.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
        Self(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        tell(&[NotifyState::Ready]);
    }
}

/// Calls `sign` several times in each `interval`, but not while a loop stands still for half of it.
async fn keep_alive(interval: Duration, loops: Vec<Progress>, mut sign: impl FnMut()) {
    let still = (interval / 2).max(SHORTEST_STILL);
    let mut ticks = tokio::time::interval((interval / SIGNS).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stuck = false;
    loop {
        ticks.tick().await;
        let slowest = loops
            .iter()
            .filter_map(Progress::slowest)
            .max_by_key(|(_, age)| *age);
        match slowest.filter(|(_, age)| *age > still) {
            None => {
                stuck = false;
                sign();
            }
            Some((name, age)) if !stuck => {
                stuck = true;
                let secs = age.as_secs();
                tracing::error!(
                    "the loop {name:?} has not moved for {secs} s: the watchdog is left to its own devices"
                );
            }
            Some(_) => {}
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_end_when_one_loop_stands_still_and_go_on_when_it_moves() {
        let (first, second) = (Progress::default(), Progress::default());
        let moves = first.pulse("moves");
        let sticks = second.pulse("sticks");
        let signs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&signs);
        let interval = Duration::from_secs(60);
        let keeper = tokio::spawn(keep_alive(interval, vec![first, second], move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let minutes = async |minutes: u32, stuck: bool| {
            for _ in 0..minutes * 60 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                moves.beat();
                if !stuck {
                    sticks.beat();
                }
            }
            signs.swap(0, Ordering::Relaxed)
        };
        assert!((8..=10).contains(&minutes(3, false).await));
        // Stuck for longer than half the interval: the signs of the first half are all.
        assert!((1..=2).contains(&minutes(3, true).await));
        assert!((8..=10).contains(&minutes(3, false).await));
        drop(sticks);
        assert!(
            (8..=10).contains(&{
                for _ in 0..180 {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    moves.beat();
                }
                signs.swap(0, Ordering::Relaxed)
            }),
            "a loop that ended holds nobody up"
        );
        keeper.abort();
    }
}

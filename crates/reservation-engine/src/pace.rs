//! How many wakes a minute: sites whose power or network cannot take a whole class at once.
//!
//! Whoever waits is admitted in the order of deadlines, not of arrival. The rate is kept exactly: in no window of a
//! minute are there more admissions than configured, however they fall.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

const MINUTE: Duration = Duration::from_mins(1);

/// Admits wakes one after the other at a rate that all schedulers share.
#[derive(Debug)]
pub(crate) struct Pacer {
    per_minute: Option<NonZeroU32>,
    peers: AtomicU32,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Key, Arc<Notify>>,
    arrivals: u64,
    /// The last admissions, as many as may follow each other at once.
    admitted: VecDeque<Instant>,
}

/// The deadline, then the order of arrival.
type Key = (DateTime<Utc>, u64);

/// At most `burst` in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    burst: usize,
    window: Duration,
}

impl Rate {
    /// One scheduler's share. The burst is one second's worth, and windows are so long that a minute's worth of them
    /// never holds more than a minute's share. With more schedulers than wakes a minute, each has its own long turn.
    fn share(per_minute: NonZeroU32, peers: u32) -> Self {
        let peers = peers.max(1);
        match per_minute.get() / peers {
            0 => Self {
                burst: 1,
                window: MINUTE * peers / per_minute.get(),
            },
            share => {
                let burst = (share / 60).max(1);
                Self {
                    burst: burst as usize,
                    // Rounded up, so that as many windows as there may be never fit into less than a minute.
                    window: MINUTE / (share / burst) + Duration::from_nanos(1),
                }
            }
        }
    }
}

impl Pacer {
    pub(crate) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self {
            per_minute,
            peers: AtomicU32::new(1),
            queue: Mutex::default(),
        }
    }

    /// Says how many schedulers share the rate, this one included.
    pub(crate) fn set_peers(&self, peers: u32) {
        self.peers.store(peers, Ordering::Relaxed);
        self.lock().wake_first();
    }

    /// Takes a place in the queue for a wake that should be over by `deadline`; `None` when nobody ever waits.
    /// Whoever is behind it waits until it is left.
    pub(crate) fn place(self: &Arc<Self>, deadline: DateTime<Utc>) -> Option<Place> {
        let per_minute = self.per_minute?;
        let mut queue = self.lock();
        queue.arrivals += 1;
        let key = (deadline, queue.arrivals);
        let call = Arc::new(Notify::new());
        queue.waiting.insert(key, Arc::clone(&call));
        Some(Place {
            pacer: Arc::clone(self),
            per_minute,
            key,
            call,
        })
    }

    fn rate(&self, per_minute: NonZeroU32) -> Rate {
        Rate::share(per_minute, self.peers.load(Ordering::Relaxed))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn wake_first(&self) {
        if let Some((_, call)) = self.waiting.first_key_value() {
            call.notify_one();
        }
    }

    /// When the next one may go.
    fn next_at(&self, rate: Rate) -> Option<Instant> {
        let oldest = self.admitted.len().checked_sub(rate.burst)?;
        self.admitted.get(oldest).map(|at| *at + rate.window)
    }
}

enum Turn {
    Now(Ticket),
    At(Instant),
    Queued,
}

/// A place in the queue; left when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pacer: Arc<Pacer>,
    per_minute: NonZeroU32,
    key: Key,
    call: Arc<Notify>,
}

impl Place {
    pub(crate) fn deadline(&self) -> DateTime<Utc> {
        self.key.0
    }

    /// The turn, if it has come already.
    pub(crate) fn try_turn(&self) -> Option<Ticket> {
        match self.try_now() {
            Turn::Now(ticket) => Some(ticket),
            Turn::At(_) | Turn::Queued => None,
        }
    }

    /// Waits for the turn. `waits` is called once if there is a wait.
    ///
    /// A dropped future leaves the queue; a dropped ticket that was not used gives its turn back.
    pub(crate) async fn turn(self, waits: impl FnOnce(NonZeroU32)) -> Ticket {
        let mut waits = Some(waits);
        loop {
            let until = match self.try_now() {
                Turn::Now(ticket) => return ticket,
                Turn::At(at) => Some(at),
                Turn::Queued => None,
            };
            if let Some(waits) = waits.take() {
                waits(self.per_minute);
            }
            tokio::select! {
                () = self.call.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    fn try_now(&self) -> Turn {
        let rate = self.pacer.rate(self.per_minute);
        let mut queue = self.pacer.lock();
        if queue.waiting.first_key_value().map(|(key, _)| *key) != Some(self.key) {
            return Turn::Queued;
        }
        let now = Instant::now();
        match queue.next_at(rate) {
            Some(at) if at > now => Turn::At(at),
            _ => {
                queue.admitted.push_back(now);
                let surplus = queue.admitted.len().saturating_sub(rate.burst);
                queue.admitted.drain(..surplus);
                Turn::Now(Ticket {
                    pacer: Arc::clone(&self.pacer),
                    of: Some(now),
                })
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queue = self.pacer.lock();
        queue.waiting.remove(&self.key);
        queue.wake_first();
    }
}

/// The right to wake one host now. Gives the turn back unless it is used.
#[derive(Debug)]
pub(crate) struct Ticket {
    pacer: Arc<Pacer>,
    of: Option<Instant>,
}

impl Ticket {
    pub(crate) fn used(mut self) {
        self.of = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(at) = self.of.take() else { return };
        let mut queue = self.pacer.lock();
        if let Some(index) = queue.admitted.iter().rposition(|admitted| *admitted == at) {
            queue.admitted.remove(index);
        }
        queue.wake_first();
    }
}

#[cfg(test)]
mod tests;

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

    /// Waits for the turn of a wake that should be over by `deadline`. `waits` is called once if there is a wait.
    ///
    /// A dropped future leaves the queue; a dropped ticket that was not used gives its turn back.
    pub(crate) async fn turn(&self, deadline: DateTime<Utc>, waits: impl FnOnce(NonZeroU32)) -> Ticket<'_> {
        let Some(per_minute) = self.per_minute else {
            return Ticket {
                pacer: self,
                of: None,
            };
        };
        let place = Place::take(self, deadline);
        let mut waits = Some(waits);
        loop {
            let until = match place.try_now(self.rate(per_minute)) {
                Turn::Now(at) => {
                    return Ticket {
                        pacer: self,
                        of: Some(at),
                    };
                }
                Turn::At(at) => Some(at),
                Turn::Queued => None,
            };
            if let Some(waits) = waits.take() {
                waits(per_minute);
            }
            tokio::select! {
                () = place.call.notified() => {}
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
            }
        }
    }

    /// The turn of a wake that should be over by `deadline`, if it has come already.
    pub(crate) fn try_turn(&self, deadline: DateTime<Utc>) -> Option<Ticket<'_>> {
        let of = match self.per_minute {
            None => None,
            Some(per_minute) => match Place::take(self, deadline).try_now(self.rate(per_minute)) {
                Turn::Now(at) => Some(at),
                Turn::At(_) | Turn::Queued => return None,
            },
        };
        Some(Ticket { pacer: self, of })
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
    Now(Instant),
    At(Instant),
    Queued,
}

/// A place in the queue; left when dropped.
struct Place<'a> {
    pacer: &'a Pacer,
    key: Key,
    call: Arc<Notify>,
}

impl<'a> Place<'a> {
    fn take(pacer: &'a Pacer, deadline: DateTime<Utc>) -> Self {
        let mut queue = pacer.lock();
        queue.arrivals += 1;
        let key = (deadline, queue.arrivals);
        let call = Arc::new(Notify::new());
        queue.waiting.insert(key, Arc::clone(&call));
        Self { pacer, key, call }
    }

    fn try_now(&self, rate: Rate) -> Turn {
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
                Turn::Now(now)
            }
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.pacer.lock();
        queue.waiting.remove(&self.key);
        queue.wake_first();
    }
}

/// The right to wake one host now. Gives the turn back unless it is used.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    pacer: &'a Pacer,
    of: Option<Instant>,
}

impl Ticket<'_> {
    pub(crate) fn used(mut self) {
        self.of = None;
    }
}

impl Drop for Ticket<'_> {
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

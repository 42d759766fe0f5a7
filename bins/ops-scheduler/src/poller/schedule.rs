//! When each host is due. Pure: whoever asks says what time it is.
//!
//! Each host has a *place* in the interval and is due there once in each, give or take a twentieth, whatever became of
//! its last poll; so hosts that fail together do not come back together. Beside that a *pace* bounds how many are taken in
//! any second: after a pause of the process, a takeover or a reload what is overdue is caught up with, and never in a burst.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

/// Hosts that are due within one step are taken together: the loop wakes up for them ten times a second at most, and answers of
/// hosts that were asked together find the caches warm. Longer steps would make bursts, shorter ones cost a third more.
const STEP: Duration = Duration::from_millis(100);
/// How far from its place a host may be due, as a part of the interval.
const JITTER: f64 = 0.05;
/// How many times the mean rate is taken at most; with [`BURST`] it stays below two in any second.
const MOST: f64 = 1.7;
/// What may be taken at once after a quiet time, as seconds of the most.
const BURST: f64 = 0.1;
/// A rate below which nothing is a burst, in hosts a second: few hosts do not wait for each other.
const HARMLESS: f64 = 8.0;
/// Between two new hosts in the first round, at the most.
const FIRST_GAP: Duration = Duration::from_millis(250);

/// From when the wait for the next look counts, after one that began and ended then: one that took long must not leave
/// the next overdue before it could begin.
pub(super) fn counted_from(began: Instant, ended: Instant, wait: Duration) -> Instant {
    ended
        .checked_sub(wait / 2)
        .map_or(began, |latest| began.max(latest))
}

/// A host's number in the table of hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct HostId(pub(super) usize);

/// Which stay of a host in the schedule something belongs to. A host that left and came back has a new one, so that
/// what is still queued from before is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Stay(u64);

/// A host that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) host: HostId,
    pub(super) stay: Stay,
    /// Since when.
    pub(super) at: Instant,
}

/// The hosts that are polled, and when each is due.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    origin: Instant,
    rng: StdRng,
    due: BinaryHeap<Reverse<(Instant, HostId, Stay)>>,
    places: Vec<Option<Place>>,
    hosts: usize,
    stays: u64,
    /// How many may be taken, as it was at `paced_at`.
    budget: f64,
    paced_at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    stay: Stay,
    /// An instant at which it would be due without jitter; all others are whole intervals from it.
    phase: Instant,
    /// For when it is queued. Whatever else is in the queue is void.
    due: Option<Instant>,
}

impl Schedule {
    pub(super) fn new(interval: Duration, now: Instant, seed: u64) -> Self {
        Self {
            interval,
            origin: now,
            rng: StdRng::seed_from_u64(seed),
            due: BinaryHeap::new(),
            places: Vec::new(),
            hosts: 0,
            stays: 0,
            budget: 1.0,
            paced_at: now,
        }
    }

    /// Takes hosts on. One that was polled `since` so long ago, maybe by another worker, keeps its place, and is due at
    /// once if it is overdue; the others get places evenly over the interval, or closer together when they are few.
    pub(super) fn enter(&mut self, hosts: &[(HostId, Option<Duration>)], now: Instant) -> Vec<Stay> {
        let unknown = hosts.iter().filter(|(_, since)| since.is_none()).count();
        let few = FIRST_GAP.saturating_mul(u32::try_from(unknown).unwrap_or(u32::MAX));
        let gap = self.interval.min(few) / u32::try_from(unknown.max(1)).unwrap_or(u32::MAX);
        let mut next = 0.0;
        let mut stays = Vec::with_capacity(hosts.len());
        for (host, since) in hosts {
            self.leave(*host);
            self.stays += 1;
            let stay = Stay(self.stays);
            let (phase, due) = match since.and_then(|since| Some((now.checked_sub(since)?, since))) {
                Some((phase, since)) => (phase, now + self.interval.saturating_sub(since)),
                None => {
                    let first = now + gap.mul_f64(next + self.rng.random_range(0.0..1.0));
                    next += 1.0;
                    (first, first)
                }
            };
            if self.places.len() <= host.0 {
                self.places.resize(host.0 + 1, None);
            }
            self.places[host.0] = Some(Place {
                stay,
                phase,
                due: None,
            });
            self.hosts += 1;
            self.queue(*host, stay, due);
            stays.push(stay);
        }
        stays
    }

    /// Lets go of a host.
    pub(super) fn leave(&mut self, host: HostId) {
        if self.places.get_mut(host.0).and_then(Option::take).is_some() {
            self.hosts -= 1;
        }
    }

    fn place(&self, host: HostId, stay: Stay) -> Option<&Place> {
        let place = self.places.get(host.0)?.as_ref();
        place.filter(|place| place.stay == stay)
    }

    /// The next host that is due by `now` and that the pace allows; what is void is dropped on the way.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        self.drop_void();
        let Reverse((at, ..)) = *self.due.peek()?;
        if at > now {
            return None;
        }
        let most = self.most_per_second();
        let gained = now.saturating_duration_since(self.paced_at).as_secs_f64() * most;
        self.paced_at = self.paced_at.max(now);
        self.budget = (self.budget + gained).min((most * BURST).max(1.0));
        if self.budget < 1.0 {
            return None;
        }
        self.budget -= 1.0;
        let Reverse((at, host, stay)) = self.due.pop()?;
        self.places[host.0].as_mut()?.due = None;
        Some(Due { host, stay, at })
    }

    /// When there will be something to take.
    pub(super) fn next_at(&mut self) -> Option<Instant> {
        self.drop_void();
        let Reverse((at, ..)) = *self.due.peek()?;
        let lacking = (1.0 - self.budget).max(0.0) / self.most_per_second();
        Some(self.step(at.max(self.paced_at + Duration::from_secs_f64(lacking))))
    }

    /// Puts a host back that was looked at from `began` on: at its place in the interval that `wait` leads to. With
    /// `at_most` not later than that.
    pub(super) fn again(
        &mut self,
        host: HostId,
        stay: Stay,
        began: Instant,
        wait: Duration,
        at_most: Option<Duration>,
    ) {
        let Some(place) = self.place(host, stay).copied() else {
            return;
        };
        let since = (began + wait).saturating_duration_since(place.phase);
        let intervals = (since.as_secs_f64() / self.interval.as_secs_f64()).round();
        let mut due = place.phase + self.interval.mul_f64(intervals.max(0.0));
        if due < began + wait / 2 {
            due += self.interval;
        }
        let jitter = self.interval.mul_f64(JITTER);
        due = due + jitter.mul_f64(self.rng.random_range(0.0..2.0)) - jitter;
        if let Some(at_most) = at_most {
            due = due.min(began + at_most);
        }
        self.queue(host, stay, due);
    }

    /// Makes a host due at an instant, wherever its place is.
    pub(super) fn queue(&mut self, host: HostId, stay: Stay, at: Instant) {
        let at = self.step(at);
        if let Some(Some(place)) = self.places.get_mut(host.0)
            && place.stay == stay
        {
            place.due = Some(at);
            self.due.push(Reverse((at, host, stay)));
        }
    }

    fn drop_void(&mut self) {
        while let Some(Reverse((at, host, stay))) = self.due.peek() {
            if self
                .place(*host, *stay)
                .is_some_and(|place| place.due == Some(*at))
            {
                return;
            }
            self.due.pop();
        }
    }

    fn most_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "numbers of hosts are small")]
        let mean = self.hosts as f64 / self.interval.as_secs_f64();
        (mean * MOST).max(HARMLESS)
    }

    /// The next whole step.
    fn step(&self, at: Instant) -> Instant {
        let since = at.saturating_duration_since(self.origin).as_nanos();
        let whole = since.next_multiple_of(STEP.as_nanos());
        // Five hundred years.
        self.origin + Duration::from_nanos(u64::try_from(whole).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests;

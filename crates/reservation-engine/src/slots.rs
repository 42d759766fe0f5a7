//! What this process knows about each host between two passes. Losing it costs at most a pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::explain::{Wait, WaitCode};
use crate::hold::Hold;
use crate::plan::{HostFacts, Placement, Presence, plan_host};
use crate::ports::WorkItem;
use crate::settings::Settings;

/// How long this process goes on with a host to which it handed something over, if another one sees to that host:
/// its next look may be a whole scan interval away. Longer than a start takes, and soon over.
const FOLLOWED_FOR: Duration = Duration::from_mins(2);

#[derive(Debug, Default)]
struct Slot {
    running: bool,
    /// What the flow under way waits for, if it does not act.
    waits: Option<Wait>,
    /// The reservations that the last pass found for the host; a flow reads them again before each step.
    reservations: Vec<ReservationId>,
    /// What that pass knew of the host.
    facts: HostFacts,
    /// Why the host is left alone for a moment.
    hold: Option<Hold>,
}

pub(crate) struct Slots {
    slots: Mutex<HashMap<HostName, Slot>>,
    /// The hosts to which this process handed something over, and when.
    followed: Mutex<HashMap<HostName, Instant>>,
    changed: Arc<Notify>,
}

impl Slots {
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self {
            slots: Mutex::default(),
            followed: Mutex::default(),
            changed,
        }
    }

    /// Notes which reservations each host has, by a pass at `now`, and what is known of it; the hosts of former passes are kept only while
    /// a flow runs.
    pub(crate) fn remember(&self, placement: &Placement, now: DateTime<Utc>, settings: &Settings) {
        let mut slots = self.lock();
        slots.retain(|host, slot| slot.running || placement.contains_key(host));
        for (host, placed) in placement {
            let slot = slots.entry(host.clone()).or_default();
            // Those without a host have nothing to do with each other: what is not due need not be read again.
            let apart = placed.facts.presence == Presence::Nowhere;
            let is_due = |item: &&WorkItem| {
                let items = std::slice::from_ref(*item);
                plan_host(now, settings, &placed.facts, items).act.is_some()
            };
            let items = placed.items.iter().filter(|item| !apart || is_due(item));
            slot.reservations = items.map(|item| item.reservation.id.clone()).collect();
            slot.facts = placed.facts.clone();
        }
    }

    /// The host's reservations by the last pass, and what that knew of the host.
    pub(crate) fn known(&self, host: &HostName) -> (Vec<ReservationId>, HostFacts) {
        let slots = self.lock();
        let slot = slots.get(host);
        slot.map(|slot| (slot.reservations.clone(), slot.facts.clone()))
            .unwrap_or_default()
    }

    /// Notes that this process handed something over to a host, and goes on with it.
    pub(crate) fn follow(&self, host: &HostName) {
        let mut followed = self.lock_followed();
        followed.retain(|_, since| since.elapsed() < FOLLOWED_FOR);
        followed.insert(host.clone(), Instant::now());
    }

    /// Whether this process goes on with a host because it handed something over to it.
    pub(crate) fn follows(&self, host: &HostName) -> bool {
        let followed = self.lock_followed();
        followed
            .get(host)
            .is_some_and(|since| since.elapsed() < FOLLOWED_FOR)
    }

    /// What stands in the way of another flow while one is under way.
    pub(crate) fn under_way(&self, host: &HostName) -> Option<Wait> {
        let slots = self.lock();
        let slot = slots.get(host).filter(|slot| slot.running)?;
        let at_work = || Wait::open(WaitCode::UnderWay, "this process is at work on the host");
        Some(slot.waits.clone().unwrap_or_else(at_work))
    }

    /// Notes what the flow under way waits for, or that it goes on.
    pub(crate) fn note_wait(&self, host: &HostName, waits: Option<Wait>) {
        if let Some(slot) = self.lock().get_mut(host) {
            slot.waits = waits;
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.lock().values().filter(|slot| slot.running).count()
    }

    /// Why the host is left alone at `now`, if it is.
    pub(crate) fn hold(&self, host: &HostName, now: DateTime<Utc>) -> Option<Wait> {
        let mut slots = self.lock();
        let slot = slots.get_mut(host)?;
        let wait = slot.hold.as_ref().and_then(|hold| hold.at(now));
        if wait.is_none() {
            slot.hold = None;
        }
        wait
    }

    /// Takes the host's only place for a flow; `false` when it is taken.
    pub(crate) fn begin(&self, host: &HostName) -> bool {
        let mut slots = self.lock();
        let slot = slots.entry(host.clone()).or_default();
        !std::mem::replace(&mut slot.running, true)
    }

    /// Frees the place and says so to whoever waits for the next pass.
    pub(crate) fn end(&self, host: &HostName, hold: Option<Hold>) {
        if let Some(slot) = self.lock().get_mut(host) {
            slot.running = false;
            slot.waits = None;
            slot.hold = hold;
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_followed(&self) -> MutexGuard<'_, HashMap<HostName, Instant>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

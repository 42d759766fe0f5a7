//! What this process knows about each host between two passes. Losing it costs at most a pass.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use tokio::sync::Notify;

use crate::explain::Wait;
use crate::ports::WorkItem;

#[derive(Debug, Default)]
struct Slot {
    running: bool,
    /// The reservations that the last pass found for the host; a flow reads them again before each step.
    reservations: Vec<ReservationId>,
    /// Why the host is left alone for a moment.
    hold: Option<Wait>,
}

pub(crate) struct Slots {
    slots: Mutex<HashMap<HostName, Slot>>,
    changed: Arc<Notify>,
}

impl Slots {
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        Self {
            slots: Mutex::default(),
            changed,
        }
    }

    /// Notes which reservations each host has; the hosts of former passes are kept only while a flow runs.
    pub(crate) fn remember(&self, by_host: &HashMap<HostName, Vec<WorkItem>>) {
        let mut slots = self.lock();
        slots.retain(|host, slot| slot.running || by_host.contains_key(host));
        drop(slots);
        for (host, items) in by_host {
            self.note(host, items);
        }
    }

    /// Notes which reservations one host has.
    pub(crate) fn note(&self, host: &HostName, items: &[WorkItem]) {
        let ids = items.iter().map(|item| item.reservation.id.clone()).collect();
        self.lock().entry(host.clone()).or_default().reservations = ids;
    }

    pub(crate) fn reservations(&self, host: &HostName) -> Vec<ReservationId> {
        self.lock()
            .get(host)
            .map(|slot| slot.reservations.clone())
            .unwrap_or_default()
    }

    pub(crate) fn is_running(&self, host: &HostName) -> bool {
        self.lock().get(host).is_some_and(|slot| slot.running)
    }

    pub(crate) fn running(&self) -> usize {
        self.lock().values().filter(|slot| slot.running).count()
    }

    /// Why the host is left alone at `now`, if it is.
    pub(crate) fn hold(&self, host: &HostName, now: DateTime<Utc>) -> Option<Wait> {
        let mut slots = self.lock();
        let slot = slots.get_mut(host)?;
        slot.hold = slot
            .hold
            .take()
            .filter(|hold| hold.until.is_some_and(|until| until > now));
        slot.hold.clone()
    }

    /// Takes the host's only place for a flow; `false` when it is taken.
    pub(crate) fn begin(&self, host: &HostName) -> bool {
        let mut slots = self.lock();
        let slot = slots.entry(host.clone()).or_default();
        !std::mem::replace(&mut slot.running, true)
    }

    /// Frees the place and says so to whoever waits for the next pass.
    pub(crate) fn end(&self, host: &HostName, hold: Option<Wait>) {
        if let Some(slot) = self.lock().get_mut(host) {
            slot.running = false;
            slot.hold = hold;
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

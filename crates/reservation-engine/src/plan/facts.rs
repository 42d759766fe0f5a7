//! What a plan has to know of a host beyond its reservations.

use std::collections::BTreeMap;
use std::time::Duration;

use lab_model::{HostName, ReservationId};
use serde::Serialize;

use crate::maintenance::Maintenance;
use crate::reason::Reason;

/// What a plan has to know of a host beyond its reservations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostFacts {
    /// How long before its start a reservation's host is woken: the configured lead, or more where the host's own
    /// history asks for it.
    pub lead: Duration,
    /// Whether anything can be done on it.
    pub presence: Presence,
    /// Where a reservation goes that cannot be served here. Only reservations that could go are in it.
    pub spares: BTreeMap<ReservationId, Spare>,
    /// Who works at it, if somebody does: nothing is begun on it then.
    pub maintenance: Option<Maintenance>,
}

/// Another host for a reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spare {
    /// Which.
    pub host: HostName,
    /// How many hosts serve the lab: so many wakes may fail before one has to wait.
    pub of: u32,
}

/// Whether anything can be done on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It is in the catalog.
    #[default]
    Here,
    /// It was, when something was begun on it, and is not any more.
    Removed,
    /// It stands for the host of labs that no host serves.
    Nowhere,
}

/// The reason of what waits for its host to come back into the catalog.
pub(crate) const HOST_REMOVED: &str = "host_removed";
/// The reason of what leaves a host because an engineer works there.
pub(crate) const MAINTENANCE: &str = "maintenance";
/// The reason of what waits for a host to serve its lab.
pub(crate) const NO_HOST: &str = "no_host";

impl HostFacts {
    /// A host of the catalog with this lead, for whose reservations no other host is free.
    #[must_use]
    pub fn with_lead(lead: Duration) -> Self {
        Self {
            lead,
            ..Self::default()
        }
    }

    /// Why nothing can be done on the host, if nothing can.
    pub(crate) fn absence(&self) -> Option<Reason> {
        match self.presence {
            Presence::Here => None,
            Presence::Removed => Some(Reason::new(
                HOST_REMOVED,
                "the host was removed from the catalog while it had the reservation",
            )),
            Presence::Nowhere => Some(Reason::new(NO_HOST, "no host serves the lab")),
        }
    }
}

/// Whether a reason says that there was no host to act on, so that the wait ends as soon as there is one.
pub(crate) fn is_absence(reason: &Reason) -> bool {
    reason.code == HOST_REMOVED || reason.code == NO_HOST
}

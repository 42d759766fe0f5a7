//! Which host serves each reservation, and which one would if that host fails. Pure, and the same for every copy of
//! the scheduler that reads the same rows.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use lab_model::{HostName, LabId, ReservationId};

use super::facts::{HostFacts, Presence, Spare};
use super::neighbours::{begins_anew, has_host, order};
use super::{has_status, is_final, is_open, prepare_began_at};
use crate::engine::HostMap;
use crate::history::UNMAPPED;
use crate::instant::earlier;
use crate::maintenance::Maintained;
use crate::operation::Operation;
use crate::ports::WorkItem;
use crate::reservation::ReservationStatus;
use crate::settings::Settings;

/// How many hosts of one lab are looked at.
const MAX_HOSTS: usize = 64;

/// The reservations of one host, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Placed {
    pub(crate) items: Vec<WorkItem>,
    /// With the configured lead; whoever knows the host's history raises it.
    pub(crate) facts: HostFacts,
}

/// All reservations by host, in the order of the hosts' names.
pub(crate) type Placement = BTreeMap<HostName, Placed>;

/// The stand-in for the host of a lab that has none. No step is ever carried out on it.
pub(crate) fn stand_in() -> Option<HostName> {
    HostName::parse(UNMAPPED).ok()
}

/// Sorts reservations by host. What was begun stays on its host, whatever the catalog says now; what was not goes to
/// the first host of its lab, or, with pooling, to the first that is free for its time and not in maintenance.
pub(crate) fn place(
    now: DateTime<Utc>,
    settings: &Settings,
    mut items: Vec<WorkItem>,
    hosts: &dyn HostMap,
    maintained: &Maintained,
) -> Placement {
    items.sort_by(order);
    let mut placer = Placer {
        now,
        settings,
        hosts,
        maintained,
        labs: HashMap::new(),
        taken: HashMap::new(),
    };
    let (begun, fresh): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| begun_on(item).is_some());
    let mut placement = Placement::new();
    for item in &begun {
        if let Some(host) = begun_on(item) {
            placer.take(host, item);
        }
    }
    for item in fresh {
        if let Some(host) = placer.choose(&item) {
            placer.take(&host, &item);
            placement.entry(host).or_default().items.push(item);
        }
    }
    // Spares come last, so that whoever has a host of his own keeps it.
    for item in begun {
        let Some(host) = begun_on(&item).cloned() else {
            continue;
        };
        let spare = placer.spare(&host, &item);
        let placed = placement.entry(host).or_default();
        if let Some(spare) = spare {
            placed.facts.spares.insert(item.reservation.id.clone(), spare);
        }
        placed.items.push(item);
    }
    for (host, placed) in &mut placement {
        placed.facts.lead = settings.lead;
        placed.facts.presence = presence(host, hosts);
        placed.facts.maintenance = maintained.get(host).cloned();
    }
    placement
}

pub(crate) fn presence(host: &HostName, hosts: &dyn HostMap) -> Presence {
    if stand_in().as_ref() == Some(host) {
        Presence::Nowhere
    } else if hosts.knows(host) {
        Presence::Here
    } else {
        Presence::Removed
    }
}

/// The host of what was begun. What ended before a host was found begins anew, and so does what was called off and
/// confirmed again.
pub(crate) fn begun_on(item: &WorkItem) -> Option<&HostName> {
    if begins_anew(item) {
        return None;
    }
    let stays =
        |operation: &&Operation| !operation.state.is_final() || stand_in().as_ref() != Some(&operation.host);
    let end = item.end.as_ref().filter(stays);
    let start = item.start.as_ref().filter(stays);
    end.or(start).map(|operation| &operation.host)
}

struct Placer<'a> {
    now: DateTime<Utc>,
    settings: &'a Settings,
    hosts: &'a dyn HostMap,
    maintained: &'a Maintained,
    labs: HashMap<LabId, Vec<HostName>>,
    /// When each host is taken, and by whom.
    taken: HashMap<HostName, Vec<Stay>>,
}

struct Stay {
    reservation: ReservationId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// Whether the host was handed over already.
    is_there: bool,
}

impl Placer<'_> {
    fn hosts_of(&mut self, lab: &LabId) -> &[HostName] {
        let hosts = self.hosts;
        self.labs.entry(lab.clone()).or_insert_with(|| {
            let mut found = hosts.hosts_for(lab);
            found.retain(|host| stand_in().as_ref() != Some(host));
            found.truncate(MAX_HOSTS);
            found
        })
    }

    /// Notes when a reservation has a host, or will.
    fn take(&mut self, host: &HostName, item: &WorkItem) {
        let reservation = &item.reservation;
        let comes = has_status(item, ReservationStatus::Confirmed)
            && (!is_final(item.start.as_ref()) || item.is_confirmed_again());
        if !has_host(item) && !comes {
            return;
        }
        // Whoever still is there after his end is there until he is released.
        let to = if has_host(item) {
            reservation.ends_at.max(self.now)
        } else {
            reservation.ends_at
        };
        self.taken.entry(host.clone()).or_default().push(Stay {
            reservation: reservation.id.clone(),
            from: reservation.starts_at,
            to,
            is_there: has_host(item),
        });
    }

    /// Whether an engineer still works at the host when it would have to be woken.
    fn is_worked_at(&self, host: &HostName, item: &WorkItem) -> bool {
        let due_at = earlier(item.reservation.starts_at, self.settings.lead).max(self.now);
        let maintenance = self.maintained.get(host);
        maintenance.is_some_and(|one| one.is_in_force(due_at))
    }

    /// Whether nobody else has the host in the reservation's time. With `at_once`, whoever still is to be released
    /// there counts too: what is begun must not find the next host as it left the last one.
    fn is_free(&self, host: &HostName, item: &WorkItem, at_once: bool) -> bool {
        if self.is_worked_at(host, item) {
            return false;
        }
        let reservation = &item.reservation;
        // What began in the past needs the host from now on.
        let from = reservation.starts_at.max(self.now);
        let stays = self.taken.get(host).map_or(&[][..], Vec::as_slice);
        !stays.iter().any(|stay| {
            let until = from < stay.to || (at_once && stay.is_there && from <= stay.to);
            stay.reservation != reservation.id && stay.from < reservation.ends_at && until
        })
    }

    fn choose(&mut self, item: &WorkItem) -> Option<HostName> {
        let hosts = self.hosts_of(&item.reservation.lab).to_vec();
        let Some(first) = hosts.first().cloned() else {
            return stand_in();
        };
        if !self.settings.host_pooling {
            return Some(first);
        }
        let free = hosts.into_iter().find(|host| self.is_free(host, item, false));
        Some(free.unwrap_or(first))
    }

    /// The next host of the lab, in the order of the file and around, that is free; for a host that is gone, any.
    fn spare(&mut self, host: &HostName, item: &WorkItem) -> Option<Spare> {
        let here = presence(host, self.hosts) == Presence::Here;
        if here && !self.settings.host_pooling || !may_move(item) {
            return None;
        }
        let hosts = self.hosts_of(&item.reservation.lab).to_vec();
        let position = hosts.iter().position(|one| one == host);
        let after = position.map_or(0, |position| position + 1);
        let around: Vec<&HostName> = hosts[after..]
            .iter()
            .chain(&hosts[..after])
            .filter(|one| *one != host)
            .collect();
        let free = around
            .iter()
            .copied()
            .find(|one| self.settings.host_pooling && self.is_free(one, item, true));
        let to = free
            .or_else(|| around.first().copied().filter(|_| !here))?
            .clone();
        self.take(&to, item);
        let of = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        Some(Spare { host: to, of })
    }
}

/// Whether a reservation's operation may go on elsewhere: nothing was prepared, or there never was a host.
fn may_move(item: &WorkItem) -> bool {
    if item.foreign_version().is_some() {
        return false;
    }
    let start = is_open(item.start.as_ref()) && prepare_began_at(item).is_none();
    let end = is_open(item.end.as_ref());
    start || end
}

#[cfg(test)]
mod tests;

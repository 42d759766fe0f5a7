//! Who needs which host on: the same for the list of hosts, the metrics, health, and whoever tells of silence.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use heartbeat_store::Need;
use lab_model::{Catalog, HostName, LabId};
use reservation_engine::{ClaimInfo, Maintenance, Store as _, StoreError};
use reservation_store::FleetReservation;

use crate::settings::Settings;
use crate::site::Site;

/// How far back power orders are looked for: a host that was taken down before a long weekend.
const TAKEN_DOWN: TimeDelta = TimeDelta::days(4);
/// Hosts of one lab beyond this share what is looked at.
const MOST_PER_LAB: usize = 32;

/// What decides who needs which host, as it was at one instant; by the host's name in lower case.
#[derive(Debug)]
pub struct Demand {
    /// Which reservations run, and which come next in each lab.
    pub reservations: Vec<FleetReservation>,
    /// Who holds which host.
    pub claims: HashMap<String, ClaimInfo>,
    /// How long before a reservation each host is woken.
    pub leads: HashMap<String, Duration>,
    /// When each host was taken down by us.
    pub taken_down: HashMap<String, DateTime<Utc>>,
    /// Which hosts are under maintenance.
    pub maintenance: HashMap<HostName, Maintenance>,
}

impl Demand {
    /// Reads it: five statements however many hosts there are, one after the other, so that it takes one connection of
    /// the pool and not all of them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read(site: &Site, catalog: &Catalog) -> Result<Self, StoreError> {
        let (store, at) = (&site.reservations, site.clock.now());
        Ok(Self {
            reservations: store.fleet_reservations(at, per_lab(catalog)).await?,
            claims: store.fleet_claims().await?,
            leads: store.fleet_leads().await?,
            taken_down: store.taken_down(at - TAKEN_DOWN).await?,
            maintenance: store.maintenance(at).await?,
        })
    }
}

/// As many reservations of a lab may run at once as it has hosts.
fn per_lab(catalog: &Catalog) -> u32 {
    let mut hosts: HashMap<&str, usize> = HashMap::new();
    for lab in catalog.hosts().iter().flat_map(|host| &host.labs) {
        *hosts.entry(lab.as_str()).or_default() += 1;
    }
    let most = hosts.into_values().max().unwrap_or(1).min(MOST_PER_LAB);
    u32::try_from(most).unwrap_or(1)
}

/// Answers who needs a host, for all hosts of a catalog at one instant.
#[derive(Debug)]
pub struct Needs<'a> {
    settings: &'a Settings,
    demand: &'a Demand,
    /// Of each host the one that runs and the one that comes.
    reservations: HashMap<String, [Option<&'a FleetReservation>; 2]>,
    now: DateTime<Utc>,
}

impl<'a> Needs<'a> {
    /// Shares the reservations out among the hosts.
    #[must_use]
    pub fn new(settings: &'a Settings, demand: &'a Demand, catalog: &Catalog, now: DateTime<Utc>) -> Self {
        Self {
            settings,
            demand,
            reservations: assign(catalog, &demand.reservations, now),
            now,
        }
    }

    /// The reservation that runs on a host and the one that comes next: on the host on which it was begun, before that
    /// on the first of its lab in the file.
    #[must_use]
    pub fn reservations(&self, host: &HostName) -> [Option<&'a FleetReservation>; 2] {
        self.reservations.get(host.key()).copied().unwrap_or_default()
    }

    /// How long before a reservation the host is woken.
    #[must_use]
    pub fn lead(&self, host: &HostName) -> Duration {
        let floor = self.settings.reservations.engine.lead;
        let known = self.demand.leads.get(host.key()).copied();
        known.map_or(floor, |known| known.max(floor))
    }

    /// Whether somebody needs the host on: who holds its claim, a reservation that runs, or one for which it is being
    /// woken; under maintenance only what was begun before it. Where hosts are never taken down for being idle all of
    /// them should be on, except one that we took down by order.
    #[must_use]
    pub fn of(&self, host: &HostName) -> Need {
        let [current, next] = self.reservations(host);
        let is_begun = current.is_some_and(|current| current.status == "ACTIVE");
        if is_begun || self.demand.claims.contains_key(host.key()) {
            return Need::On;
        }
        if let Some(maintenance) = self.demand.maintenance.get(host) {
            return Need::Maintained(maintenance.until);
        }
        let wanted_at = next.map(|next| next.start - self.lead(host));
        if current.is_some() || wanted_at.is_some_and(|at| at <= self.now) {
            return Need::On;
        }
        let taken_down = self.demand.taken_down.get(host.key());
        match (taken_down, self.settings.reservations.engine.idle_power) {
            (Some(at), _) => Need::TakenDown(*at),
            (None, Some(_)) => Need::Nobody(wanted_at),
            (None, None) => Need::On,
        }
    }
}

fn assign<'a>(
    catalog: &Catalog,
    reservations: &'a [FleetReservation],
    now: DateTime<Utc>,
) -> HashMap<String, [Option<&'a FleetReservation>; 2]> {
    let mut first: HashMap<&LabId, &str> = HashMap::new();
    for host in catalog.hosts() {
        for lab in &host.labs {
            first.entry(lab).or_insert(host.name.key());
        }
    }
    let mut by_host: HashMap<String, [Option<&FleetReservation>; 2]> = HashMap::new();
    for row in reservations {
        let begun_on = row.host.as_deref().filter(|host| catalog.find(host).is_some());
        let Some(host) = begun_on.or_else(|| first.get(&row.lab).copied()) else {
            continue;
        };
        let place = &mut by_host.entry(host.to_owned()).or_default()[usize::from(row.start > now)];
        // Earliest first; of two at once the active one is the one that is there.
        let is_better = |standing: &FleetReservation| {
            row.start <= now && standing.status != "ACTIVE" && row.status == "ACTIVE"
        };
        if place.is_none_or(is_better) {
            *place = Some(row);
        }
    }
    by_host
}

#[cfg(test)]
mod tests;

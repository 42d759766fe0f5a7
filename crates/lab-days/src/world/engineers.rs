//! Engineers: now and then one works at a host for a while, and nothing may be begun there meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use lab_model::HostName;
use rand::RngExt;
use reservation_engine::Maintenance;

use super::{World, host_name};
use crate::faults::FaultKind;
use crate::log::What;

/// How long before the quiet the last one is gone.
const GONE_BEFORE: Duration = Duration::from_mins(10);

/// One visit.
#[derive(Debug, Clone)]
struct Visit {
    from: Duration,
    to: Duration,
    host: HostName,
    /// Whether the end was said at the beginning; else somebody says it.
    ends_by_itself: bool,
}

/// All visits of a day.
#[derive(Debug)]
pub(crate) struct Engineers {
    world: World,
    visits: Vec<Visit>,
}

impl Engineers {
    pub(crate) fn draw(world: &World) -> Self {
        let mut rng = world.rng("engineers");
        let layout = world.layout();
        let last = layout.quiet_at.saturating_sub(GONE_BEFORE);
        let mut visits = Vec::new();
        for _ in 0..layout.swarm.intensity(FaultKind::Maintenance) * 3 {
            let from = Duration::from_secs(rng.random_range(60..last.as_secs()));
            let length = Duration::from_secs(rng.random_range(60..=5_400));
            visits.push(Visit {
                from,
                to: (from + length).min(last),
                host: host_name(rng.random_range(1..=layout.all_hosts())),
                ends_by_itself: rng.random_bool(0.5),
            });
        }
        visits.sort_by_key(|visit| visit.from);
        // Nobody comes to a host at which somebody is.
        let mut busy_until: BTreeMap<HostName, Duration> = BTreeMap::new();
        visits.retain(|visit| {
            let busy = busy_until.entry(visit.host.clone()).or_default();
            let free = *busy < visit.from;
            if free {
                *busy = visit.to;
            }
            free
        });
        Self {
            world: world.clone(),
            visits,
        }
    }

    /// Lets them come and go.
    pub(crate) async fn run(&self) {
        for visit in &self.visits {
            self.world.sleep_until(visit.from).await;
            self.world.fault(FaultKind::Maintenance, visit.host.as_str());
            let until = visit.ends_by_itself.then(|| self.world.wall(visit.to));
            self.world.note(What::Maintenance {
                host: visit.host.clone(),
                until: visit.ends_by_itself.then_some(visit.to),
            });
            let said = Maintenance {
                reason: "a new disk".to_owned(),
                owner: "engineer".to_owned(),
                since: self.world.now(),
                until,
            };
            self.world.memory().set_maintenance(&visit.host, Some(said));
            if !visit.ends_by_itself {
                let (world, visit) = (self.world.clone(), visit.clone());
                tokio::spawn(async move {
                    world.sleep_until(visit.to).await;
                    world.memory().set_maintenance(&visit.host, None);
                    world.note(What::MaintenanceEnded(visit.host));
                });
            }
        }
    }
}

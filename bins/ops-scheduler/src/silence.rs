//! Judges the hosts that this worker polls, once per interval: tells operators of those that somebody needs and that are
//! not heard of, once, and when they are heard again; counts verdicts that change; and tells the poller whom nobody needs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::{HostState, Need, Verdict, judge};
use lab_model::{Catalog, HostName};
use notifications::{Silence, Told};
use ops_runtime::metrics::catalog as m;
use ops_runtime::{Chain, Demand, Needs, Site, SiteHandle};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker_registry::{Duty, Ownership};

/// A host has to be silent at so many looks in a row, one per interval: one that is being woken is silent for a while.
const LOOKS: u32 = 5;
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(60);

/// Looks once per interval at the hosts that this worker polls, until `stop`.
pub(crate) async fn run(
    handle: SiteHandle,
    ownership: Ownership,
    may_be_off: watch::Sender<Option<Arc<HashSet<String>>>>,
    stop: CancellationToken,
) {
    let Some(Some(site)) = stop.run_until_cancelled(handle.opened()).await else {
        return;
    };
    let every = site.settings.poll.interval.min(LONGEST);
    let mut watch = Watch {
        site,
        since: HashMap::new(),
        verdicts: HashMap::new(),
        may_be_off,
    };
    while !stop.is_cancelled() {
        stop.run_until_cancelled(watch.look(&ownership)).await;
        stop.run_until_cancelled(tokio::time::sleep(every)).await;
    }
}

struct Watch {
    site: std::sync::Arc<Site>,
    /// Since when each of our hosts is seen to be silent.
    since: HashMap<HostName, Instant>,
    /// What was last thought of each of our hosts.
    verdicts: HashMap<HostName, Verdict>,
    /// Where the poller hears whom nobody needs.
    may_be_off: watch::Sender<Option<Arc<HashSet<String>>>>,
}

impl Watch {
    async fn look(&mut self, ownership: &Ownership) {
        let catalog = self.site.catalog.current();
        let read = async {
            let told = self.site.notices.outbox.silences().await;
            let told = told.map_err(|error| Chain(&error).to_string())?;
            let states = self.site.heartbeats.host_states().await;
            let states = states.map_err(|error| Chain(&error).to_string())?;
            let demand = Demand::read(&self.site, &catalog).await;
            Ok::<_, String>((told, states, demand.map_err(|error| Chain(&error).to_string())?))
        };
        match read.await {
            Ok((told, states, demand)) => self.tell(&catalog, ownership, &told, &states, &demand),
            Err(error) => tracing::debug!(error, "nobody can tell which hosts are silent"),
        }
    }

    fn tell(
        &mut self,
        catalog: &Catalog,
        ownership: &Ownership,
        told: &HashSet<String>,
        states: &[HostState],
        demand: &Demand,
    ) {
        let (now, interval) = (self.site.clock.now(), self.site.settings.poll.interval);
        let needs = Needs::new(&self.site.settings, demand, catalog, now);
        self.tell_poller(catalog, &needs);
        let patience = interval.saturating_mul(LOOKS);
        let (mut silent, mut back, mut since) = (Vec::new(), Vec::new(), HashMap::new());
        let mut verdicts = HashMap::new();
        for state in states {
            let Some(host) = catalog.find(&state.host).map(|host| &host.name) else {
                continue;
            };
            if !ownership.owns(Duty::Polls, host) {
                continue;
            }
            let is_told = told.contains(host.key());
            let liveness = judge(Some(state), interval, now, needs.of(host));
            let before = self.verdicts.get(host).copied();
            if before.is_some_and(|before| before != liveness.verdict) {
                m::LIVENESS_CHANGES.add(&[liveness.verdict.as_str()], 1);
                let (verdict, reason) = (liveness.verdict, &liveness.reason);
                tracing::debug!(host.name = %host, %verdict, reason, "judged otherwise");
            }
            verdicts.insert(host.clone(), liveness.verdict);
            match liveness.verdict {
                // Without a failed poll it was not asked: nobody ran who could.
                Verdict::Silent if state.failures_in_row > 0 => {
                    let seen = self.since.get(host).copied().unwrap_or_else(Instant::now);
                    since.insert(host.clone(), seen);
                    if !is_told && seen.elapsed() >= patience {
                        let (host, reason) = (host.clone(), liveness.reason);
                        silent.push(Silence { host, reason });
                    }
                }
                Verdict::Fresh if is_told => back.push(host.clone()),
                _ => {}
            }
        }
        (self.since, self.verdicts) = (since, verdicts);
        let teller = &self.site.notices.teller;
        if !silent.is_empty() {
            tracing::warn!(hosts = silent.len(), first = %silent[0].host, "hosts that are needed are silent");
            teller.tell(Told::Silent {
                hosts: silent,
                at: now,
            });
        }
        if !back.is_empty() {
            teller.tell(Told::Back { hosts: back, at: now });
        }
    }

    /// Of all hosts: shards may come to us at any time.
    fn tell_poller(&self, catalog: &Catalog, needs: &Needs<'_>) {
        let hosts = catalog.hosts().iter().map(|host| &host.name);
        let idle = hosts.filter(|host| !matches!(needs.of(host), Need::On));
        let idle: HashSet<String> = idle.map(|host| host.key().to_owned()).collect();
        self.may_be_off.send_if_modified(|before| {
            let is_news = before.as_deref() != Some(&idle);
            if is_news {
                *before = Some(Arc::new(idle));
            }
            is_news
        });
    }
}

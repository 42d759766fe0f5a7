//! Figures that are read when somebody asks for them: of the pool, of the connections to hosts, and of the database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::{HostState, Verdict, judge};
use lab_model::Catalog;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use worker_registry::Duty;

use super::catalog as m;
use crate::need::{Demand, Needs};
use crate::site::{Site, SiteHandle};

/// What costs a question to the database is asked at most this often, however many ask for figures.
const FRESH: Duration = Duration::from_secs(10);
/// Longer than this nobody waits for the database; the figures are then those of the last time.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many hosts are named at most.
const MAX_NAMED: usize = 1000;
/// Shown as zero from the beginning, so that the first refusal is seen as a growth.
const REFUSALS: [&str; 8] = [
    "unauthorized",
    "access_denied",
    "kerberos",
    "tls",
    "tls_unknown_issuer",
    "tls_wrong_name",
    "tls_expired",
    "tls_pin_mismatch",
];
/// A host fails when so many polls failed in a row.
const FAILING: u32 = 3;

/// Reads the figures of one site. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sampler {
    handle: SiteHandle,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    asked_at: Option<Instant>,
    /// The hosts that were named as silent so far.
    named: BTreeSet<String>,
}

impl Sampler {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(handle: &SiteHandle) -> Self {
        Self {
            handle: handle.clone(),
            state: Arc::default(),
        }
    }

    /// The text of all figures, within about two seconds whatever the database does.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn scrape(&self) -> String {
        match self.handle.current() {
            None => m::DB_UP.set(&[], 0),
            Some(site) => {
                of_this_process(&site);
                let asking = async {
                    let mut state = self.state.lock().await;
                    if state.asked_at.is_some_and(|at| at.elapsed() < FRESH) {
                        return;
                    }
                    ask(&site, &mut state.named).await;
                    state.asked_at = Some(Instant::now());
                };
                if timeout(PATIENCE, asking).await.is_err() {
                    m::DB_UP.set(&[], 0);
                }
            }
        }
        super::render()
    }
}

fn of_this_process(site: &Site) {
    let pool = site.database.pool();
    m::DB_POOL.set(&["in_use"], pool.in_use.into());
    m::DB_POOL.set(&["idle"], pool.idle.into());
    m::DB_POOL_MAX.set(&[], pool.max.into());
    m::DB_WAITING.set(&[], pool.waiting.into());
    let traffic = site.database.traffic();
    m::DB_STATEMENTS.total(&[], traffic.statements);
    m::DB_TRANSACTIONS.total(&[], traffic.transactions);
    let failures = site.database.failures();
    let by_fault = [
        ("conflict", failures.conflict),
        ("unique", failures.unique),
        ("unavailable", failures.unavailable),
        ("refused", failures.refused),
    ];
    for (fault, count) in by_fault {
        m::DB_ERRORS.total(&[fault], count);
    }
    let winrm = site.station.totals();
    m::WINRM_CONNECTIONS.total(&[], winrm.connections);
    m::WINRM_HANDSHAKES.total(&[], winrm.handshakes);
    m::WINRM_REQUESTS.total(&[], winrm.requests);
    m::WINRM_SHELLS.total(&[], winrm.shells_created);
    m::WINRM_COMMANDS.total(&[], winrm.commands);
    for code in REFUSALS {
        m::WINRM_FAULTS.total(&[code], 0);
    }
    for (code, count) in station_control::faults() {
        m::WINRM_FAULTS.total(&[code], count);
    }
    m::NOTICES_DROPPED.total(&[], site.notices.teller.dropped());
    m::ALERTS.total(&[], site.notices.teller.alerts());
    m::NOTICES.total(&["host_silent"], site.notices.teller.silences());
    m::NOTICES.total(&["host_back"], site.notices.teller.returns());
}

async fn ask(site: &Site, named: &mut BTreeSet<String>) {
    let began = Instant::now();
    let up = site.database.ping().await.is_ok();
    m::DB_UP.set(&[], up.into());
    m::DB_PING.set_to(&[], began.elapsed().as_secs_f64());
    if !up {
        return;
    }
    let catalog = site.catalog.current();
    if let Ok(states) = site.heartbeats.host_states().await
        && let Ok(demand) = Demand::read(site, &catalog).await
    {
        hosts(site, &catalog, &states, &demand, named);
    }
    if let Ok(depth) = site.notices.outbox.depth().await {
        m::OUTBOX_PENDING.set(&[], depth.pending);
        m::OUTBOX_DEAD.set(&[], depth.dead);
        m::OUTBOX_OLDEST.set_to(&[], depth.oldest.as_secs_f64());
    }
    if let Ok(workers) = site.workers.list().await {
        for role in ["api", "scheduler"] {
            let alive = workers
                .iter()
                .filter(|worker| worker.role == role && worker.alive());
            m::WORKERS.set(&[role], alive.count() as u64);
        }
        if let Ok((_, unserved)) = site.workers.shards(&workers).await {
            for (duty, unserved) in Duty::ALL.into_iter().zip(unserved) {
                m::SHARDS_UNSERVED.set(&[duty.as_str()], unserved.len() as u64);
            }
        }
    }
}

/// Counts the hosts of the catalog by what their heartbeats say.
fn hosts(
    site: &Site,
    catalog: &Catalog,
    states: &[HostState],
    demand: &Demand,
    named: &mut BTreeSet<String>,
) {
    let (now, interval) = (site.clock.now(), site.settings.poll.interval);
    let needs = Needs::new(&site.settings, demand, catalog, now);
    let by_name: BTreeMap<&str, &HostState> =
        states.iter().map(|state| (state.host.as_str(), state)).collect();
    let mut counts = [0_u64; Verdict::ALL.len()];
    let mut silent = BTreeSet::new();
    let (mut failing, mut newest) = (0, None);
    for host in catalog.hosts() {
        let state = by_name.get(host.name.key()).copied();
        let verdict = judge(state, interval, now, needs.of(&host.name)).verdict;
        if let Some(at) = Verdict::ALL.iter().position(|known| *known == verdict) {
            counts[at] += 1;
        }
        if verdict == Verdict::Silent {
            silent.insert(host.name.key().to_owned());
        }
        if let Some(state) = state {
            failing += u64::from(state.failures_in_row >= FAILING);
            newest = newest.max(state.last_success_at);
        }
    }
    for (verdict, count) in Verdict::ALL.into_iter().zip(counts) {
        m::HOSTS.set(&[verdict.as_str()], count);
    }
    m::HOSTS_FAILING.set(&[], failing);
    let age = newest.map(|newest| (now - newest).to_std().unwrap_or_default().as_secs_f64());
    m::POLL_NEWEST.set_to(&[], age.unwrap_or(-1.0));
    for host in &silent {
        if named.contains(host) || named.len() < MAX_NAMED {
            named.insert(host.clone());
        }
    }
    for host in named.iter() {
        m::HOST_SILENT.set(&[host], silent.contains(host).into());
    }
}

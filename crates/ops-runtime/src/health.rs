//! Whether this process and the site around it can do their work: asked in parallel, each question within three seconds.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use credential_store::{CredentialStore, Unopened};
use heartbeat_store::{Verdict, judge};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use worker_registry::Duty;

use crate::need::{Demand, Needs};
use crate::site::{Site, SiteHandle};

/// Whoever asks about health has a short patience of its own; what hangs is as good as what is down.
const PATIENCE: Duration = Duration::from_secs(3);
/// All but the database is asked at most this often.
const FRESH: Duration = Duration::from_secs(5);
/// Shards change hands when a scheduler comes or goes; longer than this nobody sees to them.
const HANDOVER: Duration = Duration::from_secs(30);
/// Nobody polls any more when the last poll of any host is so many intervals ago, and this beside.
const MISSED_POLLS: u32 = 3;
const POLL_SLACK: Duration = Duration::from_secs(30);
/// A notice that waits for longer reaches nobody.
const STUCK: Duration = Duration::from_secs(900);

/// One question, and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// Whether it is as it should be.
    pub ok: bool,
    /// What an operator should know.
    pub detail: Option<String>,
    /// What was measured.
    #[serde(flatten)]
    pub figures: Map<String, Value>,
}

impl Check {
    fn good(figures: Value) -> Self {
        Self::of(None, figures)
    }

    fn bad(detail: impl Into<String>, figures: Value) -> Self {
        Self::of(Some(detail.into()), figures)
    }

    /// Bad if there is something to be said.
    fn of(problem: Option<String>, figures: Value) -> Self {
        let figures = match figures {
            Value::Object(figures) => figures,
            _ => Map::new(),
        };
        Self {
            ok: problem.is_none(),
            detail: problem,
            figures,
        }
    }

    fn told(mut self, detail: &str) -> Self {
        self.detail = Some(detail.to_owned());
        self
    }
}

/// All answers.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthReport {
    /// How many hosts the catalog has.
    pub hosts_loaded: usize,
    /// Whether the database answers.
    pub database: bool,
    /// By name: `database`, `secrets`, `workers`, `pollers`, `outbox`, `catalog`.
    pub checks: BTreeMap<&'static str, Check>,
    /// For how long this process has run.
    pub uptime: Duration,
}

impl HealthReport {
    /// Whether all is as it should be.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.checks.values().all(|check| check.ok)
    }

    /// The names of what is not.
    pub fn degraded(&self) -> impl Iterator<Item = &'static str> {
        self.checks
            .iter()
            .filter(|(_, check)| !check.ok)
            .map(|(name, _)| *name)
    }
}

/// Asks. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Health {
    handle: SiteHandle,
    started_at: Instant,
    slow: Arc<Mutex<Slow>>,
}

/// The answers that cost more than one small statement.
#[derive(Debug, Default)]
struct Slow {
    asked_at: Option<Instant>,
    checks: BTreeMap<&'static str, Check>,
    /// Since when shards are known to be unserved although a scheduler lives.
    unserved_since: Option<Instant>,
}

impl Health {
    /// Counts the uptime from now on.
    #[must_use]
    pub fn new(handle: &SiteHandle) -> Self {
        Self {
            handle: handle.clone(),
            started_at: Instant::now(),
            slow: Arc::default(),
        }
    }

    /// Asks everything, within about three seconds whatever hangs.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn look(&self) -> HealthReport {
        let mut checks = BTreeMap::new();
        checks.insert("catalog", self.catalog());
        let database = match self.handle.current() {
            None => {
                let down = "the database was not reached yet";
                checks.insert("database", Check::bad(down, json!({"latencyMs": null})));
                false
            }
            Some(site) => {
                let (database, others) = tokio::join!(database(&site), self.slow(&site));
                let up = database.ok;
                checks.insert("database", database);
                checks.extend(others);
                up
            }
        };
        HealthReport {
            hosts_loaded: self.handle.catalog().current().hosts().len(),
            database,
            checks,
            uptime: self.started_at.elapsed(),
        }
    }

    fn catalog(&self) -> Check {
        let state = self.handle.catalog_state();
        let figures = json!({
            "hosts": self.handle.catalog().current().hosts().len(),
            "loadedAt": stamp(state.loaded_at),
            "problems": state.problems,
        });
        let bad = (!state.problems.is_empty())
            .then(|| "the last reload was refused; the hosts are those of before".to_owned());
        Check::of(bad, figures)
    }

    async fn slow(&self, site: &Site) -> BTreeMap<&'static str, Check> {
        let asking = async {
            let mut slow = self.slow.lock().await;
            if slow.asked_at.is_none_or(|at| at.elapsed() >= FRESH) {
                let mut unserved_since = slow.unserved_since;
                let (secrets, workers, pollers, outbox) = tokio::join!(
                    bounded(secrets(site.credentials.store())),
                    bounded(workers(site, &mut unserved_since)),
                    bounded(pollers(site)),
                    bounded(outbox(site)),
                );
                let checks = [
                    ("secrets", secrets),
                    ("workers", workers),
                    ("pollers", pollers),
                    ("outbox", outbox),
                ];
                *slow = Slow {
                    asked_at: Some(Instant::now()),
                    checks: checks.into(),
                    unserved_since,
                };
            }
            slow.checks.clone()
        };
        // Somebody else may be asking just now, who waits no longer than this either.
        timeout(PATIENCE, asking).await.unwrap_or_default()
    }
}

async fn bounded(check: impl Future<Output = Result<Check, String>>) -> Check {
    match timeout(PATIENCE, check).await {
        Ok(Ok(check)) => check,
        Ok(Err(problem)) => Check::bad(problem, Value::Null),
        Err(_) => Check::bad("no answer within 3 s", Value::Null),
    }
}

async fn database(site: &Site) -> Check {
    let began = Instant::now();
    let asked = timeout(PATIENCE, site.database.ping()).await;
    let latency = millis(began.elapsed());
    match asked {
        Ok(Ok(())) => Check::good(json!({"latencyMs": latency})),
        Ok(Err(error)) => {
            tracing::debug!(%error, "health: the database refused");
            Check::bad("the database does not answer", json!({"latencyMs": null}))
        }
        Err(_) => Check::bad("no answer within 3 s", json!({"latencyMs": null})),
    }
}

/// What the database refused is in its log line; whoever asks gets a sentence.
fn unreadable<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> String {
    move |error| {
        tracing::debug!(%error, "health: {what}");
        what.to_owned()
    }
}

/// Whether what is stored can be read: one credential of each key is opened.
async fn secrets(store: &CredentialStore) -> Result<Check, String> {
    let stored = store
        .count()
        .await
        .map_err(unreadable("the stored credentials cannot be counted"))?;
    let has_key = store.ring().is_ok();
    let unopened = match has_key && stored > 0 {
        true => store.probe().await,
        false => Ok(Vec::new()),
    };
    let unopened = unopened.map_err(unreadable("the stored credentials cannot be read"))?;
    let keys: Vec<&str> = unopened.iter().map(|one| one.key_id.as_str()).collect();
    let figures = json!({"keyLoaded": has_key, "storedCredentials": stored, "unreadableKeys": keys});
    let problem = if stored > 0 && !has_key {
        Some("there are stored credentials and no key to read them (OPS_SECRETS_KEY)".to_owned())
    } else {
        unopened.first().map(|one| cannot_be_read(one, unopened.len()))
    };
    Ok(Check::of(problem, figures))
}

/// One example, and for how many keys it stands.
fn cannot_be_read(one: &Unopened, keys: usize) -> String {
    let Unopened { reference, why, .. } = one;
    let others = match keys {
        1 => String::new(),
        more => format!("; {} other keys likewise", more - 1),
    };
    format!("the stored credential {reference} cannot be read: {why} (OPS_SECRETS_KEY){others}")
}

async fn workers(site: &Site, unserved_since: &mut Option<Instant>) -> Result<Check, String> {
    let listed = site
        .workers
        .list()
        .await
        .map_err(unreadable("the workers cannot be listed"))?;
    let read = site.workers.shards(&listed).await;
    let (_, unserved) = read.map_err(unreadable("the shards cannot be read"))?;
    let of_role = |role: &'static str| listed.iter().filter(move |worker| worker.role == role);
    let alive = |role| of_role(role).filter(|worker| worker.alive()).count();
    let (schedulers, apis) = (alive("scheduler"), alive("api"));
    let wanted = |duty: Duty| match duty {
        Duty::Polls => site.settings.poll.enabled,
        Duty::Reservations => site.settings.reservations.enabled,
    };
    let counts = Duty::ALL
        .into_iter()
        .zip(unserved)
        .map(|(duty, unserved)| (duty, unserved.len()));
    let counts: Vec<(Duty, usize)> = counts.collect();
    let missing = counts.iter().any(|(duty, count)| wanted(*duty) && *count > 0);
    let known = of_role("scheduler").next().is_some();
    let since = missing.then(|| unserved_since.unwrap_or_else(Instant::now));
    *unserved_since = since;
    let by_duty: Map<String, Value> = counts
        .iter()
        .map(|(duty, count)| (duty.as_str().to_owned(), json!(count)))
        .collect();
    let figures = json!({"schedulersAlive": schedulers, "apisAlive": apis, "unservedShards": by_duty});
    let needed = Duty::ALL.into_iter().any(wanted);
    Ok(if known && needed && schedulers == 0 {
        Check::bad("no scheduler is alive", figures)
    } else if known && since.is_some_and(|since| since.elapsed() >= HANDOVER) {
        Check::bad("no scheduler sees to some shards of the hosts", figures)
    } else if !known && needed {
        Check::good(figures).told("no scheduler was ever here")
    } else {
        Check::good(figures)
    })
}

async fn pollers(site: &Site) -> Result<Check, String> {
    let states = site.heartbeats.host_states().await;
    let states = states.map_err(unreadable("the hosts' states cannot be read"))?;
    let catalog = site.catalog.current();
    let demand = Demand::read(site, &catalog).await;
    let demand = demand.map_err(unreadable("who needs which host cannot be read"))?;
    let (now, interval) = (site.clock.now(), site.settings.poll.interval);
    let needs = Needs::new(&site.settings, &demand, &catalog, now);
    let (mut success, mut attempt, mut silent) = (None, None, 0);
    for state in &states {
        let Some(host) = catalog.find(&state.host) else {
            continue;
        };
        success = success.max(state.last_success_at);
        attempt = attempt.max(state.last_attempt_at);
        let verdict = judge(Some(state), interval, now, needs.of(&host.name)).verdict;
        silent += u64::from(verdict == Verdict::Silent);
    }
    let age = |at: Option<DateTime<Utc>>| at.map(|at| (now - at).to_std().unwrap_or_default());
    let idle = age(attempt).filter(|_| site.settings.poll.enabled);
    let longest = interval.saturating_mul(MISSED_POLLS).saturating_add(POLL_SLACK);
    let problem = idle
        .filter(|idle| *idle > longest)
        .map(|idle| format!("no host was polled for {} s", idle.as_secs()));
    let figures = json!({
        "enabled": site.settings.poll.enabled,
        "newestSuccessAgeMs": age(success).map(millis),
        "newestPollAgeMs": age(attempt).map(millis),
        "hostsSilent": silent,
    });
    Ok(Check::of(problem, figures))
}

async fn outbox(site: &Site) -> Result<Check, String> {
    let depth = site
        .notices
        .outbox
        .depth()
        .await
        .map_err(unreadable("the outbox cannot be read"))?;
    let problem = (depth.oldest > STUCK).then(|| format!("a notice waits for {} s", depth.oldest.as_secs()));
    let figures = json!({"pending": depth.pending, "dead": depth.dead, "oldestMs": millis(depth.oldest)});
    Ok(Check::of(problem, figures))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn stamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// When the catalog was read, and what was wrong with it when it was last asked to be read again.
#[derive(Debug, Clone)]
pub(crate) struct CatalogState {
    pub(crate) loaded_at: DateTime<Utc>,
    pub(crate) problems: Vec<String>,
}

/// So many problems are shown.
const MAX_PROBLEMS: usize = 20;

/// Shared by all handles of a site.
#[derive(Debug)]
pub(crate) struct CatalogLog(std::sync::Mutex<CatalogState>);

impl CatalogLog {
    pub(crate) fn loaded(at: DateTime<Utc>) -> Self {
        Self(std::sync::Mutex::new(CatalogState {
            loaded_at: at,
            problems: Vec::new(),
        }))
    }

    pub(crate) fn state(&self) -> CatalogState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A reload has ended: with problems the hosts are those of before.
    pub(crate) fn note(&self, at: DateTime<Utc>, problems: impl IntoIterator<Item = String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.problems = problems.into_iter().take(MAX_PROBLEMS).collect();
        if state.problems.is_empty() {
            state.loaded_at = at;
        }
    }
}

#[cfg(test)]
mod tests;

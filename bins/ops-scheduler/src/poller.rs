//! Polls each of this worker's hosts once per interval, hundreds at a time, each with its own deadline and its own
//! place in the interval: one that hangs delays nobody.

mod schedule;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lab_model::{Catalog, Host, HostName};
use notifications::Told;
use ops_runtime::metrics::catalog as m;
use ops_runtime::{Site, SiteHandle};
use station_control::EventsRead;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use worker_registry::{Duty, Ownership, Pulse, Shard, ShardSet};

use crate::poll::poll_host_while;
use schedule::{Schedule, Stay};

/// Longest time until a changed catalog is noticed.
const CATALOG_LOOK: Duration = Duration::from_secs(5);

/// A refused password is offered again only after this time: hosts lock accounts out that keep trying.
const AFTER_REFUSAL: Duration = Duration::from_secs(15 * 60);

/// How long the loop waits for the database to say when hosts were last polled; without it they are polled at once.
const HISTORY_WAIT: Duration = Duration::from_secs(3);

/// What one poll came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Why the heartbeat could not be read.
    failure: Option<&'static str>,
    /// What is odd about the document, such as a newer schema than this release knows.
    warnings: Vec<String>,
}

/// One poll that ended.
struct Ended {
    host: HostName,
    stay: Stay,
    began: Instant,
    outcome: Outcome,
}

pub(crate) async fn run(handle: SiteHandle, mut ownership: Ownership, pulse: Pulse, stop: CancellationToken) {
    let Some(Some(site)) = stop
        .run_until_cancelled(pulse.while_waiting(handle.opened()))
        .await
    else {
        return;
    };
    let settings = site.settings.poll.clone();
    let mut poller = Poller {
        site: Arc::clone(&site),
        schedule: Schedule::default(),
        adopted: None,
        last: HashMap::new(),
    };
    let mut running: JoinSet<Ended> = JoinSet::new();
    tracing::info!(
        hosts = site.catalog.current().hosts().len(),
        interval_secs = settings.interval.as_secs(),
        "polling heartbeats"
    );
    while !stop.is_cancelled() {
        pulse.beat();
        let catalog = site.catalog.current();
        poller.adopt(&catalog, ownership.shards(Duty::Polls)).await;
        let now = Instant::now();
        while running.len() < settings.max_in_flight
            && let Some((name, stay, due_at)) = poller.schedule.take_due(now)
        {
            if let Some(host) = catalog.find(name.as_str()) {
                m::POLL_LATENESS.observe(&[], due_at.elapsed().as_secs_f64());
                let poll = poll_one(Arc::clone(&site), host.clone(), stay, ownership.clone());
                running.spawn(poll);
            }
        }
        let full = running.len() >= settings.max_in_flight;
        let next = poller
            .schedule
            .next_at()
            .filter(|_| !full)
            .unwrap_or(now + CATALOG_LOOK)
            .min(now + CATALOG_LOOK);
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if let Ok(ended) = ended {
                    poller.settle(ended);
                }
            }
            () = ownership.changed() => {}
            () = tokio::time::sleep_until(next) => {}
        }
    }
    // Polls only read: they are dropped where they are, and the connections are closed with the site.
    running.shutdown().await;
}

/// What the loop keeps between two turns.
struct Poller {
    site: Arc<Site>,
    schedule: Schedule,
    /// What the schedule was made from.
    adopted: Option<(Arc<Catalog>, ShardSet)>,
    /// What the last poll of a host came to, so that only changes are worth a line.
    last: HashMap<HostName, Outcome>,
}

impl Poller {
    /// Polls the hosts of these shards from now on, when anything is new about them.
    async fn adopt(&mut self, catalog: &Arc<Catalog>, shards: ShardSet) {
        if let Some((before, held)) = &self.adopted
            && Arc::ptr_eq(before, catalog)
            && *held == shards
        {
            return;
        }
        let ours: Vec<&HostName> = catalog
            .hosts()
            .iter()
            .map(|host| &host.name)
            .filter(|host| shards.contains(Shard::of(host)))
            .collect();
        let new = ours.iter().any(|host| !self.schedule.knows(host));
        let since = if new {
            self.since_last_poll().await
        } else {
            HashMap::new()
        };
        let interval = self.site.settings.poll.interval;
        self.schedule
            .adopt(ours.into_iter(), &since, interval, Instant::now());
        self.last.retain(|host, _| self.schedule.knows(host));
        self.adopted = Some((Arc::clone(catalog), shards));
    }

    /// How long ago each host was polled, by whomever. A time to come is another machine's clock: it says nothing.
    async fn since_last_poll(&self) -> HashMap<HostName, Duration> {
        let Ok(Ok(states)) = timeout(HISTORY_WAIT, self.site.heartbeats.host_states()).await else {
            return HashMap::new();
        };
        let now = self.site.clock.now();
        let since = states.into_iter().filter_map(|state| {
            let since = (now - state.last_attempt_at?).to_std().ok()?;
            Some((HostName::parse(&state.host).ok()?, since))
        });
        since.collect()
    }

    fn settle(&mut self, ended: Ended) {
        let interval = self.site.settings.poll.interval;
        let refused = ended.outcome.failure == Some("unauthorized");
        let wait = if refused {
            interval.max(AFTER_REFUSAL)
        } else {
            interval
        };
        let before = self.last.get(&ended.host).and_then(|before| before.failure);
        if before.is_some() && ended.outcome.failure.is_none() {
            let (host, at) = (ended.host.clone(), self.site.clock.now());
            self.site.notices.teller.tell(Told::HostAnswers { host, at });
        }
        tell_changes(&mut self.last, &ended.host, ended.outcome);
        self.schedule.again(ended.host, ended.stay, wait, ended.began);
    }
}

async fn poll_one(site: Arc<Site>, host: Host, stay: Stay, ownership: Ownership) -> Ended {
    let began = Instant::now();
    tracing::debug!(host.name = %host.name, "poll");
    // What a worker reads that slept in between is for the one to keep that took over.
    let ours = || ownership.owns(Duty::Polls, &host.name);
    let deadline = site.settings.poll.deadline;
    let outcome = match poll_host_while(&site, &host, EventsRead::IfChanged, deadline, ours).await {
        Ok(polled) => Outcome {
            failure: None,
            warnings: polled.reading.heartbeat.warnings,
        },
        Err(error) => Outcome {
            failure: Some(error.code()),
            warnings: Vec::new(),
        },
    };
    let (word, code) = outcome.failure.map_or(("ok", "ok"), |code| ("failed", code));
    m::POLLS.add(&[code], 1);
    m::POLL_DURATION.observe(&[word], began.elapsed().as_secs_f64());
    Ended {
        host: host.name,
        stay,
        began,
        outcome,
    }
}

fn tell_changes(last: &mut HashMap<HostName, Outcome>, host: &HostName, outcome: Outcome) {
    let before = last.get(host);
    match (before.and_then(|before| before.failure), outcome.failure) {
        (before, Some(code)) if before != Some(code) => {
            tracing::info!(host.name = %host, code, "the heartbeat cannot be read");
        }
        (Some(_), None) => tracing::info!(host.name = %host, "the heartbeat can be read again"),
        _ => {}
    }
    let known: &[String] = before.map_or(&[], |before| &before.warnings);
    for warning in outcome.warnings.iter().filter(|warning| !known.contains(warning)) {
        tracing::warn!(host.name = %host, "heartbeat: {warning}");
    }
    last.insert(host.clone(), outcome);
}

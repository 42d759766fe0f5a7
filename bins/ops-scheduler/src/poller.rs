//! Polls every host once per interval, hundreds at a time, each with its own deadline and its own place in the
//! interval: one that hangs delays nobody.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lab_model::{Host, HostName};
use ops_runtime::{Site, SiteHandle};
use rand::RngExt;
use station_control::EventsRead;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::poll::poll_host;

/// Longest time until a changed catalog is noticed.
const CATALOG_LOOK: Duration = Duration::from_secs(5);

/// A refused password is offered again only after this time: hosts lock accounts out that keep trying.
const AFTER_REFUSAL: Duration = Duration::from_secs(15 * 60);

/// When each host is due, and which are being polled.
#[derive(Debug, Default)]
struct Schedule {
    due: BinaryHeap<Reverse<(Instant, HostName)>>,
    known: HashSet<HostName>,
    /// What the last poll of a host came to, so that only changes are worth a line.
    last: HashMap<HostName, Outcome>,
}

/// What one poll came to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Why the heartbeat could not be read.
    failure: Option<&'static str>,
    /// What is odd about the document, such as a newer schema than this release knows.
    warnings: Vec<String>,
}

impl Schedule {
    /// Gives new hosts a random place in the first interval, the first host of all at once.
    fn adopt(&mut self, hosts: &[Host], interval: Duration, now: Instant) {
        let current: HashSet<&HostName> = hosts.iter().map(|host| &host.name).collect();
        self.known.retain(|host| current.contains(host));
        self.last.retain(|host, _| current.contains(host));
        // The contract polls at once after the start: spread over a tenth of the interval is near enough to that.
        let spread = (interval / 10).min(Duration::from_secs(10));
        for host in hosts {
            if self.known.insert(host.name.clone()) {
                let offset = spread.mul_f64(rand::rng().random_range(0.0..1.0));
                self.due.push(Reverse((now + offset, host.name.clone())));
            }
        }
    }

    /// The next host that is due by `now`; hosts that left the catalog are dropped on the way.
    fn take_due(&mut self, now: Instant) -> Option<HostName> {
        while let Some(Reverse((at, _))) = self.due.peek() {
            if *at > now {
                return None;
            }
            let Reverse((_, host)) = self.due.pop()?;
            if self.known.contains(&host) {
                return Some(host);
            }
        }
        None
    }

    fn next_at(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Puts a polled host back, one interval (give or take a twentieth) after its poll began.
    fn again(&mut self, host: HostName, interval: Duration, now: Instant) {
        if self.known.contains(&host) {
            let wait = interval.mul_f64(rand::rng().random_range(0.95..1.05));
            self.due.push(Reverse((now + wait, host)));
        }
    }
}

pub(crate) async fn run(handle: SiteHandle, stop: CancellationToken) {
    let Some(Some(site)) = stop.run_until_cancelled(handle.opened()).await else {
        return;
    };
    let settings = site.settings.poll.clone();
    let mut schedule = Schedule::default();
    let mut running: JoinSet<(HostName, Instant, Outcome)> = JoinSet::new();
    tracing::info!(
        hosts = site.catalog.current().hosts().len(),
        interval_secs = settings.interval.as_secs(),
        "polling heartbeats"
    );
    while !stop.is_cancelled() {
        let catalog = site.catalog.current();
        let now = Instant::now();
        schedule.adopt(catalog.hosts(), settings.interval, now);
        while running.len() < settings.max_in_flight
            && let Some(name) = schedule.take_due(now)
        {
            if let Some(host) = catalog.find(name.as_str()) {
                running.spawn(poll_one(Arc::clone(&site), host.clone(), settings.deadline));
            }
        }
        let full = running.len() >= settings.max_in_flight;
        let next = schedule
            .next_at()
            .filter(|_| !full)
            .unwrap_or(now + CATALOG_LOOK)
            .min(now + CATALOG_LOOK);
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if let Ok((host, started, outcome)) = ended {
                    let refused = outcome.failure == Some("unauthorized");
                    let wait = if refused { settings.interval.max(AFTER_REFUSAL) } else { settings.interval };
                    tell_changes(&mut schedule.last, &host, outcome);
                    schedule.again(host, wait, started);
                }
            }
            () = tokio::time::sleep_until(next) => {}
        }
    }
    // Polls only read: they are dropped where they are, and the connections are closed with the site.
    running.shutdown().await;
}

async fn poll_one(site: Arc<Site>, host: Host, deadline: Duration) -> (HostName, Instant, Outcome) {
    let started = Instant::now();
    let outcome = match poll_host(&site, &host, EventsRead::IfChanged, deadline).await {
        Ok(polled) => Outcome {
            failure: None,
            warnings: polled.reading.heartbeat.warnings,
        },
        Err(error) => Outcome {
            failure: Some(error.code()),
            warnings: Vec::new(),
        },
    };
    (host.name, started, outcome)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Vec<Host> {
        let entries: Vec<_> = names
            .iter()
            .map(|name| serde_json::json!({"name": name, "address": "10.0.0.1", "winrm_user": "u", "winrm_pass": "p"}))
            .collect();
        let text = serde_json::json!({ "hosts": entries }).to_string();
        lab_model::Catalog::parse(&text, &|_| None)
            .unwrap()
            .hosts()
            .to_vec()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn every_host_is_due_once_within_the_first_tenth_of_the_interval() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.adopt(&hosts(&["a", "b", "c"]), MINUTE, now);
        schedule.adopt(&hosts(&["a", "b", "c"]), MINUTE, now);
        let mut due = Vec::new();
        while let Some(host) = schedule.take_due(now + MINUTE / 10) {
            due.push(host.to_string());
        }
        due.sort();
        assert_eq!(due, ["a", "b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_left_the_catalog_is_not_polled_again() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.adopt(&hosts(&["a", "b"]), MINUTE, now);
        schedule.adopt(&hosts(&["b"]), MINUTE, now);
        assert_eq!(
            schedule
                .take_due(now + MINUTE)
                .map(|host| host.to_string())
                .as_deref(),
            Some("b")
        );
        assert_eq!(schedule.take_due(now + MINUTE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_polled_host_is_due_again_about_one_interval_after_it_began() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        schedule.adopt(&hosts(&["a"]), MINUTE, now);
        let host = schedule.take_due(now + MINUTE).unwrap();
        schedule.again(host, MINUTE, now);
        assert_eq!(schedule.take_due(now + MINUTE.mul_f64(0.94)), None);
        assert!(schedule.take_due(now + MINUTE.mul_f64(1.06)).is_some());
    }
}

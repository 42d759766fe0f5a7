//! One look at the hosts that are watched: what others stored is told, and who was not polled in time is polled.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use heartbeat_store::HostState;
use lab_model::{Clock as _, Host, HostName, SystemClock};
use ops_runtime::{Chain, Site};
use station_control::EventsRead;
use tokio::time::Instant;

use super::Inner;
use super::event::{ErrorEvent, HeartbeatAnswer, LivenessEvent, News, Told, at};
use crate::fleet::{HostEntry, Snapshot, UNKNOWN};

/// A refused password is offered again only after this time: hosts lock accounts out that keep trying.
const AFTER_REFUSAL: Duration = Duration::from_secs(15 * 60);

impl Inner {
    /// Gives how long nothing more is due.
    pub(super) async fn pass(self: &Arc<Self>) -> Duration {
        let snapshot = self.fleet.snapshot().await;
        let watched = self
            .lock()
            .watched(snapshot.catalog.hosts().iter().map(|host| &host.name));
        let reports = self.tell_rows(&snapshot, &watched);
        self.tell_reports(reports).await;
        self.poll_due(&snapshot, &watched)
    }

    fn now(&self) -> DateTime<Utc> {
        match self.handle.current() {
            Some(site) => site.clock.now(),
            None => SystemClock.now(),
        }
    }

    /// Tells failures and verdicts that are new; gives the reports that are.
    fn tell_rows(&self, snapshot: &Snapshot, watched: &[HostName]) -> Vec<(HostName, i64, Told)> {
        let now = self.now();
        let mut reports = Vec::new();
        let mut channels = self.lock();
        for host in watched {
            let Some(entry) = snapshot.find(host.as_str()) else {
                if !std::mem::replace(&mut channels.seen(host).gone, true) {
                    channels.publish(host, gone(host, now));
                }
                continue;
            };
            channels.seen(host).gone = false;
            if let Some(state) = &entry.state {
                let seen = *channels.seen(host);
                if let (Some(report_at), Some(id)) = (state.last_success_at, state.last_heartbeat_id)
                    && seen.report_at.is_none_or(|told| report_at > told)
                {
                    reports.push((host.clone(), id, Told::of(state, report_at)));
                }
                if let Some(failure) = new_failure(state, seen.failure_at) {
                    channels.seen(host).failure_at = state.last_attempt_at;
                    channels.publish(host, failure);
                }
            }
            let verdict = entry.view.liveness.verdict;
            let told = channels.seen(host).verdict.replace(verdict);
            // That nothing is known is no change of the host's.
            if told != Some(verdict) && (verdict != UNKNOWN || told.is_none()) {
                channels.publish(host, liveness(entry, now));
            }
        }
        reports
    }

    /// Tells what others read, in one statement for many hosts.
    async fn tell_reports(&self, reports: Vec<(HostName, i64, Told)>) {
        let Some(site) = self.handle.current().filter(|_| !reports.is_empty()) else {
            return;
        };
        let ids: Vec<i64> = reports.iter().map(|(_, id, _)| *id).collect();
        let documents = match site.heartbeats.documents(&ids).await {
            Ok(documents) => documents,
            Err(error) => {
                tracing::debug!(error = %Chain(&error), "reports cannot be read for those who watch");
                return;
            }
        };
        let mut documents: std::collections::HashMap<i64, _> = documents
            .into_iter()
            .map(|document| (document.heartbeat_id, document))
            .collect();
        let mut channels = self.lock();
        for (host, id, told) in reports {
            let seen = channels.seen(&host);
            // A poll of ours may have told it meanwhile.
            if seen.report_at.is_some_and(|last| last >= told.heard_at) {
                continue;
            }
            seen.report_at = Some(told.heard_at);
            if let Some(document) = documents.remove(&id) {
                let answer = HeartbeatAnswer::of_store(&host, told, document);
                channels.publish(&host, News::Heartbeat(answer));
            }
        }
    }

    /// Polls those whom nobody polled within the interval.
    fn poll_due(self: &Arc<Self>, snapshot: &Snapshot, watched: &[HostName]) -> Duration {
        let mut nothing_due = self.interval;
        let now = self.now();
        for host in watched {
            let Some((entry, state)) = snapshot.catalog.find(host.as_str()).zip(Some(
                snapshot.find(host.as_str()).and_then(|entry| entry.state.clone()),
            )) else {
                continue;
            };
            let mut channels = self.lock();
            let seen = channels.seen(host);
            if seen.polling {
                continue;
            }
            let left = self.left(state.as_ref(), seen.polled, now);
            if left.is_zero() {
                seen.polling = true;
                seen.polled = Some(Instant::now());
                drop(channels);
                self.polls.spawn(Arc::clone(self).poll(entry.clone()));
            } else {
                nothing_due = nothing_due.min(left);
            }
        }
        nothing_due
    }

    /// How long until the host has to be polled by us, by what is known of it.
    fn left(&self, state: Option<&HostState>, polled: Option<Instant>, now: DateTime<Utc>) -> Duration {
        let by_us = polled.map_or(Duration::ZERO, |at| self.interval.saturating_sub(at.elapsed()));
        let by_anybody = state.map_or(Duration::ZERO, |state| self.wait_after(state, now));
        by_us.max(by_anybody)
    }

    fn wait_after(&self, state: &HostState, now: DateTime<Utc>) -> Duration {
        let refused = state
            .last_failure
            .as_ref()
            .is_some_and(|failure| failure.code == "unauthorized");
        let pause = if refused {
            self.interval.max(AFTER_REFUSAL)
        } else {
            self.interval
        };
        let since = state.last_attempt_at.and_then(|at| (now - at).to_std().ok());
        since.map_or(Duration::ZERO, |since| pause.saturating_sub(since))
    }

    /// Asks the station, unless somebody else has by now, and tells what it said.
    async fn poll(self: Arc<Self>, host: Host) {
        let polled = self.stop.run_until_cancelled(self.ask(&host)).await;
        let mut channels = self.lock();
        let seen = channels.seen(&host.name);
        seen.polling = false;
        match polled.flatten() {
            Some((News::Heartbeat(answer), read_at)) => {
                seen.report_at = Some(read_at);
                channels.publish(&host.name, News::Heartbeat(answer));
            }
            Some((news, failed_at)) => {
                seen.failure_at = Some(failed_at);
                channels.publish(&host.name, news);
            }
            None => {}
        }
        drop(channels);
        self.wake.notify_one();
    }

    async fn ask(&self, host: &Host) -> Option<(News, DateTime<Utc>)> {
        let site: Arc<Site> = self.handle.current()?;
        // The semaphore is never closed.
        let _place = self.places.acquire().await.ok()?;
        // What is known may be some seconds old: a station is asked once, not once for each process.
        let known = site.database.spare(site.heartbeats.host_state(&host.name));
        if let Ok(Ok(Some(state))) = known.await
            && !self.wait_after(&state, site.clock.now()).is_zero()
        {
            return None;
        }
        let events = if self.lock().wants_events(&host.name) {
            EventsRead::Yes
        } else {
            EventsRead::No
        };
        let deadline = site.settings.poll.deadline;
        match ops_scheduler::poll_host(&site, host, events, deadline).await {
            Ok(polled) => {
                let read_at = polled.reading.observed_at;
                let answer = HeartbeatAnswer::of_poll(host.name.as_str(), polled.reading, polled.persisted);
                Some((News::Heartbeat(answer), read_at))
            }
            Err(error) => {
                let now = site.clock.now();
                let news = ErrorEvent {
                    host: host.name.to_string(),
                    error: error.outline(),
                    code: error.code().to_owned(),
                    at: at(now),
                };
                Some((News::Error(news), now))
            }
        }
    }
}

fn new_failure(state: &HostState, told: Option<DateTime<Utc>>) -> Option<News> {
    let (failure, tried_at) = (state.last_failure.as_ref()?, state.last_attempt_at?);
    if told.is_some_and(|told| told >= tried_at) {
        return None;
    }
    Some(News::Error(ErrorEvent {
        host: state.host.clone(),
        error: failure.text.clone(),
        code: failure.code.clone(),
        at: at(tried_at),
    }))
}

fn gone(host: &HostName, now: DateTime<Utc>) -> News {
    News::Error(ErrorEvent {
        host: host.to_string(),
        error: format!("host '{host}' is no longer in the catalog"),
        code: "unknown_host".to_owned(),
        at: at(now),
    })
}

fn liveness(entry: &HostEntry, now: DateTime<Utc>) -> News {
    let liveness = &entry.view.liveness;
    News::Liveness(LivenessEvent {
        host: entry.view.name.clone(),
        verdict: liveness.verdict,
        reason: liveness.reason.clone(),
        heartbeat_age_ms: liveness.heartbeat_age_ms,
        at: at(now),
    })
}

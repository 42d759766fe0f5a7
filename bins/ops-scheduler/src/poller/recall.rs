//! What the database knows of hosts that a worker takes on: when they were last looked at, how that went, and how far
//! their events were read. Two statements, however many hosts.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::HostState;
use lab_model::HostName;
use labstation_commands::EventCursor;
use ops_runtime::{Chain, Site};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, timeout};

use super::MayBeOff;
use super::breaker::Breaker;
use super::hosts::Cursor;
use super::rest::Refusals;

/// How long is waited for it; without it hosts are taken on as if they were new, and their events are left alone.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same of the states: without them nobody knows which hosts refused the password and must be left alone.
const PATIENCE_FOR_STATES: Duration = Duration::from_secs(10);

/// What is known of one host.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How long ago it was looked at, by whomever.
    pub(super) since: Option<Duration>,
    pub(super) breaker: Breaker,
    pub(super) refusals: Refusals,
    /// After how long it may be looked at, where it must be left alone.
    pub(super) rest: Option<Duration>,
}

/// What is known of many; by their compared names.
#[derive(Default)]
pub(super) struct Recalled {
    pub(super) hosts: Vec<HostName>,
    states: HashMap<String, HostState>,
    /// `None`: the database did not say.
    cursors: Option<HashMap<String, EventCursor>>,
}

/// Tells the answer, also when the task that asks panics: then it is about nobody, and is asked for again.
struct Answer {
    recalled: Recalled,
    tell: Sender<Recalled>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // There is room, since one is asked for at a time; and nobody listens any more only when the loop has ended.
        let _ = self.tell.try_send(std::mem::take(&mut self.recalled));
    }
}

/// Begins to ask; one answer is told, whatever happens.
pub(super) fn begin(asking: impl Future<Output = Recalled> + Send + 'static, tell: Sender<Recalled>) {
    let recalled = Recalled::default();
    let answer = Answer { recalled, tell };
    tokio::spawn(async move {
        let mut answer = answer;
        answer.recalled = asking.await;
        drop(answer);
    });
}

impl Recalled {
    /// Asks the database.
    pub(super) async fn ask(site: Arc<Site>, hosts: Vec<HostName>, mut may_be_off: MayBeOff) -> Self {
        // Before it is known who needs them, hosts that are rightly off would count as failing.
        let _ = timeout(PATIENCE, may_be_off.wait_for(Option::is_some)).await;
        let states = match timeout(PATIENCE_FOR_STATES, site.heartbeats.host_states()).await {
            Ok(Ok(states)) => states
                .into_iter()
                .map(|state| (state.host.clone(), state))
                .collect(),
            _ => HashMap::new(),
        };
        let cursors = cursors(&site, &hosts).await;
        Self {
            hosts,
            states,
            cursors,
        }
    }

    /// What is known of a host, at an instant by both clocks. A time to come is another machine's clock: it says nothing.
    pub(super) fn of(
        &self,
        host: &HostName,
        interval: Duration,
        now: Instant,
        at: chrono::DateTime<chrono::Utc>,
    ) -> Known {
        let Some(state) = self.states.get(host.key()) else {
            return Known::default();
        };
        let since = state.last_attempt_at.and_then(|last| (at - last).to_std().ok());
        let code = state
            .last_failure
            .as_ref()
            .map_or("", |failure| failure.code.as_str());
        let mut refusals = Refusals::default();
        let rest = refusals.recall(state, interval, now, at);
        Known {
            since,
            breaker: Breaker::recalled(state.failures_in_row, code),
            refusals,
            rest,
        }
    }

    pub(super) fn cursor(&self, host: &HostName) -> Cursor {
        match &self.cursors {
            None => Cursor::Unknown,
            Some(cursors) => cursors
                .get(host.key())
                .map_or(Cursor::None, |cursor| Cursor::At(*cursor)),
        }
    }
}

/// How far the events of hosts were read, by their compared names.
pub(super) async fn cursors(site: &Site, hosts: &[HostName]) -> Option<HashMap<String, EventCursor>> {
    match timeout(PATIENCE, site.heartbeats.event_cursors(hosts)).await {
        Ok(Ok(cursors)) => Some(
            cursors
                .into_iter()
                .map(|(host, cursor)| (host.key().to_owned(), cursor))
                .collect(),
        ),
        Ok(Err(error)) => {
            tracing::debug!(error = %Chain(&error), "nobody knows how far the events were read");
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn whoever_asks_is_answered_once_though_the_asking_panics() {
        let (tell, mut told) = mpsc::channel(4);
        let name = HostName::parse("lab-ws-01").unwrap();
        let known = Recalled {
            hosts: vec![name.clone()],
            ..Recalled::default()
        };
        begin(async { known }, tell.clone());
        assert_eq!(told.recv().await.map(|told| told.hosts), Some(vec![name]));
        begin(async { panic!("a row that nobody thought of") }, tell);
        assert_eq!(told.recv().await.map(|told| told.hosts), Some(Vec::new()));
        assert!(told.recv().await.is_none());
    }
}

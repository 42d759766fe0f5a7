//! What the database knows of hosts that a worker takes on: when they were last looked at, how that went, and how far
//! their events were read. Two statements, however many hosts.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::HostState;
use lab_model::HostName;
use labstation_commands::EventCursor;
use ops_runtime::{Chain, Site};
use tokio::time::timeout;

use super::MayBeOff;
use super::breaker::{AFTER_REFUSAL, Breaker};
use super::hosts::Cursor;

/// How long is waited for it; without it hosts are taken on as if they were new, and their events are left alone.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is known of one host.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// How long ago it was looked at, by whomever.
    pub(super) since: Option<Duration>,
    pub(super) breaker: Breaker,
    /// How long it must be left alone.
    pub(super) rest: Option<Duration>,
}

/// What is known of many; by their compared names.
pub(super) struct Recalled {
    pub(super) hosts: Vec<HostName>,
    states: HashMap<String, HostState>,
    /// `None`: the database did not say.
    cursors: Option<HashMap<String, EventCursor>>,
}

impl Recalled {
    /// Asks the database.
    pub(super) async fn ask(site: Arc<Site>, hosts: Vec<HostName>, mut may_be_off: MayBeOff) -> Self {
        // Before it is known who needs them, hosts that are rightly off would count as failing.
        let _ = timeout(PATIENCE, may_be_off.wait_for(Option::is_some)).await;
        let states = match timeout(PATIENCE, site.heartbeats.host_states()).await {
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

    /// What is known of a host. A time to come is another machine's clock: it says nothing.
    pub(super) fn of(&self, host: &HostName, now: chrono::DateTime<chrono::Utc>) -> Known {
        let Some(state) = self.states.get(host.key()) else {
            return Known::default();
        };
        let since = state.last_attempt_at.and_then(|at| (now - at).to_std().ok());
        let code = state
            .last_failure
            .as_ref()
            .map_or("", |failure| failure.code.as_str());
        let rest = since.filter(|_| code == "unauthorized");
        Known {
            since,
            breaker: Breaker::recalled(state.failures_in_row, code),
            rest: rest.and_then(|since| AFTER_REFUSAL.checked_sub(since)),
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

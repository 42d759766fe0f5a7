//! One look at a station in the round of all of them.

use std::time::Duration;

use lab_model::Host;
use labstation_commands::EventCursor;
use tokio::time::Instant;

use crate::control::Inner;
use crate::error::StationError;
use crate::heartbeat::HeartbeatReading;
use crate::links::Link;

/// What a poll is to read beside the heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollAsk {
    /// The events wanted.
    pub events: EventsAsk,
}

/// Which events of the session guard are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsAsk {
    /// None.
    No,
    /// Nothing is known of this host's event file.
    FirstSight {
        /// How far back events are wanted, by the station's clock. Zero begins at the file's end.
        look_back: Duration,
    },
    /// Those after this place.
    From(EventCursor),
}

/// What is kept of a poll's time for its answer when the boot time or the events are slow to come.
const RESERVE: Duration = Duration::from_millis(500);

impl Inner {
    pub(crate) async fn poll(
        &self,
        host: &Host,
        link: &Link,
        ask: PollAsk,
        deadline: Duration,
    ) -> Result<HeartbeatReading, StationError> {
        let started = Instant::now();
        let until = started + deadline;
        let (mut heartbeat, document) = self.read_document(host, link, until).await?;
        let observed_at = self.clock.now();
        link.remember_name(&heartbeat);
        let spare = until - RESERVE.min(deadline / 4);
        let booted_at = self.booted_at_of_new_connection(host, link, spare).await;
        let (events, events_failed) = match self.new_events(host, link, ask.events, &heartbeat, spare).await {
            Ok(events) => (events, None),
            Err(error) => {
                tracing::debug!(host.name = %host.name, error = error.sentence(), "events not read");
                if matches!(error, StationError::EventsTooLong { .. }) {
                    // It stays so until somebody does something about it.
                    let why = error.sentence();
                    heartbeat
                        .warnings
                        .push(format!("its events are not read: {why}, and no curl.exe"));
                }
                (None, Some(error.into()))
            }
        };
        Ok(HeartbeatReading {
            heartbeat,
            document,
            last_event: None,
            events,
            events_failed,
            booted_at,
            duration: started.elapsed(),
            observed_at,
        })
    }

    /// A host that booted has lost its connections, so a connection that stands needs no asking.
    pub(crate) async fn booted_at_of_new_connection(
        &self,
        host: &Host,
        link: &Link,
        until: Instant,
    ) -> Option<chrono::DateTime<chrono::Utc>> {
        let connections = link.stats().connections;
        if link.memory().asked_on.replace(connections) == Some(connections) {
            return None;
        }
        let left = until.saturating_duration_since(Instant::now());
        let facts = self.facts(host, link, left).await;
        let booted_at = facts.ok().flatten().map(|facts| facts.booted_at);
        // Asking may itself have needed a new one.
        let mut memory = link.memory();
        memory.asked_on = Some(link.stats().connections);
        if let Some(booted_at) = booted_at {
            memory.events.booted(booted_at);
        }
        booted_at
    }
}

//! One poll of one host that somebody asked for: read, keep, and say what became of it. It keeps what it read by the same
//! statements as the scheduler's rounds.

use std::time::Duration;

use heartbeat_store::Kept;
use lab_model::Host;
use ops_runtime::{Chain, Site};
use station_control::{EventsRead, HeartbeatReading, StationError};

use crate::poller::visit::record_of;

/// A heartbeat that was read, and whether the database took it.
#[derive(Debug)]
pub struct Polled {
    /// What the station said.
    pub reading: HeartbeatReading,
    /// Whether the database has it: as a row of its own, or as one more report of the document it has already.
    pub persisted: bool,
}

/// Reads a host's heartbeat and keeps it. A failed poll is kept too, with its reason; the last good heartbeat stays.
///
/// # Errors
/// [`StationError`] when the heartbeat could not be read. Trouble of the database is only logged: the caller asked the
/// station, and the station answered.
pub async fn poll_host(
    site: &Site,
    host: &Host,
    events: EventsRead,
    deadline: Duration,
) -> Result<Polled, StationError> {
    let read = site.station.read_heartbeat(&host.name, events, deadline).await;
    // Somebody waits for what the station says, and can do without a row.
    let tell = |problem| tracing::warn!(host.name = %host.name, %problem, "a poll could not be kept");
    match read {
        Ok(mut reading) => {
            let kept = site.database.spare(keep(site, host, &reading)).await;
            let persisted = match kept.map_err(tell) {
                Ok(Some(Kept::SetAside(reason))) => {
                    let problem = format!("kept without the document: {reason}");
                    reading.heartbeat.warnings.push(problem);
                    false
                }
                Ok(Some(_)) => true,
                Ok(None) | Err(()) => false,
            };
            Ok(Polled { reading, persisted })
        }
        Err(error) => {
            let kept = site.database.spare(keep_failure(site, host, &error)).await;
            kept.map_err(tell).unwrap_or_default();
            Err(error)
        }
    }
}

async fn keep_failure(site: &Site, host: &Host, error: &StationError) {
    let now = site.clock.now();
    let text = Chain(error).to_string();
    let recording = site
        .heartbeats
        .record_failure(&host.name, error.code(), &text, now);
    if let Err(refused) = recording.await {
        tracing::warn!(host.name = %host.name, error = %Chain(&refused), "a failed poll could not be recorded");
    }
}

/// What was kept of it; `None` when the database did not take it.
async fn keep(site: &Site, host: &Host, reading: &HeartbeatReading) -> Option<Kept> {
    let record = record_of(host);
    let kept = async {
        let recorded = site
            .heartbeats
            .record(
                &record,
                &reading.heartbeat,
                &reading.document,
                reading.observed_at,
            )
            .await?;
        // Once a scheduler reads the event file from a stored place, it stores each event from there.
        if let Some(event) = &reading.last_event
            && site
                .heartbeats
                .event_cursors(std::slice::from_ref(&host.name))
                .await?
                .is_empty()
        {
            let fallback = reading.heartbeat.reported_at.unwrap_or(reading.observed_at);
            site.heartbeats
                .record_event(&record, event, fallback, reading.observed_at)
                .await?;
        }
        Ok::<_, heartbeat_store::HeartbeatStoreError>(recorded.kept)
    };
    match kept.await {
        Ok(kept) => Some(kept),
        Err(error) => {
            tracing::warn!(host.name = %host.name, error = %Chain(&error), "a heartbeat could not be kept");
            None
        }
    }
}

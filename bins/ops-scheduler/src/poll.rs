//! One poll of one host: read, keep, and say what became of it. The scheduler's loop and the API's route both come
//! through here.

use std::time::Duration;

use heartbeat_store::HostRecord;
use lab_model::Host;
use ops_runtime::{Chain, Site};
use station_control::{EventsRead, HeartbeatReading, StationError};

/// A heartbeat that was read, and whether the database took it.
#[derive(Debug)]
pub struct Polled {
    /// What the station said.
    pub reading: HeartbeatReading,
    /// Whether it is kept.
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
        Ok(reading) => {
            let kept = site.database.spare(keep(site, host, &reading)).await;
            let persisted = kept.map_err(tell).unwrap_or(false);
            Ok(Polled { reading, persisted })
        }
        Err(error) => {
            let kept = site.database.spare(keep_failure(site, host, &error)).await;
            kept.map_err(tell).unwrap_or_default();
            Err(error)
        }
    }
}

/// The same for a scheduler, which waits for the database; what was read is kept only if `ours` says so then.
pub(crate) async fn poll_host_while(
    site: &Site,
    host: &Host,
    events: EventsRead,
    deadline: Duration,
    ours: impl Fn() -> bool,
) -> Result<Polled, StationError> {
    match site.station.read_heartbeat(&host.name, events, deadline).await {
        Ok(reading) => {
            let persisted = ours() && keep(site, host, &reading).await;
            Ok(Polled { reading, persisted })
        }
        Err(error) if !ours() => Err(error),
        Err(error) => {
            keep_failure(site, host, &error).await;
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

async fn keep(site: &Site, host: &Host, reading: &HeartbeatReading) -> bool {
    let record = HostRecord {
        name: host.name.clone(),
        address: host.address.clone(),
        mac: host.wake.mac.map(|mac| mac.to_string()),
    };
    let kept = async {
        site.heartbeats
            .record(
                &record,
                &reading.heartbeat,
                &reading.document,
                reading.observed_at,
            )
            .await?;
        if let Some(event) = &reading.last_event {
            let fallback = reading.heartbeat.reported_at.unwrap_or(reading.observed_at);
            site.heartbeats
                .record_event(&record, event, fallback, reading.observed_at)
                .await?;
        }
        Ok::<_, heartbeat_store::HeartbeatStoreError>(())
    };
    match kept.await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(host.name = %host.name, error = %Chain(&error), "a heartbeat could not be kept");
            false
        }
    }
}

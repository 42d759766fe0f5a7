//! One look at one host, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::{Heard, HostRecord, PollOutcome, PollReport};
use lab_model::{Host, HostName};
use ops_runtime::metrics::catalog as m;
use ops_runtime::{Chain, Site};
use station_control::{EventsAsk, HeartbeatReading, PollAsk, StationError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::breaker::Look;
use super::lanes::Number;

/// What a bare TCP connect may take.
const KNOCK: Duration = Duration::from_secs(2);
/// Beyond its deadline a poll may wait for a stored credential; then it is given up whatever it does.
const CREDENTIAL: Duration = Duration::from_secs(6);

/// What the poller has to know of a host, shared by all looks at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) name: HostName,
    pub(super) record: HostRecord,
    pub(super) watch: bool,
}

impl Target {
    pub(super) fn of(host: &Host) -> Self {
        Self {
            name: host.name.clone(),
            record: record_of(host),
            watch: host.watch,
        }
    }
}

/// What the store keeps of an entry.
pub(crate) fn record_of(host: &Host) -> HostRecord {
    HostRecord {
        name: host.name.clone(),
        address: host.address.clone(),
        mac: host.wake.mac.map(|mac| mac.to_string()),
    }
}

/// What became of a look.
#[derive(Debug)]
pub(super) enum Found {
    /// It reported.
    Heard(Box<HeartbeatReading>),
    /// It did not.
    Failed {
        /// Stable and machine-readable.
        code: &'static str,
        /// One line for people.
        text: String,
    },
    /// The task was ended from outside.
    Dropped,
}

impl Found {
    pub(super) fn of_error(error: &StationError) -> Self {
        Self::Failed {
            code: error.code(),
            text: Chain(error).to_string(),
        }
    }

    /// What the store is told.
    pub(super) fn into_report(self, target: &Target, site: &Site, took: Duration) -> PollReport {
        let (observed_at, outcome) = match self {
            Self::Heard(reading) => (reading.observed_at, heard(*reading)),
            Self::Failed { code, text } => {
                let code = code.to_owned();
                (site.clock.now(), PollOutcome::Failed { code, text })
            }
            Self::Dropped => {
                let (code, text) = ("poll_broke_off".to_owned(), "the poll broke off".to_owned());
                (site.clock.now(), PollOutcome::Failed { code, text })
            }
        };
        report(target, observed_at, outcome, took)
    }

    /// The same for a host that may be off, and is.
    pub(super) fn into_off(self, target: &Target, site: &Site, took: Duration) -> PollReport {
        match self {
            Self::Failed { text, .. } => report(target, site.clock.now(), PollOutcome::Off { text }, took),
            other => other.into_report(target, site, took),
        }
    }
}

fn report(
    target: &Target,
    observed_at: chrono::DateTime<chrono::Utc>,
    outcome: PollOutcome,
    took: Duration,
) -> PollReport {
    PollReport {
        host: target.record.clone(),
        observed_at,
        took,
        outcome,
    }
}

/// A reading as the store takes it.
pub(crate) fn heard(reading: HeartbeatReading) -> PollOutcome {
    PollOutcome::Heard(Box::new(Heard {
        heartbeat: reading.heartbeat,
        document: reading.document,
        events: reading.events,
        booted_at: reading.booted_at,
    }))
}

/// A look that ended, by its number.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) number: Number,
    pub(super) took: Duration,
    pub(super) found: Found,
}

/// Tells that a look ended, also when its task is aborted or panics.
struct Parcel {
    number: Number,
    began: Instant,
    found: Found,
    tell: UnboundedSender<Ended>,
}

impl Drop for Parcel {
    fn drop(&mut self) {
        // Nobody listens any more only when the loop has ended.
        let _ = self.tell.send(Ended {
            number: self.number,
            took: self.began.elapsed(),
            found: std::mem::replace(&mut self.found, Found::Dropped),
        });
    }
}

/// Begins to look at a host; what it comes to is told once, whatever happens.
pub(super) fn begin(
    site: &Arc<Site>,
    target: &Arc<Target>,
    number: Number,
    look: Look,
    events: EventsAsk,
    tell: &UnboundedSender<Ended>,
) -> AbortHandle {
    let (site, target) = (Arc::clone(site), Arc::clone(target));
    let parcel = Parcel {
        number,
        began: Instant::now(),
        found: Found::Dropped,
        tell: tell.clone(),
    };
    let looking = async move {
        let mut parcel = parcel;
        parcel.found = look_at(&site, &target, look, events).await;
        drop(parcel);
    };
    tokio::spawn(looking).abort_handle()
}

async fn look_at(site: &Site, target: &Target, look: Look, events: EventsAsk) -> Found {
    tracing::debug!(host.name = %target.name, "poll");
    let deadline = match look {
        Look::Poll(deadline) => deadline,
        Look::Knock(deadline) => match knock(site, target).await {
            None => deadline,
            Some(closed) => return closed,
        },
    };
    let polling = site.station.poll(&target.name, PollAsk { events }, deadline);
    match timeout(deadline + CREDENTIAL, polling).await {
        Ok(Ok(reading)) => Found::Heard(Box::new(reading)),
        Ok(Err(error)) => Found::of_error(&error),
        Err(_) => Found::Failed {
            code: "deadline_expired",
            text: format!("host {} gave no result within {deadline:?}", target.name),
        },
    }
}

/// `None`: it takes connections.
async fn knock(site: &Site, target: &Target) -> Option<Found> {
    let open = site.station.knock(&target.name, KNOCK).await;
    m::POLL_KNOCKS.add(
        &[if matches!(open, Ok(true)) {
            "open"
        } else {
            "closed"
        }],
        1,
    );
    match open {
        Ok(true) => None,
        Ok(false) => Some(Found::Failed {
            code: "connect",
            text: format!(
                "host {} cannot be reached: nothing takes a connection at its port",
                target.name
            ),
        }),
        Err(error) => Some(Found::of_error(&error)),
    }
}

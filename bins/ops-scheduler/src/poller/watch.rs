//! Watching a host: the station says by itself what changed, and is only polled for safety. Each report is stored before
//! the next is asked for, so a watch holds one report at most and follows the stored place in the event file.

use std::sync::Arc;
use std::time::Duration;

use heartbeat_store::{EventsKept, PollReport, Recorder};
use labstation_commands::EventCursor;
use ops_runtime::{Chain, Site};
use station_control::{EventsAsk, WatchAsk};
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use worker_registry::{Duty, Ownership};

use super::schedule::{HostId, Stay};
use super::visit::{Target, heard};

/// Polls of a watched host are so many intervals apart.
pub(super) const SAFETY: u32 = 5;
/// The longest wait before a watch is tried again, in intervals.
const LONGEST: u32 = 32;

/// A watched station gives a sign of life twice in each interval, within these bounds.
const ALIVE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What a watch brought.
#[derive(Debug)]
pub(super) struct Notice {
    pub(super) host: HostId,
    pub(super) stay: Stay,
    pub(super) news: News,
}

/// What is new.
#[derive(Debug)]
pub(super) enum News {
    /// A report was stored.
    Heard {
        /// How far the events were read.
        cursor: Option<EventCursor>,
        /// What is odd about the document.
        warnings: Vec<String>,
        /// Whether the station told it by itself, rather than being asked when the watch began.
        is_live: bool,
    },
    /// The watch is over.
    Over {
        /// Why, for people.
        why: String,
        /// How far the events are stored, where that is known.
        cursor: Option<EventCursor>,
    },
}

/// What a watch needs.
pub(super) struct Watched {
    pub(super) site: Arc<Site>,
    pub(super) target: Arc<Target>,
    pub(super) host: HostId,
    pub(super) stay: Stay,
    pub(super) events: EventsAsk,
    pub(super) recorder: Recorder,
    pub(super) ownership: Ownership,
    pub(super) tell: Sender<Notice>,
}

/// How long a watch that failed `failures` times in a row is left alone; `dice` is from 0 to 1.
pub(super) fn pause(failures: u32, interval: Duration, dice: f64) -> Duration {
    let intervals = 2_u32.saturating_pow(failures.min(16)).min(LONGEST);
    interval.saturating_mul(intervals).mul_f64(0.75 + dice / 2.0)
}

/// Begins to watch.
pub(super) fn begin(watched: Watched) -> AbortHandle {
    tokio::spawn(async move {
        let (why, cursor) = follow(&watched).await;
        watched.tell(News::Over { why, cursor }).await;
    })
    .abort_handle()
}

impl Watched {
    async fn tell(&self, news: News) {
        let (host, stay) = (self.host, self.stay);
        // Nobody listens any more only when the loop has ended.
        let _ = self.tell.send(Notice { host, stay, news }).await;
    }
}

/// Stores what comes until nothing comes; gives why.
async fn follow(watched: &Watched) -> (String, Option<EventCursor>) {
    let (site, target) = (&watched.site, &watched.target);
    let poll = &site.settings.poll;
    let mut ask = WatchAsk::new(watched.events);
    ask.alive = (poll.interval / 2).clamp(ALIVE[0], ALIVE[1]);
    ask.poll_deadline = poll.deadline;
    // The watch itself notices when a sign of life is missing; this is for when it does not.
    let silence = 3 * ask.alive + ask.first_word + ask.poll_deadline;
    let mut watch = site.station.watch(&target.name, ask);
    loop {
        let reading = match timeout(silence, watch.next()).await {
            Ok(Ok(reading)) => reading,
            Ok(Err(error)) => return (Chain(&error).to_string(), None),
            Err(_) => return (format!("nothing came for {silence:?}"), None),
        };
        if !watched.ownership.owns(Duty::Polls, &target.name) {
            return ("the host is another worker's".to_owned(), None);
        }
        let (warnings, is_live) = (reading.heartbeat.warnings.clone(), watch.is_live());
        let report = PollReport {
            host: target.record.clone(),
            observed_at: reading.observed_at,
            took: Duration::ZERO,
            outcome: heard(reading),
        };
        let stored = match watched.recorder.record(report).await {
            Ok(receipt) => receipt.await.map_err(|error| Chain(&error).to_string()),
            Err(error) => Err(error.to_string()),
        };
        let cursor = match stored {
            Err(why) => return (why, None),
            Ok(recorded) => match recorded.events {
                EventsKept::Stale { cursor } => {
                    return ("somebody else read the events".to_owned(), cursor);
                }
                EventsKept::Stored { to, .. } => Some(to),
                EventsKept::None => None,
            },
        };
        let news = News::Heard {
            cursor,
            warnings,
            is_live,
        };
        watched.tell(news).await;
    }
}

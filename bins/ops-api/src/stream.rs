//! Heartbeats as they come, for any number of viewers: each host is asked once per interval however many watch it, and
//! not at all while a scheduler polls it as often.
//!
//! What is to be sent is written out once and shared. Of each host a bounded number of events is kept, so that who was
//! cut off goes on where it was; a viewer who does not read is let go of.

mod channels;
mod event;
mod pass;
mod viewer;

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use lab_model::HostName;
use ops_runtime::SiteHandle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::fleet::{Fleet, millis};
pub(crate) use channels::Watched;
use channels::{Channels, Joined};
use event::passing;
pub(crate) use event::{DroppedEvent, ErrorEvent, HeartbeatAnswer, HelloEvent, LivenessEvent, ResetEvent};
use viewer::{End, Viewer};

/// Hosts that are asked at the same moment.
const AT_ONCE: usize = 64;
/// What others stored is looked for this often, at the least and at the most.
const LOOK: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(2)];
/// How long events are kept when nobody watches any more: as long as somebody may still come back.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// Events that may wait for a viewer, beside two for each host it watches.
const WAITING: usize = 64;

/// Asks, keeps and tells. Clones share it.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    handle: SiteHandle,
    fleet: Fleet,
    interval: Duration,
    stop: CancellationToken,
    channels: Mutex<Channels>,
    /// Somebody came, or a poll has ended.
    wake: Notify,
    places: Semaphore,
    polls: TaskTracker,
}

/// Who wants to watch what.
#[derive(Debug)]
pub(crate) struct Wish {
    /// Which hosts, all of them in the catalog.
    pub(crate) watched: Watched,
    /// Whether the session guard's events are wanted.
    pub(crate) with_events: bool,
    /// The id of the last event seen before.
    pub(crate) last: Option<String>,
}

impl Hub {
    /// Nothing is asked before somebody watches. Everything ends with `stop`.
    pub(crate) fn new(handle: SiteHandle, fleet: Fleet, stop: CancellationToken) -> Self {
        let interval = handle.settings().api.stream_interval;
        Self(Arc::new(Inner {
            handle,
            fleet,
            interval,
            stop,
            channels: Mutex::new(Channels::new()),
            wake: Notify::new(),
            places: Semaphore::new(AT_ONCE),
            polls: TaskTracker::new(),
        }))
    }

    /// The body of a stream; `place` lives as long as it does.
    pub(crate) fn watch<P: Send + 'static>(&self, wish: &Wish, place: P) -> Body {
        let hosts = match &wish.watched {
            Watched::All => self.0.handle.catalog().current().hosts().len(),
            Watched::These(hosts) => hosts.len(),
        };
        let Joined {
            number,
            viewer,
            first,
            resumed,
        } = {
            let mut channels = self.0.lock();
            let most = WAITING + 2 * hosts;
            let joined = channels.join(&wish.watched, wish.with_events, most, wish.last.as_deref());
            if !std::mem::replace(&mut channels.running, true) {
                tokio::spawn(Arc::clone(&self.0).run());
            }
            joined
        };
        self.0.wake.notify_one();
        if self.0.stop.is_cancelled() {
            viewer.end(End::Stopping);
        }
        let hello = HelloEvent {
            interval_ms: millis(self.0.interval),
            hosts,
            resumed,
        };
        let seat = Seat {
            first: std::iter::once(passing("hello", &hello)).chain(first).collect(),
            viewer,
            number,
            said_goodbye: false,
            hub: Arc::clone(&self.0),
            _place: place,
        };
        Body::from_stream(futures_util::stream::unfold(seat, |mut seat| async move {
            let frame = seat.next().await?;
            Some((Ok::<Bytes, Infallible>(frame), seat))
        }))
    }
}

/// A viewer's end of the stream; it leaves when this is dropped.
struct Seat<P> {
    first: std::collections::VecDeque<Bytes>,
    viewer: Arc<Viewer>,
    number: u64,
    said_goodbye: bool,
    hub: Arc<Inner>,
    _place: P,
}

impl<P> Seat<P> {
    async fn next(&mut self) -> Option<Bytes> {
        match self.first.pop_front() {
            Some(frame) => Some(frame),
            None => self.viewer.frame(&mut self.said_goodbye).await,
        }
    }
}

impl<P> Drop for Seat<P> {
    fn drop(&mut self) {
        self.hub.lock().leave(self.number);
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks and asks while somebody watches; ends some time after the last one left.
    async fn run(self: Arc<Self>) {
        let [shortest, longest] = LOOK;
        let look = (self.interval / 4).clamp(shortest, longest);
        while !self.stop.is_cancelled() {
            let rest = match self.deserted_since() {
                Some(since) if since.elapsed() >= KEPT_FOR => {
                    let mut channels = self.lock();
                    if channels.is_deserted() {
                        channels.clear();
                        return;
                    }
                    continue;
                }
                Some(since) => KEPT_FOR.saturating_sub(since.elapsed()),
                None => match self.stop.run_until_cancelled(self.pass()).await {
                    Some(nothing_due) => nothing_due.clamp(shortest, look),
                    None => break,
                },
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = sleep(rest) => {}
            }
        }
        self.lock().end_all(End::Stopping);
        self.polls.close();
        self.polls.wait().await;
    }

    fn deserted_since(&self) -> Option<Instant> {
        self.lock().deserted
    }
}

/// The host names of a wish, each once.
pub(crate) fn each_once(hosts: Vec<HostName>) -> Vec<HostName> {
    let mut seen = std::collections::HashSet::new();
    hosts
        .into_iter()
        .filter(|host| seen.insert(host.clone()))
        .collect()
}

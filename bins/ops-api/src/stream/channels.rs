//! What was said of each host lately, and who listens: the part of the hub that needs no network.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use lab_model::HostName;
use tokio::time::Instant;
use uuid::Uuid;

use super::event::{Event, Kind, News, ResetEvent, passing};
use super::viewer::{End, Viewer};

/// Events of one host that are kept for those who come back.
const KEPT: usize = 32;
/// And how many bytes of them; the newest of each kind is kept whatever it costs.
const KEPT_BYTES: usize = 128 * 1024;

/// Everything behind the hub's lock.
#[derive(Debug)]
pub(super) struct Channels {
    /// Tells the events of this run of the hub from those of another, or of another process.
    run: String,
    seq: u64,
    next_viewer: u64,
    hosts: HashMap<HostName, Channel>,
    /// Those who watch whatever is in the catalog.
    everywhere: HashMap<u64, Arc<Viewer>>,
    /// When the last viewer left.
    pub(super) deserted: Option<Instant>,
    /// Whether the hub's task runs.
    pub(super) running: bool,
}

/// One host.
#[derive(Debug, Default)]
struct Channel {
    ring: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Up to which number events were let go of.
    forgotten: u64,
    newest: [Option<Arc<Event>>; 3],
    viewers: HashMap<u64, Arc<Viewer>>,
    seen: Seen,
}

/// How far the hub has looked at a host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// When the report was read that was told last.
    pub(super) report_at: Option<DateTime<Utc>>,
    /// When the poll was tried whose failure was told last.
    pub(super) failure_at: Option<DateTime<Utc>>,
    /// The verdict told last.
    pub(super) verdict: Option<&'static str>,
    /// Whether a poll of ours is under way.
    pub(super) polling: bool,
    /// When the last poll of ours began.
    pub(super) polled: Option<Instant>,
    /// Whether it was told that the host is not in the catalog.
    pub(super) gone: bool,
}

/// Whom a viewer watches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Whatever is in the catalog.
    All,
    /// These.
    These(Vec<HostName>),
}

/// What a viewer is given first, and how it is found again.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) number: u64,
    pub(super) viewer: Arc<Viewer>,
    pub(super) first: Vec<Bytes>,
    pub(super) resumed: bool,
}

impl Channels {
    pub(super) fn new() -> Self {
        Self {
            run: Uuid::new_v4().simple().to_string()[..12].to_owned(),
            seq: 0,
            next_viewer: 0,
            hosts: HashMap::new(),
            everywhere: HashMap::new(),
            deserted: None,
            running: false,
        }
    }

    /// Forgets everything; ids of before are not known any more.
    pub(super) fn clear(&mut self) {
        *self = Self {
            next_viewer: self.next_viewer,
            ..Self::new()
        };
    }

    /// Takes a viewer in. With `last`, the id of the last event it saw, it gets what it missed; where that is not known
    /// any more, and without `last`, the newest of each host.
    pub(super) fn join(
        &mut self,
        watched: &Watched,
        with_events: bool,
        most: usize,
        last: Option<&str>,
    ) -> Joined {
        self.next_viewer += 1;
        let number = self.next_viewer;
        let viewer = Arc::new(Viewer::new(with_events, most));
        match watched {
            Watched::All => {
                self.everywhere.insert(number, Arc::clone(&viewer));
            }
            Watched::These(hosts) => {
                for host in hosts {
                    let channel = self.hosts.entry(host.clone()).or_default();
                    channel.viewers.insert(number, Arc::clone(&viewer));
                }
            }
        }
        self.deserted = None;
        let last = last.map(|id| self.place_of(id));
        let channels: Vec<&Channel> = match watched {
            Watched::All => self.hosts.values().collect(),
            Watched::These(hosts) => hosts.iter().filter_map(|host| self.hosts.get(host)).collect(),
        };
        let missed = last
            .flatten()
            .filter(|last| channels.iter().all(|channel| channel.forgotten <= *last));
        let mut events: Vec<&Arc<Event>> = match missed {
            Some(last) => channels
                .iter()
                .flat_map(|channel| channel.ring.iter().filter(|event| event.seq > last))
                .collect(),
            None => channels.iter().flat_map(|channel| channel.newest()).collect(),
        };
        events.sort_by_key(|event| event.seq);
        let mut first = Vec::with_capacity(events.len() + 1);
        if last.is_some() && missed.is_none() {
            let reason = "what was missed is not known any more";
            first.push(passing("reset", &ResetEvent { reason }));
        }
        first.extend(events.into_iter().map(|event| event.frame(with_events)));
        Joined {
            number,
            viewer,
            first,
            resumed: missed.is_some(),
        }
    }

    /// The number in an id of this run; `None` for any other id.
    fn place_of(&self, id: &str) -> Option<u64> {
        let (run, seq) = id.rsplit_once('-')?;
        let seq = seq.parse().ok()?;
        (run == self.run && seq <= self.seq).then_some(seq)
    }

    /// Lets a viewer go.
    pub(super) fn leave(&mut self, number: u64) {
        self.everywhere.remove(&number);
        for channel in self.hosts.values_mut() {
            channel.viewers.remove(&number);
        }
        if self.is_deserted() {
            self.deserted.get_or_insert_with(Instant::now);
        }
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.everywhere.is_empty() && self.hosts.values().all(|channel| channel.viewers.is_empty())
    }

    /// The hosts that somebody watches; `all` are those of the catalog.
    pub(super) fn watched<'a>(&self, all: impl Iterator<Item = &'a HostName>) -> Vec<HostName> {
        let mut watched: HashSet<HostName> = HashSet::new();
        if !self.everywhere.is_empty() {
            watched.extend(all.cloned());
        }
        let named = self
            .hosts
            .iter()
            .filter(|(_, channel)| !channel.viewers.is_empty());
        watched.extend(named.map(|(host, _)| host.clone()));
        watched.into_iter().collect()
    }

    /// Whether anybody who watches the host wants the session guard's events.
    pub(super) fn wants_events(&self, host: &HostName) -> bool {
        let named = self
            .hosts
            .get(host)
            .into_iter()
            .flat_map(|channel| channel.viewers.values());
        named
            .chain(self.everywhere.values())
            .any(|viewer| viewer.with_events)
    }

    pub(super) fn seen(&mut self, host: &HostName) -> &mut Seen {
        &mut self.hosts.entry(host.clone()).or_default().seen
    }

    /// Writes an event out and gives it to everybody who watches the host. Those who were given up are let go of.
    pub(super) fn publish(&mut self, host: &HostName, news: News) {
        self.seq += 1;
        let event = Arc::new(Event::new(&self.run, self.seq, news));
        let channel = self.hosts.entry(host.clone()).or_default();
        channel.keep(Arc::clone(&event));
        let mut over = Vec::new();
        for (number, viewer) in channel.viewers.iter().chain(&self.everywhere) {
            viewer.push(event.frame(viewer.with_events));
            if viewer.is_over() {
                over.push(*number);
            }
        }
        for number in over {
            tracing::info!(
                viewer = number,
                "a viewer of heartbeats reads too slowly and is let go"
            );
            self.leave(number);
        }
    }

    /// Ends all streams.
    pub(super) fn end_all(&mut self, why: End) {
        let named = self.hosts.values().flat_map(|channel| channel.viewers.values());
        for viewer in named.chain(self.everywhere.values()) {
            viewer.end(why);
        }
    }
}

impl Channel {
    fn keep(&mut self, event: Arc<Event>) {
        self.newest[event.kind as usize] = Some(Arc::clone(&event));
        self.bytes += event.bytes();
        self.ring.push_back(event);
        while self.ring.len() > KEPT || (self.bytes > KEPT_BYTES && self.ring.len() > 1) {
            if let Some(old) = self.ring.pop_front() {
                self.bytes -= old.bytes();
                self.forgotten = old.seq;
            }
        }
    }

    /// What describes the host now: a failure only while no report followed it.
    fn newest(&self) -> impl Iterator<Item = &Arc<Event>> {
        let reported = self.newest[Kind::Heartbeat as usize]
            .as_ref()
            .map_or(0, |event| event.seq);
        self.newest
            .iter()
            .flatten()
            .filter(move |event| event.kind != Kind::Error || event.seq > reported)
    }
}

#[cfg(test)]
mod tests;

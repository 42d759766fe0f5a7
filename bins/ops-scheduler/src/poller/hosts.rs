//! The table of the hosts that this worker polls, and what it remembers of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lab_model::{Catalog, HostName, WinrmAccess};
use labstation_commands::EventCursor;
use secrecy::ExposeSecret as _;
use station_control::EventsAsk;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use worker_registry::{Shard, ShardSet};

use super::breaker::Breaker;
use super::rest::Refusals;
use super::schedule::{HostId, Stay};
use super::visit::Target;

/// How far the events of a host were read and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cursor {
    /// The database was not heard: events are left alone until it says.
    Unknown,
    /// Never.
    None,
    /// To here.
    At(EventCursor),
}

impl Cursor {
    /// What is asked for next.
    pub(super) fn ask(self, look_back: Duration) -> EventsAsk {
        match self {
            Self::Unknown => EventsAsk::No,
            Self::None => EventsAsk::FirstSight { look_back },
            Self::At(cursor) => EventsAsk::From(cursor),
        }
    }
}

/// Whether the station reports by itself.
#[derive(Debug, Default)]
pub(super) enum Watching {
    /// No, and it is not wanted, or not yet again.
    #[default]
    No,
    /// A task waits for what it says; `heard` is whether it ever said something by itself.
    Yes { task: AbortHandle, heard: bool },
}

/// What was last said of a host in the log, so that only changes are worth a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Why the heartbeat could not be read.
    pub(super) failure: Option<&'static str>,
    /// What is odd about the document, such as a newer schema than this release knows.
    pub(super) warnings: Vec<String>,
}

/// One host.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) target: Arc<Target>,
    /// `None` until what is known of it was read.
    pub(super) stay: Option<Stay>,
    pub(super) breaker: Breaker,
    pub(super) refusals: Refusals,
    pub(super) cursor: Cursor,
    pub(super) said: Said,
    pub(super) watching: Watching,
    pub(super) watch_failures: u32,
    pub(super) watch_again_at: Option<Instant>,
}

impl Entry {
    fn new(target: Arc<Target>) -> Self {
        Self {
            target,
            stay: None,
            breaker: Breaker::default(),
            refusals: Refusals::default(),
            cursor: Cursor::Unknown,
            said: Said::default(),
            watching: Watching::No,
            watch_failures: 0,
            watch_again_at: None,
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        matches!(self.watching, Watching::Yes { .. })
    }

    /// Whether the watch delivers, so that polls are only for safety.
    pub(super) fn watch_delivers(&self) -> bool {
        matches!(self.watching, Watching::Yes { heard: true, .. })
    }

    /// Takes what its entry in the catalog says now; gives whether the way to the host is another one.
    fn renew(&mut self, target: Target, is_other_account: bool) -> bool {
        let is_renewed = *self.target != target;
        if is_renewed {
            // A watch of the older entry would go on where it leads.
            self.end_watch();
            self.target = Arc::new(target);
        }
        if is_other_account {
            // What refused the other one has not refused this one.
            self.breaker = Breaker::default();
            self.refusals = Refusals::default();
        }
        is_renewed || is_other_account
    }

    pub(super) fn end_watch(&mut self) {
        if let Watching::Yes { task, .. } = std::mem::take(&mut self.watching) {
            task.abort();
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end_watch();
    }
}

fn same_account(a: &WinrmAccess, b: &WinrmAccess) -> bool {
    a.credential == b.credential
        && a.user == b.user
        && a.password.expose_secret() == b.password.expose_secret()
        && a.transport == b.transport
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    by_name: HashMap<String, HostId>,
}

/// What a new catalog or other shards changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) left: Vec<HostId>,
    pub(super) new: Vec<HostName>,
    /// Known ones whose entry now says something else of the way there.
    pub(super) renewed: Vec<(HostId, Stay)>,
}

impl Hosts {
    /// Keeps the hosts of these shards and no others; `before` is the catalog that was adopted last.
    pub(super) fn adopt(&mut self, catalog: &Catalog, shards: ShardSet, before: Option<&Catalog>) -> Changes {
        let mut changes = Changes::default();
        let ours = |name: &HostName| shards.contains(Shard::of(name));
        let gone: Vec<String> = self
            .by_name
            .keys()
            .filter(|key| !catalog.find(key).is_some_and(|host| ours(&host.name)))
            .cloned()
            .collect();
        for key in gone {
            if let Some(id) = self.by_name.remove(&key) {
                self.entries[id.0] = None;
                self.free.push(id.0);
                changes.left.push(id);
            }
        }
        for host in catalog.hosts().iter().filter(|host| ours(&host.name)) {
            let target = Target::of(host);
            match self.by_name.get(host.name.key()) {
                None => {
                    changes.new.push(host.name.clone());
                    self.insert(target);
                }
                Some(id) => {
                    let old = before.and_then(|before| before.find(host.name.key()));
                    let is_other_account = old.is_some_and(|old| !same_account(&old.winrm, &host.winrm));
                    let Some(entry) = self.entries[id.0].as_mut() else {
                        continue;
                    };
                    let is_renewed = entry.renew(target, is_other_account);
                    changes
                        .renewed
                        .extend(entry.stay.filter(|_| is_renewed).map(|stay| (*id, stay)));
                }
            }
        }
        changes
    }

    fn insert(&mut self, target: Target) {
        let key = target.name.key().to_owned();
        let entry = Some(Entry::new(Arc::new(target)));
        let id = match self.free.pop() {
            Some(free) => {
                self.entries[free] = entry;
                HostId(free)
            }
            None => {
                self.entries.push(entry);
                HostId(self.entries.len() - 1)
            }
        };
        self.by_name.insert(key, id);
    }

    pub(super) fn find(&self, name: &HostName) -> Option<HostId> {
        self.by_name.get(name.key()).copied()
    }

    /// The host that `stay` is of.
    pub(super) fn get(&mut self, id: HostId, stay: Stay) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(id.0)?.as_mut()?;
        (entry.stay == Some(stay)).then_some(entry)
    }

    /// Whatever its stay.
    pub(super) fn entry(&mut self, id: HostId) -> Option<&mut Entry> {
        self.entries.get_mut(id.0)?.as_mut()
    }

    /// How many watches there are.
    pub(super) fn watches(&self) -> usize {
        self.all().filter(|entry| entry.is_watched()).count()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// Those that are left alone because they refused the password.
    pub(super) fn resting(&mut self) -> impl Iterator<Item = (HostId, &mut Entry)> {
        let entries = self.entries.iter_mut().enumerate();
        let known = entries.filter_map(|(at, entry)| Some((HostId(at), entry.as_mut()?)));
        known.filter(|(_, entry)| entry.refusals.is_resting())
    }
}

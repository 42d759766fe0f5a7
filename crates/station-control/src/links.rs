//! The standing connections: two clients for each host, and what was learned about it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Host, HostName, WinrmAccess};
use labstation_commands::Heartbeat;
use secrecy::ExposeSecret;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use winrm_transport::{Client, SettingsError, Stats, Trust, TrustStore};

use crate::access::{FileStamps, client_settings};
use crate::error::{Refusal, StationError};
use crate::events::EventsKnown;
use crate::settings::Settings;

/// How long the shells of an entry that changed are given to be deleted.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to one host. A station takes two commands at once: one client carries the commands, the other
/// only looks, so that a look never waits behind a command that blocks for a minute.
#[derive(Debug)]
pub(crate) struct Link {
    address: String,
    access: WinrmAccess,
    files: FileStamps,
    pub(crate) commands: Client,
    pub(crate) looks: Client,
    /// A watch occupies `looks` for as long as it lasts.
    watching: AtomicBool,
    /// Told when this link takes leave: a watch has to end then.
    farewell: watch::Sender<()>,
    memory: Mutex<Memory>,
}

/// What was learned about a host. Gone when its entry changes, and with the process.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory {
    /// The computer's own name, as first seen.
    pub(crate) computer_name: Option<String>,
    /// How far the station's clock is ahead of ours.
    pub(crate) clock_ahead: Option<TimeDelta>,
    /// The forced log-off up to which the events were read.
    pub(crate) events_read_to: Option<DateTime<Utc>>,
    /// The heartbeat was longer than is read.
    pub(crate) heartbeat_too_large: bool,
    /// What polls know of the event file.
    pub(crate) events: EventsKnown,
    /// The connections there had been when the boot time was last asked for.
    pub(crate) asked_on: Option<u64>,
    /// Newer files of the client certificate, which cannot be used.
    refused_files: Option<FileStamps>,
}

impl Link {
    fn open(host: &Host, settings: &Settings, system_roots: &OnceLock<TrustStore>) -> Result<Self, Refusal> {
        // Before they are read: what changes meanwhile is read again.
        let files = FileStamps::of(host);
        let wanted = client_settings(host, settings)?;
        let trust = match (&wanted.trust, host.winrm.use_tls) {
            (_, false) => None,
            (Trust::SystemRoots, true) => Some(shared_roots(system_roots)?),
            (other, true) => Some(TrustStore::load(other)?),
        };
        let commands = match &trust {
            Some(trust) => Client::with_trust(wanted, trust),
            None => Client::new(wanted),
        }?;
        let looks = commands.beside();
        Ok(Self {
            address: host.address.clone(),
            access: host.winrm.clone(),
            files,
            commands,
            looks,
            watching: AtomicBool::new(false),
            farewell: watch::Sender::new(()),
            memory: Mutex::default(),
        })
    }

    fn leads_to(&self, host: &Host) -> bool {
        let (old, new) = (&self.access, &host.winrm);
        // An entry of the catalog itself does not say who a stored credential is for.
        let is_filled_in = new.credential.is_none() || !new.user.is_empty();
        let same_account =
            old.user == new.user && old.password.expose_secret() == new.password.expose_secret();
        self.address == host.address
            && old.credential == new.credential
            && (same_account || !is_filled_in)
            && old.transport == new.transport
            && old.port == new.port
            && old.use_tls == new.use_tls
            && old.trust == new.trust
            && old.tls_server_name == new.tls_server_name
    }

    /// Whether the files of its client certificate are those it was made with, or known to be of no use.
    fn is_up_to_date(&self, host: &Host) -> bool {
        let now = FileStamps::of(host);
        now == self.files || self.memory().refused_files.replace(now) == Some(now)
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For what only looks. While the host is watched, which takes one of the two commands that it takes at once, a look
    /// stands in line with the commands.
    pub(crate) fn looks(&self) -> &Client {
        if self.watching.load(Ordering::Relaxed) {
            &self.commands
        } else {
            &self.looks
        }
    }

    /// Reserves `looks` for a watch; false when there is one.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.watching.swap(true, Ordering::Relaxed)
    }

    /// Changes when this link takes leave.
    pub(crate) fn farewell(&self) -> watch::Receiver<()> {
        self.farewell.subscribe()
    }

    pub(crate) fn end_watch(&self) {
        self.watching.store(false, Ordering::Relaxed);
    }

    pub(crate) fn remember_name(&self, heartbeat: &Heartbeat) {
        if let Some(name) = &heartbeat.host {
            self.memory().computer_name.get_or_insert_with(|| name.clone());
        }
    }

    /// Forgets connections and shells without a word: the host went down, or is about to.
    pub(crate) fn disconnect(&self) {
        self.commands.disconnect();
        self.looks.disconnect();
    }

    /// Deletes the shells and closes the connections.
    pub(crate) async fn close(&self, within: Duration) {
        self.farewell.send_replace(());
        tokio::join!(self.commands.close(within), self.looks.close(within));
    }

    pub(crate) fn stats(&self) -> Stats {
        sum(self.commands.stats(), self.looks.stats())
    }
}

fn sum(a: Stats, b: Stats) -> Stats {
    Stats {
        connections: a.connections + b.connections,
        handshakes: a.handshakes + b.handshakes,
        requests: a.requests + b.requests,
        shells_created: a.shells_created + b.shells_created,
        commands: a.commands + b.commands,
    }
}

/// All links, opened when first needed.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: Mutex<HashMap<HostName, Arc<Link>>>,
    system_roots: OnceLock<TrustStore>,
    farewells: TaskTracker,
    /// What links did that are no longer open.
    retired: Mutex<Stats>,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Arc<Link>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link to a host as its entry is now; one made for an older entry is closed.
    pub(crate) fn to(&self, host: &Host, settings: &Settings) -> Result<Arc<Link>, StationError> {
        let standing = self.find(&host.name).filter(|link| link.leads_to(host));
        if let Some(link) = standing.as_ref().filter(|link| link.is_up_to_date(host)) {
            return Ok(Arc::clone(link));
        }
        // Opened outside the lock: it reads files.
        let opened = match (Link::open(host, settings, &self.system_roots), standing) {
            (Ok(opened), _) => Arc::new(opened),
            // Perhaps one file of two has been replaced so far; the connection that stands goes on meanwhile.
            (Err(why), Some(standing)) => {
                let error = StationError::refused(&host.name, why).sentence();
                tracing::warn!(host.name = %host.name, error, "the new client certificate is not used");
                return Ok(standing);
            }
            (Err(why), None) => return Err(StationError::refused(&host.name, why)),
        };
        let old = {
            let mut open = self.lock();
            match open.get(&host.name) {
                // Somebody else was faster.
                Some(link) if link.leads_to(host) && link.files == opened.files => {
                    return Ok(Arc::clone(link));
                }
                _ => open.insert(host.name.clone(), Arc::clone(&opened)),
            }
        };
        self.dismiss(old);
        Ok(opened)
    }

    /// Lets go of a host that left the catalog.
    pub(crate) fn forget(&self, host: &HostName) {
        let old = self.lock().remove(host);
        self.dismiss(old);
    }

    /// Lets go of every host whose entry is no longer the one its link was made for. A command under way ends on the
    /// link it began on.
    pub(crate) fn retire(&self, entry_of: impl Fn(&HostName) -> Option<Host>) {
        let stale = |host: &HostName, link: &mut Arc<Link>| {
            !entry_of(host).is_some_and(|entry| link.leads_to(&entry))
        };
        let stale: Vec<Arc<Link>> = self.lock().extract_if(stale).map(|(_, link)| link).collect();
        for link in stale {
            self.dismiss(Some(link));
        }
    }

    fn dismiss(&self, old: Option<Arc<Link>>) {
        if let Some(old) = old {
            self.retire_stats(&old);
            self.farewells.spawn(async move { old.close(FAREWELL).await });
        }
    }

    fn retire_stats(&self, link: &Link) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        *retired = sum(*retired, link.stats());
    }

    /// What all links did, those that are closed included. What a link does while it takes leave is not counted, so that
    /// the figures only grow.
    pub(crate) fn totals(&self) -> Stats {
        let open = self.lock();
        let retired = *self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().fold(retired, |all, link| sum(all, link.stats()))
    }

    pub(crate) fn find(&self, host: &HostName) -> Option<Arc<Link>> {
        self.lock().get(host).cloned()
    }

    /// Deletes all shells and closes all connections, within `within`.
    pub(crate) async fn close(&self, within: Duration) {
        let mut closing: JoinSet<()> = JoinSet::new();
        for (_, link) in self.lock().drain() {
            self.retire_stats(&link);
            closing.spawn(async move { link.close(within).await });
        }
        self.farewells.close();
        let all = async {
            while closing.join_next().await.is_some() {}
            self.farewells.wait().await;
        };
        if tokio::time::timeout(within, all).await.is_err() {
            tracing::debug!(
                "some hosts did not take leave in time; their shells end by themselves when idle"
            );
        }
        self.farewells.reopen();
    }
}

fn shared_roots(roots: &OnceLock<TrustStore>) -> Result<TrustStore, SettingsError> {
    if let Some(found) = roots.get() {
        return Ok(found.clone());
    }
    let loaded = TrustStore::load(&Trust::SystemRoots)?;
    Ok(roots.get_or_init(|| loaded).clone())
}

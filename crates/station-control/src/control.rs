//! The handle that callers hold.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lab_model::{Host, HostName, SharedClock};
use reservation_engine::WakeOrder;
use tokio::time::timeout;
use winrm_transport::Stats;
use wol::Pinger;

use crate::adhoc::{AdHocWake, WakeError, WakeRequest};
use crate::catalog::SharedCatalog;
use crate::command::{self, CommandReport};
use crate::credentials::{Credentials, NoCredential, Nowhere};
use crate::error::{Refusal, StationError};
use crate::heartbeat::{EventsRead, HeartbeatReading};
use crate::links::{Link, Links};
use crate::poll::PollAsk;
use crate::settings::Settings;
use crate::wake::{self, WakeReport};
use crate::watch::{Watch, WatchAsk};

/// Nobody waits longer for a credential; it comes from memory or from the database.
const LOOK_UP_WITHIN: Duration = Duration::from_secs(5);

/// Carries out steps on the hosts of a catalog. Cheap to clone; clones share connections and what was learned.
///
/// Each host has at most two commands at once: one that acts (further ones wait in line, within their own
/// deadline) and one that only looks.
#[derive(Clone)]
pub struct StationControl {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share.
pub(crate) struct Inner {
    pub(crate) catalog: SharedCatalog,
    pub(crate) settings: Settings,
    pub(crate) clock: SharedClock,
    pub(crate) links: Links,
    credentials: Arc<dyn Credentials>,
    /// `None` inside: this process may not send ICMP echoes.
    pub(crate) pinger: OnceLock<Option<Pinger>>,
}

impl StationControl {
    /// Takes hold of the hosts of a catalog whose entries say themselves who we are. Nothing is connected before it
    /// is needed.
    pub fn new(catalog: SharedCatalog, settings: Settings, clock: SharedClock) -> Self {
        Self::with_credentials(catalog, settings, clock, Arc::new(Nowhere))
    }

    /// The same for a catalog whose entries name stored credentials.
    pub fn with_credentials(
        catalog: SharedCatalog,
        settings: Settings,
        clock: SharedClock,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        let (links, pinger) = (Links::default(), OnceLock::new());
        Self {
            inner: Arc::new(Inner {
                catalog,
                settings,
                clock,
                links,
                credentials,
                pinger,
            }),
        }
    }

    /// Climbs the wake ladder until the host is ready, within `deadline`. Safe to repeat: a host that is awake
    /// gets no packet.
    ///
    /// # Cancel safety
    /// Cancel safe: at most a packet has left.
    pub async fn wake(&self, host: &HostName, order: &WakeOrder, deadline: Duration) -> WakeReport {
        wake::climb(&self.inner, host, order, deadline).await
    }

    /// Sends magic packets to a bare hardware address and looks whether something answers at a target. Less
    /// than [`StationControl::wake`]: it neither logs on nor knows what a host is.
    ///
    /// # Errors
    /// [`WakeError`] when no packet could be sent. A target that stays silent is no error.
    ///
    /// # Cancel safety
    /// Cancel safe: at most some packets have left.
    pub async fn wake_address(&self, request: WakeRequest) -> Result<AdHocWake, WakeError> {
        self.inner.wake_address(request).await
    }

    /// Runs `<labstation_exe> <command> <args...>` on a host, without any shell in between, and waits for its
    /// end. Without a `deadline` the time is [`Settings::command_deadline`] and what the arguments ask for.
    ///
    /// # Errors
    /// [`StationError`]; [`StationError::effect`] says whether the command may have taken effect all the same.
    /// An exit code that means failure is not an error.
    ///
    /// # Cancel safety
    /// A dropped future terminates the command; what it did by then stays done.
    pub async fn run(
        &self,
        host: &HostName,
        command: &str,
        args: &[String],
        deadline: Option<Duration>,
    ) -> Result<CommandReport, StationError> {
        let (entry, link) = self.inner.host(host).await?;
        let deadline =
            deadline.unwrap_or_else(|| self.inner.settings.command_deadline + command::waits_for(args));
        self.inner
            .run_command(&entry, &link, command, args, deadline)
            .await
    }

    /// Reads the heartbeat of a host, and the last event of its session guard where `events` asks for it.
    ///
    /// In the steady state this is one command on an open shell: three HTTP requests, of which two are waited
    /// for.
    ///
    /// # Errors
    /// [`StationError`]. Trouble with the events alone is no error: the last event is then `None`.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn read_heartbeat(
        &self,
        host: &HostName,
        events: EventsRead,
        deadline: Duration,
    ) -> Result<HeartbeatReading, StationError> {
        let (entry, link) = self.inner.host(host).await?;
        self.inner.read_heartbeat(&entry, &link, events, deadline).await
    }

    /// Reads the heartbeat of a host, and what its event file has had since `ask`, where there may be something.
    ///
    /// In the steady state this is one command on an open shell: three HTTP requests, of which two are waited for. The
    /// event file is looked at with a second command at first sight, when the heartbeat speaks of a log-off that was
    /// not spoken of before, when `ask` is not where the last poll ended, and about once an hour for safety.
    ///
    /// # Errors
    /// [`StationError`]. Trouble with the events alone is no error: see [`HeartbeatReading::events_failed`].
    ///
    /// # Cancel safety
    /// Cancel safe: events that were not handed over are read again.
    pub async fn poll(
        &self,
        host: &HostName,
        ask: PollAsk,
        deadline: Duration,
    ) -> Result<HeartbeatReading, StationError> {
        let (entry, link) = self.inner.host(host).await?;
        self.inner.poll(&entry, &link, ask, deadline).await
    }

    /// Watches a station: see [`Watch::next`]. Nothing is sent before that.
    ///
    /// One PowerShell process runs on the host as long as the watch does, and one request waits there; a change costs two
    /// requests at most. For hosts where a minute is too long and a process is not too much.
    ///
    /// ```no_run
    /// # async fn example(control: station_control::StationControl) -> Result<(), station_control::StationError> {
    /// # let host = lab_model::HostName::parse("lab-ws-01").unwrap();
    /// use std::time::Duration;
    /// use station_control::{EventsAsk, WatchAsk};
    ///
    /// let mut watch = control.watch(&host, WatchAsk::new(EventsAsk::FirstSight { look_back: Duration::ZERO }));
    /// while !watch.is_over() {
    ///     let reading = watch.next().await?;
    ///     println!("{:?} {:?}", reading.heartbeat.ready, reading.events.map(|batch| batch.to));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn watch(&self, host: &HostName, ask: WatchAsk) -> Watch {
        Watch::new(Arc::clone(&self.inner), host.clone(), ask)
    }

    /// Deletes the shells on all hosts and closes all connections, within `within`. They open again when needed.
    pub async fn close(&self, within: Duration) {
        self.inner.links.close(within).await;
    }

    /// Replaces the hosts. Connections that were made for an entry that changed or is gone are closed, so that nothing is
    /// sent any more under what it said; a step under way goes on with the entry it began with.
    pub fn replace_catalog(&self, catalog: lab_model::Catalog) {
        self.inner.catalog.replace(catalog);
        let current = self.inner.catalog.current();
        self.inner
            .links
            .retire(|host| current.find(host.as_str()).cloned());
    }

    /// What the connections to all hosts have done since this was made. Only grows.
    #[must_use]
    pub fn totals(&self) -> Stats {
        self.inner.links.totals()
    }

    /// What the connections to a host have done so far; `None` when there were none since its entry last changed.
    #[must_use]
    pub fn stats(&self, host: &HostName) -> Option<Stats> {
        self.inner.links.find(host).map(|link| link.stats())
    }
}

impl fmt::Debug for StationControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StationControl")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// The entry of a host, with the account that it names filled in, and the link to it.
    pub(crate) async fn host(&self, name: &HostName) -> Result<(Host, Arc<Link>), StationError> {
        let Some(mut entry) = self.catalog.find(name) else {
            self.links.forget(name);
            return Err(StationError::UnknownHost { host: name.clone() });
        };
        self.fill_in(&mut entry).await?;
        let link = self.links.to(&entry, &self.settings)?;
        Ok((entry, link))
    }

    async fn fill_in(&self, entry: &mut Host) -> Result<(), StationError> {
        let Some(reference) = entry.winrm.credential.clone() else {
            return Ok(());
        };
        let found = timeout(LOOK_UP_WITHIN, self.credentials.find(&reference)).await;
        match found.unwrap_or(Err(NoCredential::Unavailable)) {
            Ok(account) => {
                entry.winrm.user = account.user;
                entry.winrm.password = account.password;
                Ok(())
            }
            Err(why) => {
                if why != NoCredential::Unavailable {
                    // A link that was made with what is no longer there must not be used again.
                    self.links.forget(&entry.name);
                }
                Err(StationError::refused(
                    &entry.name,
                    Refusal::Credential { reference, why },
                ))
            }
        }
    }
}

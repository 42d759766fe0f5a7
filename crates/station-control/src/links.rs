//! The standing connections: two clients for each host, and what was learned about it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Host, HostName, Transport, WinrmAccess, WinrmTrust};
use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tokio_util::task::TaskTracker;
use winrm_transport::{
    Account, AllowedNetworks, AuthMethod, Client, Endpoint, Limits, SettingsError, Stats, Timeouts, Trust,
    TrustStore,
};

use crate::error::StationError;
use crate::settings::Settings;

/// How long the shells of an entry that changed are given to be deleted.
const FAREWELL: Duration = Duration::from_secs(2);

/// The way to one host. A station takes two commands at once: one client carries the commands, the other
/// only looks, so that a look never waits behind a command that blocks for a minute.
#[derive(Debug)]
pub(crate) struct Link {
    address: String,
    access: WinrmAccess,
    pub(crate) commands: Client,
    pub(crate) looks: Client,
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
}

impl Link {
    fn open(
        host: &Host,
        settings: &Settings,
        system_roots: &OnceLock<TrustStore>,
    ) -> Result<Self, SettingsError> {
        let wanted = client_settings(host, settings)?;
        let trust = match (&wanted.trust, host.winrm.use_tls) {
            (_, false) => None,
            (Trust::SystemRoots, true) => Some(shared_roots(system_roots)?),
            (other, true) => Some(TrustStore::load(other)?),
        };
        let client = || match &trust {
            Some(trust) => Client::with_trust(wanted.clone(), trust),
            None => Client::new(wanted.clone()),
        };
        Ok(Self {
            address: host.address.clone(),
            access: host.winrm.clone(),
            commands: client()?,
            looks: client()?,
            memory: Mutex::default(),
        })
    }

    fn leads_to(&self, host: &Host) -> bool {
        let (old, new) = (&self.access, &host.winrm);
        self.address == host.address
            && old.user == new.user
            && old.password.expose_secret() == new.password.expose_secret()
            && old.transport == new.transport
            && old.port == new.port
            && old.use_tls == new.use_tls
            && old.trust == new.trust
            && old.tls_server_name == new.tls_server_name
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets connections and shells without a word: the host went down, or is about to.
    pub(crate) fn disconnect(&self) {
        self.commands.disconnect();
        self.looks.disconnect();
    }

    /// Deletes the shells and closes the connections.
    pub(crate) async fn close(&self, within: Duration) {
        tokio::join!(self.commands.close(within), self.looks.close(within));
    }

    pub(crate) fn stats(&self) -> Stats {
        let (a, b) = (self.commands.stats(), self.looks.stats());
        Stats {
            connections: a.connections + b.connections,
            handshakes: a.handshakes + b.handshakes,
            requests: a.requests + b.requests,
            shells_created: a.shells_created + b.shells_created,
            commands: a.commands + b.commands,
        }
    }
}

/// All links, opened when first needed.
#[derive(Debug, Default)]
pub(crate) struct Links {
    open: Mutex<HashMap<HostName, Arc<Link>>>,
    system_roots: OnceLock<TrustStore>,
    farewells: TaskTracker,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Arc<Link>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link to a host as its entry is now; one made for an older entry is closed.
    pub(crate) fn to(&self, host: &Host, settings: &Settings) -> Result<Arc<Link>, StationError> {
        if let Some(link) = self.find(&host.name).filter(|link| link.leads_to(host)) {
            return Ok(link);
        }
        // Opened outside the lock: it reads files.
        let opened = Link::open(host, settings, &self.system_roots);
        let opened = Arc::new(opened.map_err(|why| StationError::refused(&host.name, why))?);
        let old = {
            let mut open = self.lock();
            match open.get(&host.name) {
                // Somebody else was faster.
                Some(link) if link.leads_to(host) => return Ok(Arc::clone(link)),
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

    fn dismiss(&self, old: Option<Arc<Link>>) {
        if let Some(old) = old {
            self.farewells.spawn(async move { old.close(FAREWELL).await });
        }
    }

    pub(crate) fn find(&self, host: &HostName) -> Option<Arc<Link>> {
        self.lock().get(host).cloned()
    }

    /// Deletes all shells and closes all connections, within `within`.
    pub(crate) async fn close(&self, within: Duration) {
        let mut closing: JoinSet<()> = JoinSet::new();
        for (_, link) in self.lock().drain() {
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

fn client_settings(host: &Host, settings: &Settings) -> Result<winrm_transport::Settings, SettingsError> {
    let access = &host.winrm;
    let endpoint = match access.use_tls {
        true => Endpoint::https(&host.address, access.port),
        false => Endpoint::http(&host.address, access.port),
    };
    let account = Account::parse(&access.user, access.password.clone())?;
    let second = Duration::from_secs(1);
    let operation = settings.operation_timeout.clamp(second, 60 * second);
    Ok(winrm_transport::Settings {
        auth: match access.transport {
            Transport::Ntlm => AuthMethod::Ntlm,
            Transport::Negotiate => AuthMethod::Negotiate,
            Transport::Basic => AuthMethod::Basic,
        },
        trust: match &access.trust {
            WinrmTrust::SystemRoots => Trust::SystemRoots,
            WinrmTrust::CaFile(path) => Trust::CaFile(path.clone()),
            WinrmTrust::PinnedSha256(pin) => Trust::PinnedSha256(*pin),
        },
        server_name: access.tls_server_name.clone(),
        allow_insecure_basic: settings.allow_insecure_basic,
        allowed_networks: AllowedNetworks::Only(settings.allowed_networks.clone()),
        timeouts: Timeouts {
            connect: settings.connect_timeout,
            operation,
            answer_grace: settings.read_timeout.saturating_sub(operation).max(second),
            ..Timeouts::default()
        },
        limits: Limits {
            output_bytes: settings.max_output,
            ..Limits::default()
        },
        ..winrm_transport::Settings::new(endpoint, account)
    })
}

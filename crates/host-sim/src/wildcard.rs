//! One listener per port for a whole farm: a host is known by the address that a client spoke to.
//!
//! Inside a network namespace, a route such as `ip route add local 10.50.0.0/16 dev lo` makes 65,000 addresses answer
//! on one listener. A host then costs no descriptor and no task, only its state, until somebody connects to it.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::Identity;
use crate::journal::Journal;

/// How all hosts of a farm share their listeners.
///
/// Their own ports, wake sockets and certificates (except self-signed and expired ones) are then left out: all hosts
/// listen on the ports named here, magic packets reach them by [`crate::FarmOptions::broadcast`] only, and one
/// certificate for `*.<domain>` is shown by all of them. A machine that is off resets connections instead of refusing
/// them.
#[derive(Debug, Clone)]
pub struct Wildcard {
    /// Address the listeners are bound to.
    pub bind: Ipv4Addr,
    /// Port of WinRM over HTTP of all hosts.
    pub http_port: u16,
    /// Port of WinRM over HTTPS of all hosts; `None` for none.
    pub https_port: Option<u16>,
    /// Domain in the certificate: `lab-ws-01` is to be called `lab-ws-01.<domain>`.
    pub domain: String,
    /// Effects kept per host, at least one: the log of a large farm is most of its memory.
    pub effects_kept: usize,
}

impl Default for Wildcard {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::UNSPECIFIED,
            http_port: 5985,
            https_port: Some(5986),
            domain: "sim.test".into(),
            effects_kept: 8,
        }
    }
}

/// Sums over all hosts of a farm since it started, and what is open now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// TCP connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// NTLM handshakes completed.
    pub handshakes: u64,
    /// Credentials refused.
    pub refused_credentials: u64,
    /// HTTP requests read.
    pub requests: u64,
    /// Shells ever created.
    pub shells_created: u64,
    /// Shells open now.
    pub open_shells: u64,
    /// Programs started.
    pub commands: u64,
    /// Of these, commands that name the heartbeat file; counted behind a wildcard listener only.
    pub polls: u64,
}

/// What all hosts behind one wildcard listener share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) journal: Arc<Journal>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) effects_kept: usize,
}

/// What one host behind it has.
pub(crate) struct Behind {
    index: u32,
    shared: Shared,
    /// Its certificate is that of all.
    shows_shared: bool,
    door: Door,
}

impl Behind {
    pub(crate) fn new(index: u32, shared: Shared, shows_shared: bool) -> Self {
        Self {
            index,
            shared,
            shows_shared,
            door: Door::default(),
        }
    }

    pub(crate) fn door(&self) -> &Door {
        &self.door
    }

    pub(crate) fn effects_kept(&self) -> usize {
        self.shared.effects_kept
    }

    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.shows_shared.then_some(&self.shared.identity)
    }

    pub(crate) fn asked(&self, line: &str) {
        self.shared.journal.command(self.index, line);
    }
}

/// By what the connections of a host are ended and waited for.
type WayIn = (CancellationToken, TaskTracker);

/// Whether a machine behind the listener has its ports open.
#[derive(Default)]
pub(crate) struct Door(Mutex<Option<WayIn>>);

impl Door {
    /// Open until `stop`; connections are tasks of `tasks`.
    pub(crate) fn open(&self, stop: CancellationToken, tasks: TaskTracker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((stop, tasks));
    }

    /// `None` while the ports are closed.
    pub(crate) fn way_in(&self) -> Option<WayIn> {
        let door = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        door.as_ref().filter(|(stop, _)| !stop.is_cancelled()).cloned()
    }
}

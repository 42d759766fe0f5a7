//! What happened on a host: the effect log and the counters.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

/// One thing that happened on a host, in the order of happening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effect {
    /// When, by the farm's clock (not the host's, which may be wrong).
    pub at: DateTime<Utc>,
    /// What.
    pub what: EffectKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EffectKind {
    /// A datagram arrived at the wake port.
    MagicPacket {
        /// Whether it was a magic packet for this card, with the right password.
        valid: bool,
        /// Its sender.
        from: SocketAddr,
    },
    /// The machine was switched on.
    PoweredOn {
        /// By what.
        cause: Cause,
    },
    /// The WinRM ports opened.
    PortOpened,
    /// The station became ready.
    Ready,
    /// The machine is off; its ports are closed.
    PoweredOff {
        /// By what.
        cause: Cause,
        /// Whether it hibernates, so that the next start resumes the same boot.
        hibernated: bool,
    },
    /// The machine went down in order to boot again.
    Rebooted {
        /// By what.
        cause: Cause,
    },
    /// A program was started, or a built-in command of `cmd.exe` was run. A line that goes through `cmd.exe` gives one
    /// entry for each of its commands; `cmd.exe` itself has an entry only where the client named it.
    Command {
        /// The program's file, as named.
        program: String,
        /// The command line as the program got it.
        command_line: String,
        /// The command line after splitting, program first.
        argv: Vec<String>,
        /// Shell in which it ran.
        shell_id: String,
        /// Its exit code, once it has ended by itself.
        exit_code: Option<i32>,
    },
    /// The station logged a user off against the user's will.
    ForcedLogoff {
        /// Who.
        user: String,
    },
    /// A user logged on.
    LoggedOn {
        /// Who.
        user: String,
    },
    /// A user was logged off, by a release or by himself.
    LoggedOff {
        /// Who.
        user: String,
    },
}

/// Who or what changed the power of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A valid magic packet.
    MagicPacket,
    /// Somebody at the machine.
    Button,
    /// A command over WinRM.
    Command,
    /// A fault that was switched on.
    Fault,
}

/// Counters of one host since the farm started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// TCP connections accepted.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// TLS handshakes completed.
    pub tls_handshakes: u64,
    /// NTLM handshakes completed (type 3 accepted).
    pub handshakes: u64,
    /// Credentials refused, by whatever scheme.
    pub refused_credentials: u64,
    /// HTTP requests read.
    pub requests: u64,
    /// Shells open now.
    pub open_shells: u64,
    /// Shells ever created.
    pub shells_created: u64,
    /// Programs started over WinRM (Command messages accepted).
    pub commands: u64,
    /// Most commands that ever ran at the same time.
    pub max_commands_at_once: u64,
    /// Valid magic packets for this card.
    pub packets_valid: u64,
    /// Other datagrams at the wake port.
    pub packets_invalid: u64,
}

/// The live counters behind [`Counts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) open_connections: AtomicU64,
    pub(crate) tls_handshakes: AtomicU64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) refused_credentials: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) shells_created: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) max_commands_at_once: AtomicU64,
    pub(crate) packets_valid: AtomicU64,
    pub(crate) packets_invalid: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self, open_shells: u64) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: get(&self.connections),
            open_connections: get(&self.open_connections),
            tls_handshakes: get(&self.tls_handshakes),
            handshakes: get(&self.handshakes),
            refused_credentials: get(&self.refused_credentials),
            requests: get(&self.requests),
            open_shells,
            shells_created: get(&self.shells_created),
            commands: get(&self.commands),
            max_commands_at_once: get(&self.max_commands_at_once),
            packets_valid: get(&self.packets_valid),
            packets_invalid: get(&self.packets_invalid),
        }
    }

    pub(crate) fn command_started(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
        let now = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.max_commands_at_once.fetch_max(now, Ordering::Relaxed);
    }
}

/// Adds one and returns nothing: the counters are read only as a whole.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A counter that is up by one while this lives.
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn up(counter: &'a AtomicU64) -> Self {
        count(counter);
        Self(counter)
    }

    /// Takes over a counter that was already raised.
    pub(crate) fn adopt(counter: &'a AtomicU64) -> Self {
        Self(counter)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Effects kept per host, unless its farm says otherwise: more than a test would ask for, and memory stays bounded.
pub(crate) const LOG_LIMIT: usize = 20_000;

/// The effect log of one host.
#[derive(Debug)]
pub(crate) struct EffectLog {
    limit: usize,
    kept: Mutex<LogInner>,
}

#[derive(Debug, Default)]
struct LogInner {
    entries: std::collections::VecDeque<Effect>,
    /// Number of entries already dropped at the front, so that handles stay valid.
    dropped: u64,
}

impl EffectLog {
    /// A log that keeps the last `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            kept: Mutex::default(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LogInner> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry and returns its handle for [`Self::set_exit_code`].
    pub(crate) fn add(&self, at: DateTime<Utc>, what: EffectKind) -> u64 {
        let mut log = self.lock();
        if log.entries.len() >= self.limit {
            log.entries.pop_front();
            log.dropped += 1;
        }
        log.entries.push_back(Effect { at, what });
        log.dropped + log.entries.len() as u64 - 1
    }

    pub(crate) fn set_exit_code(&self, handle: u64, code: i32) {
        let mut log = self.lock();
        let Some(index) = handle.checked_sub(log.dropped) else {
            return;
        };
        if let Some(Effect {
            what: EffectKind::Command { exit_code, .. },
            ..
        }) = usize::try_from(index).ok().and_then(|i| log.entries.get_mut(i))
        {
            *exit_code = Some(code);
        }
    }

    pub(crate) fn all(&self) -> Vec<Effect> {
        self.lock().entries.iter().cloned().collect()
    }
}

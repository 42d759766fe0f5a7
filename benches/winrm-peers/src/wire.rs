//! What the bench and its child processes say to each other: one JSON document per line on standard input and output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The account of every simulated host.
pub const USER: &str = "LabGatewaySvc";
/// Its password; these hosts guard nothing.
pub const PASSWORD: &str = "Corr3ct-horse";
/// The command that everybody runs.
pub const PROGRAM: &str = r"C:\LabStation\LabStation.exe";
/// Its argument: prints a document of about two kilobytes at once.
pub const ARGUMENT: &str = "status-json";
/// Longest time for one command.
pub const COMMAND_SECS: u64 = 60;

/// Both ways to a host that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// NTLM with sealed bodies.
    Http,
    /// NTLM inside TLS.
    Https,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Http, Self::Https];

    pub fn title(self) -> &'static str {
        match self {
            Self::Http => "HTTP, sealed NTLM",
            Self::Https => "HTTPS, NTLM",
        }
    }
}

/// Said by the farm when it is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FarmReady {
    pub hosts: Vec<HostAddress>,
    pub ca_file: PathBuf,
}

/// Where one host listens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HostAddress {
    pub address: String,
    pub http_port: u16,
    pub https_port: u16,
}

/// Sums over all hosts of the farm, since it started.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct FarmCounts {
    pub connections: u64,
    pub handshakes: u64,
    pub requests: u64,
    pub commands: u64,
    /// Now, not since the start.
    pub open_connections: u64,
}

impl FarmCounts {
    pub fn since(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            handshakes: self.handshakes - earlier.handshakes,
            requests: self.requests - earlier.requests,
            commands: self.commands - earlier.commands,
            open_connections: self.open_connections,
        }
    }
}

/// First line to a client process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    pub transport: Transport,
    pub hosts: Vec<HostAddress>,
    pub ca_file: PathBuf,
}

/// One thing to do, for a client process. Answered with a [`Report`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase")]
pub enum Phase {
    /// One command with a new client on each of the hosts, one after the other.
    First { from: usize, to: usize },
    /// Opens a session on each of the first `hosts` hosts that has none, by running one command.
    Open { hosts: usize, at_once: usize },
    /// `commands` commands on each of the first `hosts` open sessions, all hosts at once.
    Run {
        hosts: usize,
        commands: usize,
        pause_ms: u64,
    },
    /// Closes all sessions, with all shells.
    Close,
}

/// What a phase came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub completed: u64,
    pub failed: u64,
    pub first_error: Option<String>,
    pub wall_secs: f64,
    /// User and system time of the whole client process.
    pub cpu_secs: f64,
    /// Of the completed commands.
    pub p50_ms: f64,
    /// Resident memory of the client process at the end of the phase.
    pub rss_kib: u64,
}

impl Setup {
    /// The port of the transport; the same for all hosts.
    pub fn port(&self) -> u16 {
        let port = |host: &HostAddress| match self.transport {
            Transport::Http => host.http_port,
            Transport::Https => host.https_port,
        };
        self.hosts.first().map_or(0, port)
    }
}

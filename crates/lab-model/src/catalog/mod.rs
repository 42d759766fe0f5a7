//! The hosts an operator wrote down, checked as a whole before anything is done to any of them.

mod entry;
mod keys;
mod parse;
#[cfg(test)]
mod tests;
mod winrm;

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::{Map, Value};
use wol::{MacAddr, SecureOn};

use crate::{CredentialRef, HostName, LabId};

pub use keys::{CATALOG_KEYS, CatalogKey, KeyKind, TRANSPORT_WORDS, catalog_table};

/// Where the station's program lies unless `labstation_exe` says otherwise.
pub const DEFAULT_LABSTATION_EXE: &str = r"C:\LabStation\LabStation.exe";
/// Where the heartbeat lies unless `heartbeat_path` says otherwise.
pub const DEFAULT_HEARTBEAT_PATH: &str = r"C:\LabStation\labstation\data\telemetry\heartbeat.json";
/// Where the session guard's events lie unless `events_path` says otherwise.
pub const DEFAULT_EVENTS_PATH: &str = r"C:\LabStation\labstation\data\telemetry\session-guard-events.jsonl";

/// How we prove who we are to WinRM; the words are those of the older inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `ntlm`: NTLMv2 on the connection; over plain HTTP every body is sealed.
    Ntlm,
    /// `negotiate`: the same proof, offered through SPNEGO.
    Negotiate,
    /// `basic`, `plaintext` and `ssl`: user and password in each request.
    Basic,
    /// `kerberos`: a ticket of the account's domain; over plain HTTP every body is sealed.
    Kerberos(KerberosAccess),
    /// `certificate`: a TLS client certificate that the host maps to one of its local accounts.
    Certificate(CertificateFiles),
}

impl Transport {
    /// The word for it; `basic` for all that mean the same.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ntlm => "ntlm",
            Self::Negotiate => "negotiate",
            Self::Basic => "basic",
            Self::Kerberos(_) => "kerberos",
            Self::Certificate(_) => "certificate",
        }
    }
}

/// Where tickets come from, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KerberosAccess {
    /// The account's realm, unless the account says it itself (`user@REALM`, `REALM\user`).
    pub realm: Option<String>,
    /// The KDCs of the realm as `host`, `host:port` or `[ipv6]:port`, at most 8. Empty: as `krb5.conf` says.
    pub kdcs: Vec<String>,
    /// The host's name in its service `HTTP/<name>`, when it is neither the name to verify nor the address.
    pub service_host: Option<String>,
}

/// A client certificate and its key, both PEM; may be one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, followed by intermediate ones if there are any.
    pub certificate: PathBuf,
    /// The key, not encrypted.
    pub key: PathBuf,
}

/// Whom we believe to be the host when TLS is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WinrmTrust {
    /// The machine's own list of authorities.
    SystemRoots,
    /// Authorities, or the host's own exported certificate, in a PEM file.
    CaFile(PathBuf),
    /// The SHA-256 of the host's certificate; the name is then not looked at.
    PinnedSha256([u8; 32]),
}

/// What the text of a secret key refers to, when it is not the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretRef<'a> {
    /// `env:NAME`.
    Variable(&'a str),
    /// `file:/path`.
    File(&'a str),
}

impl<'a> SecretRef<'a> {
    /// Reads a reference; `None` for the text of a secret.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(name) = text.strip_prefix("env:") {
            return Some(Self::Variable(name.trim()));
        }
        let path = text.strip_prefix("file:")?;
        // A password may begin with `file:`, but hardly with the whole of a path.
        path.starts_with('/').then_some(Self::File(path))
    }
}

impl fmt::Display for SecretRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::File(path) => write!(f, "the file {path}"),
        }
    }
}

/// How WinRM on a host is reached.
#[derive(Debug, Clone)]
pub struct WinrmAccess {
    /// The stored credential to use; [`user`](Self::user) and [`password`](Self::password) are empty then.
    pub credential: Option<CredentialRef>,
    /// `DOMAIN\user`, `user@realm` or `user`. May be empty with [`Transport::Certificate`].
    pub user: String,
    /// Never shown, not even by `Debug`. Empty with [`Transport::Certificate`].
    pub password: SecretString,
    /// How the account is proved.
    pub transport: Transport,
    /// 5985, or 5986 with TLS, unless the entry says otherwise.
    pub port: u16,
    /// Whether the connection is TLS.
    pub use_tls: bool,
    /// Whom to believe, with TLS.
    pub trust: WinrmTrust,
    /// The name to verify when it is not the address, as for an IP.
    pub tls_server_name: Option<String>,
}

/// How a host is woken.
#[derive(Debug, Clone)]
pub struct WakeAccess {
    /// The card that listens for the magic packet; without it the host cannot be woken.
    pub mac: Option<MacAddr>,
    /// Where the packet is sent.
    pub broadcast: Ipv4Addr,
    /// UDP port of the packet.
    pub port: u16,
    /// How many packets a wake may send.
    pub attempts: u32,
    /// The interface the packet leaves by, when the routing table would choose wrongly.
    pub interface: Option<String>,
    /// The source address the packet is sent from.
    pub source: Option<Ipv4Addr>,
    /// The card's SecureOn password.
    pub secure_on: Option<SecureOn>,
}

/// One entry of the catalog.
#[derive(Debug, Clone)]
pub struct Host {
    /// Unique, whatever the case.
    pub name: HostName,
    /// DNS name or IP address.
    pub address: String,
    /// Remote commands.
    pub winrm: WinrmAccess,
    /// Wake-on-LAN.
    pub wake: WakeAccess,
    /// What is probed to see whether the host is up; the address unless the entry says otherwise.
    pub ping_target: String,
    /// The station's program; whether the path is safe to send is for those to check who send it.
    pub labstation_exe: String,
    /// The heartbeat document.
    pub heartbeat_path: String,
    /// The session guard's events.
    pub events_path: String,
    /// Whether the station is asked to report changes by itself, over one request that is held, instead of being polled.
    pub watch: bool,
    /// The labs this host serves.
    pub labs: Vec<LabId>,
    /// Keys this release does not know, kept as they were.
    pub extra: Map<String, Value>,
}

/// All hosts, in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    hosts: Vec<Host>,
    by_name: HashMap<String, usize>,
    warnings: Vec<Problem>,
}

impl Catalog {
    /// Reads the text of `hosts.json`. `env` resolves the `env:NAME` form of secrets; the form `file:/path` is
    /// refused.
    ///
    /// # Errors
    /// As [`Catalog::parse_with`].
    pub fn parse(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, CatalogError> {
        Self::parse_with(text, &|reference| match reference {
            SecretRef::Variable(name) => env(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| format!("{reference} is not set or empty")),
            SecretRef::File(_) => Err(format!("{reference} is not read here")),
        })
    }

    /// Reads the text of `hosts.json`. `resolve` gives the secrets that it refers to, or what is wrong with them.
    ///
    /// # Errors
    /// [`CatalogError`] lists *every* problem, each with the host and the key it is about.
    pub fn parse_with(
        text: &str,
        resolve: &dyn Fn(SecretRef<'_>) -> Result<String, String>,
    ) -> Result<Self, CatalogError> {
        parse::catalog(text, resolve)
    }

    fn from_hosts(hosts: Vec<Host>, warnings: Vec<Problem>) -> Self {
        let by_name = hosts
            .iter()
            .enumerate()
            .map(|(at, host)| (host.name.key().to_owned(), at))
            .collect();
        Self {
            hosts,
            by_name,
            warnings,
        }
    }

    /// All hosts, in the order of the file.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Keys that look like slips of the pen; keys that begin with `//` or `_comment`, and `$schema`, are comments.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// The host of that name, whatever its case.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Host> {
        self.by_name
            .get(&name.trim().to_lowercase())
            .map(|&at| &self.hosts[at])
    }

    /// The first host of the file that serves `lab`.
    #[must_use]
    pub fn host_for_lab(&self, lab: &LabId) -> Option<&Host> {
        self.hosts.iter().find(|host| host.labs.contains(lab))
    }
}

impl Host {
    /// What may be shown of the entry: the known keys without secrets, and unknown ones unless they look secret.
    #[must_use]
    pub fn public_view(&self) -> Value {
        entry::public_view(self)
    }
}

/// One thing that is wrong with the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which entry: the host's name, or its position when it has none. Empty: the file as a whole.
    pub host: String,
    /// Which key of the entry; empty when the entry as a whole is meant.
    pub key: String,
    /// What is wrong, without the value of any secret.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.is_empty(), self.key.is_empty()) {
            (true, true) => write!(f, "{}", self.message),
            (true, false) => write!(f, "{}: {}", self.key, self.message),
            (false, true) => write!(f, "host {:?}: {}", self.host, self.message),
            (false, false) => write!(f, "host {:?}, key {:?}: {}", self.host, self.key, self.message),
        }
    }
}

/// The catalog is refused as a whole.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct CatalogError {
    /// Everything that is wrong, in the order of the file.
    pub problems: Vec<Problem>,
    /// The entries that are right by themselves, so that whoever has more to check can name all of it at once.
    pub readable: Vec<Host>,
}

//! What can go wrong on a host, by what the caller does next.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::credentials::NoCredential;
use lab_model::{CredentialRef, HostName};
use labstation_commands::{HeartbeatError, LineError, PathError};
use reservation_engine::Reason;
use winrm_transport::{CommandRefused, Effect, Error, KerberosRefusal, SettingsError, Stage, TlsError};

/// Why something was refused here, before anything was sent.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The words of the command cannot be sent, or not safely. Fix the request.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The transport would not send the command line. Fix the request.
    #[error(transparent)]
    Command(#[from] CommandRefused),
    /// The path of the file cannot be sent. Fix the catalog.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The entry of the catalog makes no usable connection. Fix the catalog.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file of the client certificate cannot be read. Fix the catalog or the file.
    #[error("cannot read {}", file.display())]
    KeyFile {
        /// The key of the catalog that names it.
        key: &'static str,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files of the client certificate were read, but cannot be used. Fix the files.
    #[error("certificate {} with key {}", certificate.display(), key.display())]
    KeyPair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of its key.
        key: PathBuf,
        /// Why.
        #[source]
        source: Box<SettingsError>,
    },
    /// The entry names a stored credential, and there is none to use. Store it, or fix the keys.
    #[error("its credential {reference} {why}")]
    Credential {
        /// The name.
        reference: CredentialRef,
        /// Why.
        why: NoCredential,
    },
    /// An address of the host is outside the allowed networks. Fix the catalog or the list of networks.
    #[error("its address {address} is not in an allowed network")]
    AddressNotAllowed {
        /// The address.
        address: IpAddr,
    },
    /// This process watches the host already, and once is enough.
    #[error("it is being watched already")]
    Watched,
    /// Basic over plain HTTP would show the password to everybody on the way.
    #[error("basic authentication over plain http is not allowed")]
    InsecureBasic,
}

/// What went wrong on one host. Display names the host; no variant holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum StationError {
    /// The catalog has no host of that name.
    #[error("host {host} is not in the catalog")]
    UnknownHost {
        /// As asked for.
        host: HostName,
    },
    /// Nothing was sent, because it must not be or cannot be.
    #[error("host {host}: refused")]
    Refused {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        why: Refusal,
    },
    /// The host does not answer on its WinRM port: asleep, off, starting, or in the way of a firewall.
    #[error("host {host} cannot be reached")]
    Connect {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// Somebody answers who cannot prove to be the host; no credential was sent.
    #[error("host {host} cannot prove who it is")]
    Tls {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The host refuses the account's name or password. Do not retry: accounts get locked out.
    #[error("host {host} refuses the credentials")]
    Unauthorized {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The host knows the account but does not let it in.
    #[error("host {host} denies access to the account")]
    AccessDenied {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// The domain gives no ticket for the host, or the host does not take it: a KDC that is silent, a name, a clock
    /// or a key. The host was connected to before.
    #[error("host {host}: no way in by kerberos")]
    Kerberos {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        source: Box<Error>,
    },
    /// No result in the time there was.
    #[error("host {host} gave no result within {waited:?}")]
    TimedOut {
        /// Which host.
        host: HostName,
        /// How long was waited.
        waited: Duration,
        /// What was going on.
        during: Stage,
        /// What may have happened on the host.
        effect: Effect,
    },
    /// The connection broke in the middle, or the host never said how the command ended.
    #[error("host {host}: the connection was lost")]
    Lost {
        /// Which host.
        host: HostName,
        /// What may have happened on the host.
        effect: Effect,
        /// Why; `None` when the host ended the command without an exit code.
        #[source]
        source: Option<Box<Error>>,
    },
    /// The host answered, but not with what was asked for: busy, a fault, a protocol violation.
    #[error("host {host} answered with an error")]
    Fault {
        /// Which host.
        host: HostName,
        /// What.
        #[source]
        source: Box<Error>,
    },
    /// The file is not there, or is locked for longer than a moment.
    #[error("host {host} has no readable file {path}")]
    FileMissing {
        /// Which host.
        host: HostName,
        /// The file's path on the host.
        path: String,
    },
    /// The event file is longer than can be read from a host without `curl.exe`. Shorten it on the host.
    #[error("host {host} has more than {limit} bytes in {path}")]
    EventsTooLong {
        /// Which host.
        host: HostName,
        /// The file's path on the host.
        path: String,
        /// Bytes that are read at most.
        limit: usize,
    },
    /// The watch came to an end, or lost its place. Poll the host, and watch it anew.
    #[error("the watch of host {host} ended")]
    WatchEnded {
        /// Which host.
        host: HostName,
    },
    /// The host cannot be watched: its PowerShell may not run, or said nothing. Poll it instead.
    #[error("host {host} cannot be watched")]
    WatchUnsupported {
        /// Which host.
        host: HostName,
        /// How the script ended, if it did.
        exit_code: Option<i32>,
    },
    /// The heartbeat is no JSON document of the expected kind.
    #[error("host {host}: the heartbeat cannot be read")]
    HeartbeatUnreadable {
        /// Which host.
        host: HostName,
        /// Why.
        #[source]
        source: HeartbeatError,
    },
}

impl StationError {
    pub(crate) fn refused(host: &HostName, why: impl Into<Refusal>) -> Self {
        Self::Refused {
            host: host.clone(),
            why: why.into(),
        }
    }

    /// Sorts an error of the transport by what the caller does next, and counts it.
    pub(crate) fn from_transport(host: &HostName, error: Error) -> Self {
        let sorted = Self::sorted(host, error);
        crate::faults::count(sorted.code());
        sorted
    }

    fn sorted(host: &HostName, error: Error) -> Self {
        let effect = error.effect();
        let host = host.clone();
        let source = match error {
            Error::CommandRefused(why) => {
                return Self::Refused {
                    host,
                    why: why.into(),
                };
            }
            Error::InsecureBasicRefused => {
                return Self::Refused {
                    host,
                    why: Refusal::InsecureBasic,
                };
            }
            Error::AddressNotAllowed { address } => {
                return Self::Refused {
                    host,
                    why: Refusal::AddressNotAllowed {
                        address: address.ip(),
                    },
                };
            }
            Error::DeadlineExpired { waited, during, .. } => {
                return Self::TimedOut {
                    host,
                    waited,
                    during,
                    effect,
                };
            }
            other => Box::new(other),
        };
        match *source {
            Error::Resolve { .. } | Error::Connect { .. } => Self::Connect { host, source },
            Error::Tls { .. } => Self::Tls { host, source },
            Error::Unauthorized { .. } => Self::Unauthorized { host, source },
            Error::AccessDenied { .. } => Self::AccessDenied { host, source },
            Error::Kerberos { .. } => Self::Kerberos { host, source },
            Error::ConnectionLost { .. } | Error::ShellGone { .. } => Self::Lost {
                host,
                effect,
                source: Some(source),
            },
            _ => Self::Fault { host, source },
        }
    }

    /// A stable name for machines: stored reasons, metrics, HTTP answers.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownHost { .. } => "unknown_host",
            Self::Refused { why, .. } => match why {
                Refusal::Line(_) | Refusal::Command(_) => "command_refused",
                Refusal::Path(_) => "path_refused",
                Refusal::Settings(_) | Refusal::KeyFile { .. } | Refusal::KeyPair { .. } => {
                    "settings_refused"
                }
                Refusal::Credential { why, .. } => match why {
                    NoCredential::Missing => "credential_missing",
                    NoCredential::NoKey => "secrets_key_missing",
                    NoCredential::Unreadable(_) => "credential_unreadable",
                    NoCredential::Unavailable => "credential_unavailable",
                },
                Refusal::AddressNotAllowed { .. } => "address_not_allowed",
                Refusal::Watched => "watched_already",
                Refusal::InsecureBasic => "insecure_basic_refused",
            },
            Self::Connect { source, .. }
            | Self::Tls { source, .. }
            | Self::Unauthorized { source, .. }
            | Self::AccessDenied { source, .. }
            | Self::Kerberos { source, .. }
            | Self::Fault { source, .. } => source.code(),
            Self::TimedOut { .. } => "deadline_expired",
            Self::Lost {
                source: Some(source), ..
            } => source.code(),
            Self::Lost { source: None, .. } => "no_exit_code",
            Self::FileMissing { .. } => "file_missing",
            Self::EventsTooLong { .. } => "events_too_long",
            Self::WatchEnded { .. } => "watch_ended",
            Self::WatchUnsupported { .. } => "watch_unsupported",
            Self::HeartbeatUnreadable { .. } => "heartbeat_unreadable",
        }
    }

    /// What may have happened on the host. [`Effect::Unknown`] is settled by looking, never by sending again.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::UnknownHost { .. } | Self::Refused { .. } | Self::Connect { .. } | Self::Tls { .. } => {
                Effect::None
            }
            Self::Unauthorized { source, .. }
            | Self::AccessDenied { source, .. }
            | Self::Kerberos { source, .. }
            | Self::Fault { source, .. } => source.effect(),
            Self::TimedOut { effect, .. } | Self::Lost { effect, .. } => *effect,
            Self::WatchEnded { .. } | Self::WatchUnsupported { .. } => Effect::None,
            // Reading changes nothing.
            Self::FileMissing { .. } | Self::EventsTooLong { .. } | Self::HeartbeatUnreadable { .. } => {
                Effect::None
            }
        }
    }

    /// Whether the host (or the way to it) is at fault, rather than the request or our own settings.
    #[must_use]
    pub fn is_host_problem(&self) -> bool {
        !matches!(
            self,
            Self::UnknownHost { .. } | Self::Refused { .. } | Self::WatchEnded { .. }
        )
    }

    /// Whether something that speaks WinRM, or at least HTTP, answered at the host's address. A silent KDC says
    /// nothing of the host, except that its port was open.
    pub(crate) fn was_answered(&self) -> bool {
        match self {
            Self::UnknownHost { .. } | Self::Refused { .. } | Self::Connect { .. } | Self::Tls { .. } => {
                false
            }
            Self::TimedOut { .. } | Self::Lost { .. } => false,
            Self::Unauthorized { .. } | Self::AccessDenied { .. } | Self::Kerberos { .. } => true,
            Self::Fault { .. } | Self::WatchEnded { .. } | Self::WatchUnsupported { .. } => true,
            Self::FileMissing { .. } | Self::EventsTooLong { .. } | Self::HeartbeatUnreadable { .. } => true,
        }
    }

    /// Whether a host that is starting may overcome this by itself.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Refused {
                why:
                    Refusal::Credential {
                        why: NoCredential::Unavailable,
                        ..
                    },
                ..
            } => true,
            Self::UnknownHost { .. } | Self::Refused { .. } => false,
            Self::Unauthorized { .. } | Self::AccessDenied { .. } | Self::WatchUnsupported { .. } => false,
            Self::Tls { source, .. } => matches!(
                **source,
                Error::Tls {
                    source: TlsError::Other(_),
                    ..
                }
            ),
            Self::Fault { source, .. } => !matches!(**source, Error::Downgrade { .. }),
            // A clock may be wrong until the host has asked the domain for the time.
            Self::Kerberos { source, .. } => matches!(
                **source,
                Error::Kerberos {
                    source: KerberosRefusal::KdcSilent { .. } | KerberosRefusal::ClockSkew { .. },
                    ..
                }
            ),
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Lost { .. } | Self::WatchEnded { .. } => {
                true
            }
            Self::FileMissing { .. } | Self::EventsTooLong { .. } | Self::HeartbeatUnreadable { .. } => true,
        }
    }

    /// Whether the host answered that it does not let us do this one thing, so that another way may work.
    pub(crate) fn is_refusal_of_host(&self) -> bool {
        match self {
            Self::AccessDenied { .. } => true,
            Self::Fault { source, .. } => matches!(**source, Error::Fault { .. }),
            _ => false,
        }
    }

    /// The whole story in one line: this error and its causes.
    #[must_use]
    pub fn sentence(&self) -> String {
        Chain(self).to_string()
    }

    /// What somebody is told who only has the right to call: what it means for the host, without addresses, ports or
    /// the words of a library. What was refused here says why, since the caller's own words may be at fault.
    #[must_use]
    pub fn outline(&self) -> String {
        match self {
            Self::Refused {
                why:
                    why @ (Refusal::Line(_)
                    | Refusal::Command(_)
                    | Refusal::Credential { .. }
                    | Refusal::InsecureBasic),
                ..
            } => format!("{self}: {why}"),
            other => other.to_string(),
        }
    }

    /// Code and whole story, for the engine.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::new(self.code(), self.sentence())
    }

    /// A command that ended without saying how.
    pub(crate) fn no_exit_code(host: &HostName) -> Self {
        Self::Lost {
            host: host.clone(),
            effect: Effect::Unknown,
            source: None,
        }
    }
}

/// An error and its causes in one line.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The same error for something that only reads: whatever became of it, nothing was changed.
pub(crate) fn without_effect(error: StationError) -> StationError {
    match error {
        StationError::TimedOut {
            host, waited, during, ..
        } => StationError::TimedOut {
            host,
            waited,
            during,
            effect: Effect::None,
        },
        StationError::Lost { host, source, .. } => StationError::Lost {
            host,
            effect: Effect::None,
            source,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;

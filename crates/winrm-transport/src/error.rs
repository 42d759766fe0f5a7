//! What can go wrong, by what the caller does next.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cmdline::CommandRefused;
use crate::kerberos::KerberosRefusal;
use crate::output::Output;

/// Where in a call something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waiting behind another call of the same client.
    Queue,
    /// Name resolution and TCP connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// Authentication.
    Handshake,
    /// Identify request.
    Identify,
    /// Get request.
    Get,
    /// Creating the shell.
    Create,
    /// Starting the command.
    Command,
    /// Passing on standard input.
    Send,
    /// Waiting for output and exit code.
    Receive,
    /// Ending the command.
    Signal,
    /// Deleting the shell.
    Delete,
    /// Listing the shells of the host.
    Enumerate,
}

impl Stage {
    /// What may have happened on the host when an answer is missing at this stage.
    fn effect(self) -> Effect {
        match self {
            Self::Command | Self::Send | Self::Receive | Self::Signal => Effect::Unknown,
            Self::Queue | Self::Connect | Self::Tls | Self::Handshake | Self::Identify | Self::Get => {
                Effect::None
            }
            Self::Create | Self::Delete | Self::Enumerate => Effect::None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue",
            Self::Connect => "connect",
            Self::Tls => "tls handshake",
            Self::Handshake => "authentication",
            Self::Identify => "identify",
            Self::Get => "get",
            Self::Create => "create shell",
            Self::Command => "start command",
            Self::Send => "send",
            Self::Receive => "receive",
            Self::Signal => "signal",
            Self::Delete => "delete shell",
            Self::Enumerate => "list shells",
        })
    }
}

/// What a failed call may have done on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The command did not start. It may be sent again.
    None,
    /// The command may have started, may still run, may be done. Look at the host; never just send it again.
    Unknown,
}

/// Why a TLS peer was not believed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Signed by nobody we trust.
    #[error("certificate comes from an unknown issuer")]
    UnknownIssuer,
    /// Made for another name.
    #[error("certificate is not valid for {name:?}")]
    WrongName {
        /// The name that was verified.
        name: String,
    },
    /// Before or after its dates.
    #[error("certificate has expired or is not valid yet")]
    Expired,
    /// Not the certificate that was pinned.
    #[error("certificate is not the pinned one, its sha-256 is {}", Hex(found))]
    PinMismatch {
        /// The SHA-256 of the certificate the peer showed.
        found: [u8; 32],
    },
    /// Anything else TLS objects to: versions, a peer that speaks no TLS, a broken signature.
    #[error("tls failed")]
    Other(#[source] io::Error),
}

/// The schemes a host offers, at the end of a sentence; nothing when it was not the host who refused.
struct Offers<'a>(&'a [String]);

impl fmt::Display for Offers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, ", host offers {}", self.0.join(", "))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a connection counts as lost.
#[derive(Debug, thiserror::Error)]
pub enum LostBecause {
    /// The transport said so.
    #[error("transport failed")]
    Transport(#[from] hyper::Error),
    /// The host closed the connection before the request was sent on it, twice in a row.
    #[error("host closed the connection before the request was sent")]
    Closed,
    /// No complete answer in the time an answer may take.
    #[error("no complete answer within {waited:?}")]
    Silence {
        /// How long was waited.
        waited: Duration,
    },
    /// The host was stopping the operation (codes 995 and alike): it shuts down, or its service does.
    #[error("host aborted the operation with code {code}")]
    Aborted {
        /// The WSMan fault code.
        code: u32,
    },
    /// The command was accepted, its connection broke, and no new one could be made.
    #[error("could not connect again")]
    Reconnect(#[source] Box<Error>),
    /// The answer to the start of the command was lost, and the host knows nothing of the command.
    #[error("host does not know the command whose start was not confirmed")]
    NotFoundAgain,
    /// The command had ended before.
    #[error("the command has ended")]
    Ended,
    /// The worker of this call ended without an answer; only seen when the runtime shuts down.
    #[error("runtime is shutting down")]
    Shutdown,
}

/// What went wrong. The variants differ in what a caller does next; [`Error::effect`] says whether it may repeat.
///
/// Neither a password nor a token is part of any variant; texts of the peer are bounded to 1,024 characters.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command was not sent because it cannot be, or not safely. Fix the command.
    #[error("command refused")]
    CommandRefused(#[from] CommandRefused),
    /// The name has no address. Fix the inventory, or try later.
    #[error("resolve {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// An address of the host lies outside the allowed networks; nothing was dialled.
    #[error("address {address} is not in an allowed network")]
    AddressNotAllowed {
        /// The address that was refused.
        address: SocketAddr,
    },
    /// No TCP connection: asleep, refused, unreachable. Try later.
    #[error("connect to {address}")]
    Connect {
        /// The address dialled last.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS failed; no credential was sent.
    #[error("tls with {address}")]
    Tls {
        /// The address dialled.
        address: SocketAddr,
        /// Why.
        source: TlsError,
    },
    /// Basic over plain HTTP would show the password to the network, and is not explicitly allowed.
    #[error("basic authentication over plain http is not allowed")]
    InsecureBasicRefused,
    /// The host, or a KDC, refused the credentials. Do not retry: accounts get locked out.
    #[error("credentials refused: used {used} ({step}){}", Offers(offered))]
    Unauthorized {
        /// The schemes the host offers.
        offered: Vec<String>,
        /// The scheme that was used, and whether a channel binding went with it.
        used: &'static str,
        /// The message that was refused.
        step: &'static str,
    },
    /// Kerberos did not come about, though not for the credentials: a name, a clock or a key has to be put right, or
    /// no KDC answers.
    #[error("kerberos for {service}")]
    Kerberos {
        /// Such as `HTTP/host`.
        service: String,
        /// What has to be put right.
        source: KerberosRefusal,
    },
    /// The account is known but has no right to the shell: no administrator, or a filtered local account.
    #[error("host knows the account but denies it access (not an administrator, or a filtered token)")]
    AccessDenied {
        /// When.
        during: Stage,
        /// The WSMan fault code.
        code: u32,
    },
    /// The host, or somebody between, wanted weaker protection than agreed.
    #[error("{what}")]
    Downgrade {
        /// What was weakened.
        what: &'static str,
        /// When.
        during: Stage,
    },
    /// Something answers HTTP, but not as WS-Management.
    #[error("answer with status {status} is not from a ws-management service")]
    NotWinRm {
        /// The HTTP status.
        status: u16,
        /// When.
        during: Stage,
    },
    /// The host refuses for now (503): starting, stopping, or overloaded. Try later.
    #[error("service is not available")]
    ServiceUnavailable {
        /// The wait the host asked for.
        retry_after: Option<Duration>,
        /// When.
        during: Stage,
    },
    /// A quota of the host is used up: shells, operations, memory. What we could free was freed and the request
    /// repeated once; try later, see [`Error::retry_after`].
    #[error("host quota is used up, fault {code}")]
    Quota {
        /// The WSMan fault code.
        code: u32,
        /// When.
        during: Stage,
    },
    /// The host answered with a fault that none of the other variants covers.
    #[error("host answered fault {code} at {during}: {message}")]
    Fault {
        /// The WSMan fault code; 0 when the fault has none.
        code: u32,
        /// The local name of the SOAP subcode.
        subcode: Option<String>,
        /// The host's text, in its language, shortened.
        message: String,
        /// When.
        during: Stage,
    },
    /// The shell went away: the host rebooted, its service restarted, or somebody deleted it.
    #[error("shell is gone ({during})")]
    ShellGone {
        /// When.
        during: Stage,
    },
    /// The connection broke before the answer was complete.
    #[error("connection lost ({during})")]
    ConnectionLost {
        /// When.
        during: Stage,
        /// Why.
        source: LostBecause,
    },
    /// The deadline of the call passed. The command, if it ran, is being terminated.
    #[error("no result within {waited:?} ({during})")]
    DeadlineExpired {
        /// How long was waited.
        waited: Duration,
        /// What was going on.
        during: Stage,
        /// What the command had written by then.
        partial: Option<Output>,
    },
    /// The host broke the protocol.
    #[error("protocol violated ({during}): {what}")]
    Protocol {
        /// The rule that was broken.
        what: &'static str,
        /// When.
        during: Stage,
    },
}

impl Error {
    /// What may have happened on the host. `Unknown` is settled by looking at the host, never by sending again.
    pub fn effect(&self) -> Effect {
        match self {
            // These come before a command is accepted: what fails on the way back to a running command is
            // reported as a lost connection.
            Self::CommandRefused(_)
            | Self::Resolve { .. }
            | Self::AddressNotAllowed { .. }
            | Self::Connect { .. }
            | Self::Tls { .. }
            | Self::InsecureBasicRefused
            | Self::Kerberos { .. }
            | Self::Unauthorized { .. } => Effect::None,
            // A refusal in answer to Command says that it did not start; to Receive, it says nothing.
            Self::AccessDenied { during, .. }
            | Self::ServiceUnavailable { during, .. }
            | Self::Quota { during, .. }
            | Self::NotWinRm { during, .. }
            | Self::ShellGone { during } => match during {
                Stage::Send | Stage::Receive | Stage::Signal => Effect::Unknown,
                _ => Effect::None,
            },
            Self::Fault { code, during, .. } => match during {
                Stage::Command if crate::soap::codes::is_operation_timeout(*code) => Effect::Unknown,
                Stage::Command => Effect::None,
                other => other.effect(),
            },
            Self::Downgrade { during, .. }
            | Self::ConnectionLost { during, .. }
            | Self::DeadlineExpired { during, .. }
            | Self::Protocol { during, .. } => during.effect(),
        }
    }

    /// A stable name for machines: metrics, stored reasons, HTTP answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::CommandRefused(_) => "command_refused",
            Self::Resolve { .. } => "resolve",
            Self::AddressNotAllowed { .. } => "address_not_allowed",
            Self::Connect { .. } => "connect",
            Self::Tls { source, .. } => match source {
                TlsError::UnknownIssuer => "tls_unknown_issuer",
                TlsError::WrongName { .. } => "tls_wrong_name",
                TlsError::Expired => "tls_expired",
                TlsError::PinMismatch { .. } => "tls_pin_mismatch",
                TlsError::Other(_) => "tls",
            },
            Self::InsecureBasicRefused => "insecure_basic_refused",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Kerberos { source, .. } => source.code(),
            Self::AccessDenied { .. } => "access_denied",
            Self::Downgrade { .. } => "downgrade",
            Self::NotWinRm { .. } => "not_winrm",
            Self::ServiceUnavailable { .. } => "service_unavailable",
            Self::Quota { .. } => "quota",
            Self::Fault { .. } => "fault",
            Self::ShellGone { .. } => "shell_gone",
            Self::ConnectionLost { .. } => "connection_lost",
            Self::DeadlineExpired { .. } => "deadline_expired",
            Self::Protocol { .. } => "protocol",
        }
    }

    /// Whether the same call may succeed later with nothing changed. Says nothing about safety: see `effect`.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::Connect { .. }
            | Self::ServiceUnavailable { .. }
            | Self::Quota { .. }
            | Self::ShellGone { .. }
            | Self::ConnectionLost { .. }
            | Self::DeadlineExpired { .. } => true,
            Self::Tls {
                source: TlsError::Other(_),
                ..
            } => true,
            Self::Fault { code, .. } => crate::soap::codes::is_operation_timeout(*code),
            Self::Kerberos { source, .. } => source.is_transient(),
            Self::CommandRefused(_)
            | Self::AddressNotAllowed { .. }
            | Self::Tls { .. }
            | Self::InsecureBasicRefused
            | Self::Unauthorized { .. }
            | Self::AccessDenied { .. }
            | Self::Downgrade { .. }
            | Self::NotWinRm { .. }
            | Self::Protocol { .. } => false,
        }
    }

    /// How long to wait before the next try, where anybody knows: the host said so, or it is a quota, for which this
    /// crate has already deleted what it could and will not do so again within that time.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::ServiceUnavailable { retry_after, .. } => *retry_after,
            Self::Quota { .. } => Some(crate::session::RECYCLE_PAUSE),
            _ => None,
        }
    }

    /// The WSMan fault code, where the host gave one.
    pub fn fault_code(&self) -> Option<u32> {
        match self {
            Self::Fault { code, .. } if *code == 0 => None,
            Self::Fault { code, .. } | Self::Quota { code, .. } | Self::AccessDenied { code, .. } => {
                Some(*code)
            }
            Self::ShellGone { .. } => Some(crate::soap::codes::SHELL_NOT_FOUND),
            Self::ConnectionLost {
                source: LostBecause::Aborted { code },
                ..
            } => Some(*code),
            _ => None,
        }
    }
}

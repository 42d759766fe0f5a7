//! Whether a TCP port can be reached.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// What came of one attempt to open a TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcpProbe {
    /// Something accepts connections there. Whether it is ready to serve is another question.
    Open {
        /// How long the connection took.
        after: Duration,
    },
    /// A machine answered that nothing listens on the port: it is up, its service is not.
    Refused {
        /// How long the answer took.
        after: Duration,
    },
    /// No answer within the time allowed: asleep, off, or behind a filter.
    Silent,
    /// The network said that the address cannot be reached.
    Unreachable(io::ErrorKind),
    /// This machine could not try, for instance with too many files open. It says nothing about the other.
    NotTried {
        /// The kind of trouble.
        kind: io::ErrorKind,
        /// The number the operating system gave it.
        os_error: Option<i32>,
    },
}

impl TcpProbe {
    /// True when the port accepted the connection.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// True when a machine answered at all, be it with a refusal.
    pub fn answered(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::Refused { .. })
    }
}

impl fmt::Display for TcpProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { after } => write!(f, "open after {} ms", after.as_millis()),
            Self::Refused { after } => write!(f, "refused after {} ms", after.as_millis()),
            Self::Silent => f.write_str("no answer"),
            Self::Unreachable(kind) => write!(f, "unreachable ({kind})"),
            Self::NotTried {
                os_error: Some(code), ..
            } => {
                write!(f, "could not be tried ({})", io::Error::from_raw_os_error(*code))
            }
            Self::NotTried { kind, os_error: None } => write!(f, "could not be tried ({kind})"),
        }
    }
}

/// Opens a TCP connection to `addr` and closes it again at once. `within` bounds the whole call.
///
/// # Cancel safety
/// Cancel safe: a dropped future closes the connection.
pub async fn tcp_reachable(addr: SocketAddr, within: Duration) -> TcpProbe {
    let started = Instant::now();
    match timeout(within, TcpStream::connect(addr)).await {
        Err(_) => TcpProbe::Silent,
        Ok(Ok(_connection)) => TcpProbe::Open {
            after: started.elapsed(),
        },
        Ok(Err(error)) => failed(&error, started.elapsed()),
    }
}

fn failed(error: &io::Error, after: Duration) -> TcpProbe {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused | Kind::ConnectionReset => TcpProbe::Refused { after },
        Kind::TimedOut => TcpProbe::Silent,
        kind @ (Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown) => {
            TcpProbe::Unreachable(kind)
        }
        kind => TcpProbe::NotTried {
            kind,
            os_error: error.raw_os_error(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_of_our_own_is_not_blamed_on_the_other_machine() {
        const EMFILE: i32 = 24;
        let probe = failed(&io::Error::from_raw_os_error(EMFILE), Duration::ZERO);
        assert!(
            matches!(
                probe,
                TcpProbe::NotTried {
                    os_error: Some(EMFILE),
                    ..
                }
            ),
            "{probe:?}"
        );
        assert!(probe.to_string().contains("open files"), "{probe}");
    }

    #[test]
    fn each_answer_of_the_network_has_its_own_verdict() {
        let verdict = |kind| failed(&io::Error::from(kind), Duration::from_millis(7)).to_string();
        assert_eq!(verdict(io::ErrorKind::ConnectionRefused), "refused after 7 ms");
        assert_eq!(
            verdict(io::ErrorKind::HostUnreachable),
            "unreachable (host unreachable)"
        );
        assert_eq!(verdict(io::ErrorKind::TimedOut), "no answer");
    }
}

//! ICMP echo, without an external program.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence, SurgeError};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Echoes under way at once. One socket takes all the answers, and a flood makes it lose them.
const MAX_IN_FLIGHT: usize = 128;
/// Requests sent per call, evenly spread: one lost packet is not a dead machine.
const TRIES: u32 = 3;
/// No call waits longer, whatever it is given.
const LONGEST: Duration = Duration::from_secs(3600);
const PAYLOAD: [u8; 32] = *b"wake-on-lan reachability check..";

/// Sends ICMP echo requests. Cheap to clone; all clones share one socket for each address family.
///
/// Linux allows it to processes with `CAP_NET_RAW` and to groups within `net.ipv4.ping_group_range`;
/// [`Pinger::new`] says when neither holds.
#[derive(Clone)]
pub struct Pinger {
    v4: Client,
    v6: Option<Client>,
    in_flight: Arc<Semaphore>,
    serial: Arc<AtomicU32>,
}

/// What came of one call of [`Pinger::echo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// The machine answered.
    Reply {
        /// Time from request to reply.
        rtt: Duration,
    },
    /// No answer within the time allowed. Many machines and filters never answer: this is no proof.
    Silent,
    /// No way leads to the address, or a local filter refuses it.
    Unreachable,
}

/// Why there is no [`Pinger`].
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// The process may not send echoes. Ask over TCP instead, or grant `CAP_NET_RAW`.
    #[error("icmp echo is not permitted here: it needs CAP_NET_RAW or a group in net.ipv4.ping_group_range")]
    NotPermitted {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The socket could not be opened for another reason.
    #[error("cannot open an icmp socket")]
    Socket {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

impl Pinger {
    /// Opens the sockets. A machine without IPv6 gets a pinger for IPv4 alone.
    ///
    /// # Errors
    /// [`PingError::NotPermitted`] where ICMP is closed to this process.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new() -> Result<Self, PingError> {
        let v4 = Client::new(&Config::default()).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => PingError::NotPermitted { source },
            _ => PingError::Socket { source },
        })?;
        let v6 = Client::new(&Config::builder().kind(ICMP::V6).build()).ok();
        // Raw sockets see the answers to other processes too: start from a number of our own.
        let seed = RandomState::new().build_hasher().finish();
        Ok(Self {
            v4,
            v6,
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            serial: Arc::new(AtomicU32::new((seed >> 32) as u32)),
        })
    }

    /// Asks a machine for an echo, up to three times within `within` (an hour at most), and returns with the
    /// first answer.
    ///
    /// At most 128 calls are under way at once; a call beyond them waits for its turn within its own time.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped future forgets its requests.
    pub async fn echo(&self, address: IpAddr, within: Duration) -> Echo {
        let deadline = Instant::now() + within.min(LONGEST);
        let Ok(Ok(_turn)) = timeout_at(deadline, self.in_flight.acquire()).await else {
            return Echo::Silent;
        };
        let client = match (address, &self.v6) {
            (IpAddr::V4(_), _) => &self.v4,
            (IpAddr::V6(_), Some(v6)) => v6,
            (IpAddr::V6(_), None) => return Echo::Unreachable,
        };
        let started = Instant::now();
        let step = deadline.saturating_duration_since(started) / TRIES;
        let tries = [0, 1, 2].map(|n| self.one_echo(client, address, started + step * n, deadline));
        first_answer(tries).await
    }

    async fn one_echo(&self, client: &Client, address: IpAddr, at: Instant, deadline: Instant) -> Echo {
        sleep_until(at).await;
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let mut pinger = client
            .pinger(address, PingIdentifier((serial >> 16) as u16))
            .await;
        pinger.timeout(deadline.saturating_duration_since(Instant::now()));
        match pinger.ping(PingSequence(serial as u16), &PAYLOAD).await {
            Ok((_, rtt)) => Echo::Reply { rtt },
            Err(SurgeError::IOError(_)) => Echo::Unreachable,
            Err(_) => Echo::Silent,
        }
    }
}

/// The first try that is not silent; `Silent` when all are.
async fn first_answer(tries: [impl Future<Output = Echo>; TRIES as usize]) -> Echo {
    let [first, second, third] = tries.map(Box::pin);
    tokio::select! {
        answer @ (Echo::Reply { .. } | Echo::Unreachable) = first => answer,
        answer @ (Echo::Reply { .. } | Echo::Unreachable) = second => answer,
        answer @ (Echo::Reply { .. } | Echo::Unreachable) = third => answer,
        else => Echo::Silent,
    }
}

//! Waking a bare hardware address, with or without somebody to ask whether it helped.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wol::{
    DEFAULT_PORT, Echo, MacAddr, MagicPacket, Pinger, SendError, Target, TcpProbe, Via, tcp_reachable,
};

use crate::control::Inner;
use crate::network::{NoAddress, resolve};
use crate::wake::{MAX_ATTEMPTS, may_go_to};

/// Pause between two rounds of looking.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one look waits.
const LOOK: Duration = Duration::from_secs(1);
/// Longest wait after one packet.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Ports looked at in one request.
const MAX_PORTS: usize = 8;

/// A wake of one hardware address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeRequest {
    /// The card.
    pub mac: MacAddr,
    /// Address of the packets.
    pub broadcast: Ipv4Addr,
    /// UDP port of the packets.
    pub port: u16,
    /// Whom to ask whether it helped, a name or an address; `None`: nobody, and the wake is never a success.
    pub ping_target: Option<String>,
    /// How long to look after each packet; at most 300 s.
    pub ping_timeout: Duration,
    /// How many packets at most; 1 to 100.
    pub attempts: u32,
    /// TCP ports of the target that count as an answer, beside an ICMP echo.
    pub probe_ports: Vec<u16>,
}

impl WakeRequest {
    /// Three packets by limited broadcast to port 9, ten seconds apart, looking at the ports of WinRM.
    #[must_use]
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            broadcast: Ipv4Addr::BROADCAST,
            port: DEFAULT_PORT,
            ping_target: None,
            ping_timeout: Duration::from_secs(10),
            attempts: 3,
            probe_ports: vec![5986, 5985],
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdHocWake {
    /// Whether the target answered after a packet. It may have been awake before.
    pub success: bool,
    /// How many packets were sent.
    pub attempts_used: u32,
    /// How long it took.
    pub duration: Duration,
    /// Whom was asked.
    pub ping_target: Option<String>,
}

/// Why no packet was sent.
#[derive(Debug, thiserror::Error)]
pub enum WakeError {
    /// The packets or the looks would leave the allowed networks.
    #[error("{target} is refused: {address} is not in an allowed network")]
    AddressNotAllowed {
        /// As asked for.
        target: String,
        /// The address.
        address: IpAddr,
    },
    /// The target is no name of a host.
    #[error("the target {target:?} has no address")]
    Unresolved {
        /// As asked for.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// This machine could not send.
    #[error("no magic packet could be sent")]
    Send(#[from] SendError),
}

impl WakeError {
    /// A stable name for machines.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::AddressNotAllowed { .. } => "address_not_allowed",
            Self::Unresolved { .. } => "name_unresolved",
            Self::Send(_) => "send_failed",
        }
    }
}

impl Inner {
    pub(crate) async fn wake_address(&self, request: WakeRequest) -> Result<AdHocWake, WakeError> {
        let started = Instant::now();
        if !may_go_to(request.broadcast, &self.settings) {
            let address = IpAddr::V4(request.broadcast);
            return Err(WakeError::AddressNotAllowed {
                target: "the broadcast address".into(),
                address,
            });
        }
        let targets = match &request.ping_target {
            Some(target) => self.targets(target).await?,
            None => Vec::new(),
        };
        let packet = MagicPacket::new(request.mac);
        let to = Target {
            broadcast: request.broadcast,
            port: request.port,
            via: Via::Routing,
        };
        let attempts = request.attempts.clamp(1, MAX_ATTEMPTS);
        let wait = request.ping_timeout.min(LONGEST_WAIT);
        let (mut success, mut attempts_used) = (false, 0);
        while !success && attempts_used < attempts {
            wol::send(&packet, &to).await?;
            attempts_used += 1;
            success = match targets.is_empty() {
                false => self.answers_within(&targets, &request.probe_ports, wait).await,
                true => {
                    if attempts_used < attempts {
                        sleep(wait).await;
                    }
                    false
                }
            };
        }
        Ok(AdHocWake {
            success,
            attempts_used,
            duration: started.elapsed(),
            ping_target: request.ping_target,
        })
    }

    async fn targets(&self, target: &str) -> Result<Vec<IpAddr>, WakeError> {
        let found = resolve(target.trim(), 0, &self.settings.allowed_networks).await;
        let found = found.map_err(|why| match why {
            NoAddress::NotAllowed(address) => WakeError::AddressNotAllowed {
                target: target.to_owned(),
                address,
            },
            NoAddress::Unresolved(source) => WakeError::Unresolved {
                target: target.to_owned(),
                source,
            },
        })?;
        Ok(found.iter().take(4).map(SocketAddr::ip).collect())
    }

    async fn answers_within(&self, targets: &[IpAddr], ports: &[u16], within: Duration) -> bool {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            for &target in targets {
                if self.answers(target, ports, LOOK.min(left)).await {
                    return true;
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            sleep(PAUSE.min(left)).await;
        }
    }

    /// Whether anything answers: a port that accepts, a port that refuses, an echo. On a loopback address only the
    /// first counts, since the others come from this machine whatever is switched off.
    async fn answers(&self, target: IpAddr, ports: &[u16], within: Duration) -> bool {
        let mut looks = tokio::task::JoinSet::new();
        for &port in ports.iter().take(MAX_PORTS) {
            looks.spawn(async move {
                match tcp_reachable(SocketAddr::new(target, port), within).await {
                    TcpProbe::Open { .. } => true,
                    TcpProbe::Refused { .. } => !target.is_loopback(),
                    TcpProbe::Silent | TcpProbe::Unreachable(_) | TcpProbe::NotTried { .. } => false,
                }
            });
        }
        let pinger = self.pinger.get_or_init(|| Pinger::new().ok()).clone();
        if let Some(pinger) = pinger.filter(|_| !target.is_loopback()) {
            looks.spawn(async move { matches!(pinger.echo(target, within).await, Echo::Reply { .. }) });
        }
        while let Some(look) = looks.join_next().await {
            if matches!(look, Ok(true)) {
                return true;
            }
        }
        false
    }
}

//! One simulated host: its handle for tests, and what all parts of it share.

mod control;
mod packet;
mod power;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use tokio::net::{TcpSocket, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::{Authority, CertificateError, Identity, Subject};
use crate::clock::SimClock;
use crate::effects::{Counters, EffectKind, EffectLog, LOG_LIMIT};
use crate::farm::StartError;
use crate::faults::{Fault, FaultBoard};
use crate::spec::{HostSpec, TlsIdentity};
use crate::station::{Moment, Station};
use crate::wildcard::{Behind, Door};
use crate::wsman::Shells;

pub use control::SimHost;
pub(crate) use power::{Order, Then};

/// Power of a machine, as a person in front of it would name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PowerState {
    /// Off or hibernating: ports closed, the card listens for magic packets.
    Off,
    /// Powered on, ports still closed.
    Booting,
    /// WinRM port open, station not ready yet.
    Opening,
    /// The station service runs and has written its heartbeat.
    Ready,
    /// On its way down; requests get 503 until the ports close.
    ShuttingDown,
}

/// Orders that wait for the power task at most.
const ORDERS: usize = 64;

/// What a host gets from its farm.
pub(crate) struct Common {
    pub(crate) clock: SimClock,
    pub(crate) authority: Arc<Authority>,
    pub(crate) heartbeat_every: Duration,
    pub(crate) rng: StdRng,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
}

/// What all parts of one host share.
pub(crate) struct Inner {
    pub(crate) spec: HostSpec,
    pub(crate) http: SocketAddr,
    pub(crate) https: Option<SocketAddr>,
    wol: SocketAddr,
    pub(crate) clock: SimClock,
    authority: Arc<Authority>,
    identities: Mutex<Vec<(IdentityKind, Arc<Identity>)>>,
    pub(crate) power: watch::Sender<PowerState>,
    orders: OnceLock<mpsc::Sender<Order>>,
    /// The power task of a host behind a wildcard listener, until its first order: most hosts never get one.
    parked: Mutex<Option<power::Parked>>,
    /// Set for a host behind a wildcard listener.
    behind: Option<Behind>,
    state: Mutex<HostState>,
    pub(crate) faults: FaultBoard,
    pub(crate) effects: EffectLog,
    pub(crate) counts: Counters,
}

/// What changes while a host runs.
pub(crate) struct HostState {
    pub(crate) boots: u32,
    pub(crate) booted_at: Option<DateTime<Utc>>,
    pub(crate) hibernated: bool,
    /// The computer that answers at the address; another one after [`Fault::WakesAsAnotherMachine`].
    pub(crate) computer: String,
    pub(crate) another_machine: bool,
    /// From when until when the open port does not yet serve.
    opening: Option<(Instant, Instant)>,
    pub(crate) station: Station,
    pub(crate) shells: Shells,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdentityKind {
    Own,
    Wrong,
    AnotherMachine,
}

/// How far the WinRM service has come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceStage {
    Resets,
    Unavailable,
    Up,
}

/// Starts one host behind a wildcard listener: nothing is bound and no task runs until somebody moves it.
pub(crate) async fn start_behind(spec: HostSpec, common: Common, behind: Behind) -> SimHost {
    let at = |port| SocketAddr::from((spec.address, port));
    let ports = Ports {
        http: at(spec.http_port),
        https: spec.https_port.map(at),
        wol: at(spec.wol_port),
    };
    let limit = behind.effects_kept();
    let inner = Arc::new(Inner::new(spec, &common, ports, Some(behind), limit));
    let machine = power::Machine::new(Arc::clone(&inner), None, None, common.rng, common.stop);
    power::Parked::park(machine, common.tasks).await;
    SimHost::new(inner)
}

/// Starts one host: binds its wake port, settles its WinRM ports, and spawns its power task.
pub(crate) async fn start(spec: HostSpec, common: Common) -> Result<SimHost, StartError> {
    // Both sockets are held until both ports are chosen: the system could give the first one away twice.
    let (http, http_socket) = settle_port(&spec, spec.http_port, "http")?;
    let https = spec
        .https_port
        .map(|port| settle_port(&spec, port, "https"))
        .transpose()?;
    let (https, https_socket) = https.unzip();
    drop((http_socket, https_socket));
    let wol_wanted = SocketAddr::from((spec.address, spec.wol_port));
    let bind_error = |source| StartError::Bind {
        what: format!("{} (wake port)", spec.name),
        address: wol_wanted,
        source,
    };
    let udp = if spec.own_wake_socket {
        Some(UdpSocket::bind(wol_wanted).await.map_err(bind_error)?)
    } else {
        None
    };
    let wol = udp
        .as_ref()
        .map_or(Ok(wol_wanted), UdpSocket::local_addr)
        .map_err(bind_error)?;
    let (orders, orders_receiver) = mpsc::channel(ORDERS);
    let inner = Arc::new(Inner::new(
        spec,
        &common,
        Ports { http, https, wol },
        None,
        LOG_LIMIT,
    ));
    inner.orders.get_or_init(|| orders);
    let machine = power::Machine::new(
        Arc::clone(&inner),
        udp,
        Some(orders_receiver),
        common.rng,
        common.stop,
    );
    common.tasks.spawn(machine.run());
    Ok(SimHost::new(inner))
}

/// Where a host listens.
struct Ports {
    http: SocketAddr,
    https: Option<SocketAddr>,
    wol: SocketAddr,
}

/// Chooses a port once, so that a host keeps it over reboots.
fn settle_port(spec: &HostSpec, port: u16, which: &str) -> Result<(SocketAddr, TcpSocket), StartError> {
    let wanted = SocketAddr::from((spec.address, port));
    let bind = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(wanted)?;
        Ok((socket.local_addr()?, socket))
    };
    bind().map_err(|source| StartError::Bind {
        what: format!("{} ({which})", spec.name),
        address: wanted,
        source,
    })
}

impl Inner {
    fn new(spec: HostSpec, common: &Common, ports: Ports, behind: Option<Behind>, effects: usize) -> Self {
        let computer = spec.name.to_uppercase();
        let station = Station::new(&spec, &computer, common.heartbeat_every);
        Self {
            http: ports.http,
            https: ports.https,
            wol: ports.wol,
            clock: common.clock,
            authority: Arc::clone(&common.authority),
            identities: Mutex::default(),
            power: watch::Sender::new(PowerState::Off),
            orders: OnceLock::new(),
            parked: Mutex::default(),
            behind,
            state: Mutex::new(HostState {
                boots: 0,
                booted_at: None,
                hibernated: false,
                computer,
                another_machine: false,
                opening: None,
                station,
                shells: Shells::default(),
            }),
            faults: FaultBoard::default(),
            effects: EffectLog::new(effects),
            counts: Counters::default(),
            spec,
        }
    }

    /// The door of a host behind a wildcard listener.
    pub(crate) fn door(&self) -> Option<&Door> {
        self.behind.as_ref().map(Behind::door)
    }

    /// Tells a farm that keeps it who was asked for what.
    pub(crate) fn asked(&self, line: &str) {
        if let Some(behind) = &self.behind {
            behind.asked(line);
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, HostState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log(&self, what: EffectKind) -> u64 {
        self.effects.add(self.clock.now(), what)
    }

    /// Now, by the farm's clock and by the host's.
    pub(crate) fn moment(&self) -> Moment {
        let farm = self.clock.now();
        let skew = self.faults.look(|f| match f {
            Fault::ClockSkew(skew) => Some(*skew),
            _ => None,
        });
        Moment {
            farm,
            station: farm + skew.unwrap_or_default(),
            heartbeat_frozen: self.faults.has(&Fault::StaleHeartbeat),
        }
    }

    /// Hands an order to the power task. A full queue means that it is stopping anyway.
    pub(crate) fn order(&self, order: Order) {
        {
            // Held until the channel is there, so that a second order at the same moment finds it.
            let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(parked) = parked.take() {
                let (orders, receiver) = mpsc::channel(ORDERS);
                self.orders.get_or_init(|| orders);
                parked.run(receiver);
            }
        }
        let sent = self.orders.get().map(|orders| orders.try_send(order));
        if !matches!(sent, Some(Ok(()))) {
            tracing::debug!(host.name = %self.spec.name, "power order dropped");
        }
    }

    /// Takes the parked power task, which holds this host in turn.
    pub(crate) fn take_parked(&self) -> Option<power::Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn stage(&self) -> ServiceStage {
        match *self.power.borrow() {
            PowerState::Off | PowerState::Booting => ServiceStage::Resets,
            PowerState::ShuttingDown => ServiceStage::Unavailable,
            PowerState::Ready => ServiceStage::Up,
            PowerState::Opening => {
                let Some((from, until)) = self.lock().opening else {
                    return ServiceStage::Up;
                };
                let third = until.saturating_duration_since(from) / 3;
                match from.elapsed() {
                    passed if passed < third => ServiceStage::Resets,
                    passed if passed < third * 2 => ServiceStage::Unavailable,
                    _ => ServiceStage::Up,
                }
            }
        }
    }

    /// The certificate shown now.
    pub(crate) fn identity(&self) -> Result<Arc<Identity>, CertificateError> {
        let kind = if self.faults.has(&Fault::WrongCertificate) {
            IdentityKind::Wrong
        } else if self.lock().another_machine {
            IdentityKind::AnotherMachine
        } else {
            IdentityKind::Own
        };
        self.identity_of(kind)
    }

    fn identity_of(&self, kind: IdentityKind) -> Result<Arc<Identity>, CertificateError> {
        let shared = self.behind.as_ref().and_then(Behind::identity);
        if let (IdentityKind::Own, Some(shared)) = (kind, shared) {
            return Ok(Arc::clone(shared));
        }
        let mut identities = self.identities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = identities.iter().find(|(k, _)| *k == kind) {
            return Ok(Arc::clone(found));
        }
        let mut names = vec![self.spec.name.to_lowercase()];
        names.extend(self.spec.dns_names.iter().cloned());
        let mut subject = Subject {
            names,
            address: self.spec.certificate_names_address.then_some(self.spec.address),
            self_signed: self.spec.tls == TlsIdentity::SelfSigned,
            expired: self.spec.tls == TlsIdentity::Expired,
            asks_clients: !self.spec.client_certificates.is_empty(),
        };
        let identity = match kind {
            IdentityKind::Own => self.authority.issue(&subject)?,
            IdentityKind::Wrong => Authority::new("Somebody else", self.clock.now())?.issue(&subject)?,
            IdentityKind::AnotherMachine => {
                subject.names = vec![another_name(&self.spec.name).to_lowercase()];
                self.authority.issue(&subject)?
            }
        };
        let identity = Arc::new(identity);
        identities.push((kind, Arc::clone(&identity)));
        Ok(identity)
    }

    fn ipv4(&self) -> Ipv4Addr {
        self.spec.address
    }
}

/// Name of the computer that answers after [`Fault::WakesAsAnotherMachine`].
fn another_name(name: &str) -> String {
    format!("{}-OTHER", name.to_uppercase())
}

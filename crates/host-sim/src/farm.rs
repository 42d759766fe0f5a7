//! Many hosts in one process.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::{Authority, CertificateError, Subject};
use crate::clock::SimClock;
use crate::host::{self, SimHost};
use crate::http::{ByAddress, accept_for_all, listen};
use crate::journal::{Asked, Journal};
use crate::spec::{HostSpec, TlsIdentity};
use crate::wildcard::{Behind, Shared, Totals, Wildcard};

/// What all hosts of a farm have in common.
#[derive(Debug, Clone)]
pub struct FarmOptions {
    /// Seed of the boot and shutdown times.
    pub seed: u64,
    /// How often the stations rewrite their heartbeat.
    pub heartbeat_every: Duration,
    /// A socket address on which the farm takes magic packets for all its hosts, as a switch would deliver a broadcast;
    /// each packet reaches the host with its MAC. `None` for none.
    pub broadcast: Option<SocketAddr>,
}

impl Default for FarmOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            heartbeat_every: Duration::from_secs(60),
            broadcast: None,
        }
    }
}

/// Why a farm did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Two hosts have the same name.
    #[error("two hosts are named {name}")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// Two hosts behind one wildcard listener have the same address.
    #[error("two hosts have the address {address}")]
    DuplicateAddress {
        /// The address.
        address: Ipv4Addr,
    },
    /// The name cannot be a computer's name.
    #[error("{name:?} is no computer name: use letters, digits, dots and hyphens, at most 63")]
    BadName {
        /// The name.
        name: String,
    },
    /// A port of a host, or the broadcast address, is not free.
    #[error("bind {address} for {what}")]
    Bind {
        /// What for: a host's name and port, or the broadcast listener.
        what: String,
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("make the certificate of {name}")]
    Certificate {
        /// Whose.
        name: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Running hosts. Dropping it stops them all; [`Farm::stop`] also waits until their ports are closed.
pub struct Farm {
    hosts: Vec<SimHost>,
    by_name: HashMap<String, usize>,
    authority: Arc<Authority>,
    broadcast: Option<SocketAddr>,
    journal: Arc<Journal>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Connections that wait to be accepted behind a wildcard listener; the kernel may cut it to `somaxconn`.
const WILDCARD_BACKLOG: u32 = 4096;

impl Farm {
    /// Starts all hosts. Those with `awake_at_start` are ready when it returns, the others are off.
    ///
    /// # Errors
    /// [`StartError`] names the host and what is wrong; hosts already started are stopped.
    pub async fn start(specs: Vec<HostSpec>, options: FarmOptions) -> Result<Self, StartError> {
        let clock = SimClock::start();
        let mut farm = Self::empty(clock, specs.len())?;
        for (index, spec) in specs.into_iter().enumerate() {
            farm.add_name(&spec.name, index)?;
            let common = farm.common(clock, &options, index);
            farm.hosts.push(host::start(spec, common).await?);
        }
        for host in &farm.hosts {
            host.wait_until_started().await;
        }
        if let Some(address) = options.broadcast {
            farm.listen_for_broadcasts(address).await?;
        }
        Ok(farm)
    }

    /// Starts all hosts behind one listener per port, as [`Wildcard`] says. Their addresses must reach this machine:
    /// that is for the caller to see to, as a rule with a network namespace of its own.
    ///
    /// # Errors
    /// [`StartError`] names what is wrong.
    pub async fn start_wildcard(
        specs: Vec<HostSpec>,
        options: FarmOptions,
        wildcard: Wildcard,
    ) -> Result<Self, StartError> {
        let clock = SimClock::start();
        let mut farm = Self::empty(clock, specs.len())?;
        let shared = Shared {
            journal: Arc::clone(&farm.journal),
            identity: Arc::new(farm.authority.issue(&common_subject(&wildcard)).map_err(of_all)?),
            effects_kept: wildcard.effects_kept,
        };
        let mut by_address = ByAddress::with_capacity(specs.len());
        for (index, mut spec) in specs.into_iter().enumerate() {
            farm.add_name(&spec.name, index)?;
            (spec.http_port, spec.https_port) = (wildcard.http_port, wildcard.https_port);
            let shows_shared = spec.tls == TlsIdentity::FarmCa && spec.client_certificates.is_empty();
            // Addresses of IPv4 are fewer than its numbers.
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let behind = Behind::new(number, shared.clone(), shows_shared);
            let common = farm.common(clock, &options, index);
            let host = host::start_behind(spec, common, behind).await;
            let address = host.address();
            if by_address.insert(address, Arc::clone(host.inner())).is_some() {
                return Err(StartError::DuplicateAddress { address });
            }
            farm.hosts.push(host);
        }
        farm.listen_for_all(&wildcard, Arc::new(by_address)).await?;
        if let Some(address) = options.broadcast {
            farm.listen_for_broadcasts(address).await?;
        }
        Ok(farm)
    }

    fn empty(clock: SimClock, hosts: usize) -> Result<Self, StartError> {
        let authority =
            Authority::new("Lab farm authority", clock.now()).map_err(|e| StartError::Certificate {
                name: "the authority".into(),
                source: e.into(),
            })?;
        Ok(Self {
            hosts: Vec::with_capacity(hosts),
            by_name: HashMap::with_capacity(hosts),
            authority: Arc::new(authority),
            broadcast: None,
            journal: Arc::new(Journal::new()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    fn add_name(&mut self, name: &str, index: usize) -> Result<(), StartError> {
        check_name(name)?;
        match self.by_name.insert(name.to_owned(), index) {
            Some(_) => Err(StartError::DuplicateName {
                name: name.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn common(&self, clock: SimClock, options: &FarmOptions, index: usize) -> host::Common {
        host::Common {
            clock,
            authority: Arc::clone(&self.authority),
            heartbeat_every: options.heartbeat_every,
            rng: StdRng::seed_from_u64(options.seed.wrapping_mul(0x9E37_79B9).wrapping_add(index as u64)),
            stop: self.stop.child_token(),
            tasks: self.tasks.clone(),
        }
    }

    async fn listen_for_all(&self, wildcard: &Wildcard, hosts: Arc<ByAddress>) -> Result<(), StartError> {
        let ports = [(Some(wildcard.http_port), false), (wildcard.https_port, true)];
        for (port, secure) in ports
            .into_iter()
            .filter_map(|(port, secure)| Some((port?, secure)))
        {
            let address = SocketAddr::from((wildcard.bind, port));
            let listener = listen(address, WILDCARD_BACKLOG)
                .await
                .map_err(|source| StartError::Bind {
                    what: "the wildcard listener".into(),
                    address,
                    source,
                })?;
            let hosts = Arc::clone(&hosts);
            self.tasks
                .spawn(accept_for_all(listener, secure, hosts, self.stop.clone()));
        }
        Ok(())
    }

    async fn listen_for_broadcasts(&mut self, address: SocketAddr) -> Result<(), StartError> {
        let bind_error = |source| StartError::Bind {
            what: "the broadcast listener".into(),
            address,
            source,
        };
        let socket = UdpSocket::bind(address).await.map_err(bind_error)?;
        self.broadcast = Some(socket.local_addr().map_err(bind_error)?);
        let hosts = self.hosts.clone();
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let mut buffer = [0_u8; 1500];
            loop {
                let received = tokio::select! {
                    () = stop.cancelled() => return,
                    received = socket.recv_from(&mut buffer) => received,
                };
                if let Ok((length, from)) = received {
                    let payload = &buffer[..length];
                    for host in hosts.iter().filter(|h| h.is_meant_by(payload)) {
                        host.hand_packet(payload, from);
                    }
                }
            }
        });
        Ok(())
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<&SimHost> {
        self.by_name.get(name).and_then(|&index| self.hosts.get(index))
    }

    /// All hosts in the order they were given.
    pub fn hosts(&self) -> &[SimHost] {
        &self.hosts
    }

    /// Sums of the counters of all hosts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            polls: self.journal.polls(),
            ..Totals::default()
        };
        for counts in self.hosts.iter().map(SimHost::counts) {
            totals.connections += counts.connections;
            totals.open_connections += counts.open_connections;
            totals.tls_handshakes += counts.tls_handshakes;
            totals.handshakes += counts.handshakes;
            totals.refused_credentials += counts.refused_credentials;
            totals.requests += counts.requests;
            totals.shells_created += counts.shells_created;
            totals.open_shells += counts.open_shells;
            totals.commands += counts.commands;
        }
        totals
    }

    /// The questions for heartbeats since the last call, oldest first: at most four million are kept in between, and
    /// behind a wildcard listener only.
    pub fn take_asked(&self) -> Vec<Asked> {
        self.journal.take()
    }

    /// Time since the farm started, by the clock of [`Asked::at`].
    pub fn running_for(&self) -> Duration {
        self.journal.since_start()
    }

    /// The authority that signs the hosts' certificates, in PEM form.
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Where the farm takes broadcast magic packets, if it does.
    pub fn broadcast_address(&self) -> Option<SocketAddr> {
        self.broadcast
    }

    /// Stops all hosts and waits, at most five seconds, until their ports are closed.
    pub async fn stop(self) {
        self.stop.cancel();
        for parked in self.hosts.iter().filter_map(|host| host.inner().take_parked()) {
            parked.end().await;
        }
        self.tasks.close();
        if tokio::time::timeout(Duration::from_secs(5), self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("some simulated hosts did not stop in time");
        }
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        self.stop.cancel();
        // Parked machines hold their hosts, which hold them.
        self.hosts
            .iter()
            .for_each(|host| drop(host.inner().take_parked()));
    }
}

/// The certificate that all hosts behind a wildcard listener show.
fn common_subject(wildcard: &Wildcard) -> Subject {
    Subject {
        names: vec![format!("*.{}", wildcard.domain)],
        address: None,
        self_signed: false,
        expired: false,
        asks_clients: false,
    }
}

fn of_all(error: CertificateError) -> StartError {
    StartError::Certificate {
        name: "all hosts".into(),
        source: error.into(),
    }
}

fn check_name(name: &str) -> Result<(), StartError> {
    let fits = (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    if fits {
        Ok(())
    } else {
        Err(StartError::BadName {
            name: name.to_owned(),
        })
    }
}

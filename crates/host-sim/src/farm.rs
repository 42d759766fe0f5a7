//! Many hosts in one process.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::Authority;
use crate::clock::SimClock;
use crate::host::{self, SimHost};
use crate::spec::HostSpec;

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
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Farm {
    /// Starts all hosts. Those with `awake_at_start` are ready when it returns, the others are off.
    ///
    /// # Errors
    /// [`StartError`] names the host and what is wrong; hosts already started are stopped.
    pub async fn start(specs: Vec<HostSpec>, options: FarmOptions) -> Result<Self, StartError> {
        let clock = SimClock::start();
        let authority =
            Authority::new("Lab farm authority", clock.now()).map_err(|e| StartError::Certificate {
                name: "the authority".into(),
                source: e.into(),
            })?;
        let mut farm = Self {
            hosts: Vec::with_capacity(specs.len()),
            by_name: HashMap::with_capacity(specs.len()),
            authority: Arc::new(authority),
            broadcast: None,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for (index, spec) in specs.into_iter().enumerate() {
            check_name(&spec.name)?;
            if farm.by_name.insert(spec.name.clone(), index).is_some() {
                return Err(StartError::DuplicateName {
                    name: spec.name.clone(),
                });
            }
            let common = host::Common {
                clock,
                authority: Arc::clone(&farm.authority),
                heartbeat_every: options.heartbeat_every,
                rng: StdRng::seed_from_u64(options.seed.wrapping_mul(0x9E37_79B9).wrapping_add(index as u64)),
                stop: farm.stop.child_token(),
                tasks: farm.tasks.clone(),
            };
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

//! Sending a magic packet, and telling by which way it left.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use crate::{MagicPacket, interfaces};

/// The port magic packets go to unless told otherwise ("discard"). The card does not look at it.
pub const DEFAULT_PORT: u16 = 9;

/// Where a magic packet goes, and by which way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The address on the packet:
    /// - `255.255.255.255`, limited broadcast: one network, see [`Via`] and [`send`];
    /// - the broadcast address of a subnet (`192.168.7.255`), directed broadcast: routers mostly drop it;
    /// - an ordinary address: reaches a sleeping machine only while some neighbour table still has it.
    pub broadcast: Ipv4Addr,
    /// UDP port, not 0.
    pub port: u16,
    /// By which way the packet leaves.
    pub via: Via,
}

impl Default for Target {
    /// Limited broadcast to port 9, the way the routing table says.
    fn default() -> Self {
        Self {
            broadcast: Ipv4Addr::BROADCAST,
            port: DEFAULT_PORT,
            via: Via::Routing,
        }
    }
}

/// The way by which a packet leaves this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Via {
    /// As the routing table says. A limited broadcast then leaves by the interface of the default route and
    /// by no other; see [`send`] for a machine without one.
    #[default]
    Routing,
    /// By the interface of this name, whatever the routing table says.
    Interface(String),
    /// From this address of ours, and for a limited broadcast by the interface that has it.
    Source(Ipv4Addr),
}

/// What is known after sending: that the packet left, never that it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Length of the payload.
    pub bytes: usize,
    /// Source address and port, as the kernel chose them.
    pub from: SocketAddr,
    /// Name of the interface asked for, else of the one that has the source address; none if it cannot be
    /// found out.
    pub interface: Option<String>,
    /// Where the packet was addressed.
    pub to: SocketAddr,
    /// Further copies, when a limited broadcast had to leave by several interfaces.
    pub copies: Vec<Departure>,
}

/// One more way by which a packet left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Source address and port.
    pub from: SocketAddr,
    /// Name of the interface, if known.
    pub interface: Option<String>,
}

/// `102 bytes to 192.168.7.255:9 by eth1 (192.168.7.2)`, for one line in a log or an answer.
impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes to {}", self.bytes, self.to)?;
        write_way(f, " by", self.interface.as_deref(), self.from)?;
        for copy in &self.copies {
            write_way(f, " and", copy.interface.as_deref(), copy.from)?;
        }
        Ok(())
    }
}

fn write_way(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    interface: Option<&str>,
    from: SocketAddr,
) -> fmt::Result {
    write!(
        f,
        "{word} {} ({})",
        interface.unwrap_or("an unknown interface"),
        from.ip()
    )
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The address or port is none a packet can go to. Correct the settings.
    #[error("a magic packet cannot be addressed to {to}")]
    Unaddressable {
        /// The address asked for.
        to: SocketAddrV4,
    },
    /// There is no such interface here. Correct the settings.
    #[error("there is no interface {name:?} on this machine")]
    NoSuchInterface {
        /// The name asked for.
        name: String,
    },
    /// The source address is not one of this machine. Correct the settings.
    #[error("{address} is not an address of this machine")]
    NotOurAddress {
        /// The address asked for.
        address: Ipv4Addr,
    },
    /// No way leads there, now. Trying later may help: a cable, a route or an address is missing.
    #[error("no route to {to}")]
    NoRoute {
        /// Where the packet was addressed.
        to: SocketAddrV4,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// This process may not do that, or a local firewall forbids it.
    #[error("not permitted to send to {to}")]
    NotPermitted {
        /// Where the packet was addressed.
        to: SocketAddrV4,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Anything else that is wrong on this machine, such as too many open files.
    #[error("sending to {to} failed")]
    Socket {
        /// Where the packet was addressed.
        to: SocketAddrV4,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Sends one magic packet.
///
/// Success means that the kernel took the packet. It proves nothing about the machine to wake, nor even that
/// the packet reached its network: the broadcast address of a subnet that is not ours quietly leaves as an
/// ordinary packet to the default gateway.
///
/// A limited broadcast by [`Via::Routing`] on a machine without a default route goes out once by each
/// interface that can broadcast; [`Sent::copies`] names those after the first.
///
/// # Errors
/// [`SendError`], by what can be done about it. When a limited broadcast goes out by several interfaces, one
/// that worked is enough.
///
/// # Cancel safety
/// Cancel safe in that nothing leaks; the packet may or may not have left.
pub async fn send(packet: &MagicPacket, target: &Target) -> Result<Sent, SendError> {
    let to = SocketAddrV4::new(target.broadcast, target.port);
    if to.port() == 0 || to.ip().is_unspecified() || to.ip().is_multicast() {
        return Err(SendError::Unaddressable { to });
    }
    match send_one(packet, to, &target.via).await {
        Err(SendError::NoRoute { source, .. }) if to.ip().is_broadcast() && target.via == Via::Routing => {
            send_by_each_interface(packet, to, source).await
        }
        outcome => outcome,
    }
}

async fn send_by_each_interface(
    packet: &MagicPacket,
    to: SocketAddrV4,
    no_route: io::Error,
) -> Result<Sent, SendError> {
    let addresses = interfaces::broadcast_addresses().map_err(|source| SendError::Socket { to, source })?;
    let mut sent: Option<Sent> = None;
    let mut failure = SendError::NoRoute { to, source: no_route };
    for own in addresses {
        match send_one(packet, to, &Via::Source(own.address)).await {
            Ok(one) => {
                let interface = Some(own.interface);
                match &mut sent {
                    Some(first) => first.copies.push(Departure {
                        from: one.from,
                        interface,
                    }),
                    None => sent = Some(Sent { interface, ..one }),
                }
            }
            Err(error) => failure = error,
        }
    }
    sent.ok_or(failure)
}

async fn send_one(packet: &MagicPacket, to: SocketAddrV4, via: &Via) -> Result<Sent, SendError> {
    let socket = open(to, via)?;
    // Connected, so that the kernel chooses the source address now and tells it.
    socket.connect(to).await.map_err(|source| classify(to, source))?;
    let from = socket.local_addr().map_err(|source| classify(to, source))?;
    let bytes = socket
        .send(packet.as_bytes())
        .await
        .map_err(|source| classify(to, source))?;
    let interface = match via {
        Via::Interface(name) => Some(name.clone()),
        Via::Routing | Via::Source(_) => interfaces::name_of(from.ip()),
    };
    Ok(Sent {
        bytes,
        from,
        interface,
        to: to.into(),
        copies: Vec::new(),
    })
}

fn open(to: SocketAddrV4, via: &Via) -> Result<UdpSocket, SendError> {
    let failed = |source| classify(to, source);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).map_err(failed)?;
    socket.set_nonblocking(true).map_err(failed)?;
    // Always: whether an address is some network's broadcast address is not visible from here.
    socket.set_broadcast(true).map_err(failed)?;
    match via {
        Via::Routing => {}
        Via::Interface(name) => bind_to_interface(&socket, name, to)?,
        Via::Source(address) => {
            let bound = socket.bind(&SocketAddrV4::new(*address, 0).into());
            bound.map_err(|source| match source.kind() {
                io::ErrorKind::AddrNotAvailable => SendError::NotOurAddress { address: *address },
                _ => classify(to, source),
            })?;
        }
    }
    UdpSocket::from_std(socket.into()).map_err(failed)
}

#[cfg(target_os = "linux")]
fn bind_to_interface(socket: &Socket, name: &str, to: SocketAddrV4) -> Result<(), SendError> {
    const ENODEV: i32 = 19;
    /// Source: linux/if.h, IFNAMSIZ counts the closing zero.
    const MAX_NAME: usize = 15;
    // The kernel takes an empty name for "none" and cuts a long one: both would send by another way.
    if name.is_empty() || name.len() > MAX_NAME || name.contains('\0') {
        return Err(SendError::NoSuchInterface {
            name: name.to_owned(),
        });
    }
    socket
        .bind_device(Some(name.as_bytes()))
        .map_err(|source| match source.raw_os_error() {
            Some(ENODEV) => SendError::NoSuchInterface {
                name: name.to_owned(),
            },
            _ => classify(to, source),
        })
}

#[cfg(not(target_os = "linux"))]
fn bind_to_interface(socket: &Socket, name: &str, to: SocketAddrV4) -> Result<(), SendError> {
    let addresses = interfaces::broadcast_addresses().map_err(|source| classify(to, source))?;
    let own = addresses.into_iter().find(|own| own.interface == name);
    let own = own.ok_or_else(|| SendError::NoSuchInterface {
        name: name.to_owned(),
    })?;
    socket
        .bind(&SocketAddrV4::new(own.address, 0).into())
        .map_err(|source| classify(to, source))
}

fn classify(to: SocketAddrV4, source: io::Error) -> SendError {
    use io::ErrorKind::{HostUnreachable, NetworkDown, NetworkUnreachable, PermissionDenied};
    match source.kind() {
        NetworkUnreachable | HostUnreachable | NetworkDown => SendError::NoRoute { to, source },
        PermissionDenied => SendError::NotPermitted { to, source },
        _ => SendError::Socket { to, source },
    }
}

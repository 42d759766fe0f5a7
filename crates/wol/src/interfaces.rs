//! This machine's own interfaces, as far as sending needs them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use if_addrs::{IfAddr, Interface, get_if_addrs};

/// One IPv4 address of one interface that a broadcast can leave by.
pub(crate) struct BroadcastAddress {
    pub(crate) interface: String,
    pub(crate) address: Ipv4Addr,
}

/// The first address of each interface that is up and has neighbours to broadcast to.
///
/// The broadcast address the kernel reports is not looked at: an address set without one still belongs to an
/// interface that can broadcast.
pub(crate) fn broadcast_addresses() -> io::Result<Vec<BroadcastAddress>> {
    let mut found: Vec<BroadcastAddress> = Vec::new();
    for interface in get_if_addrs()? {
        let IfAddr::V4(v4) = &interface.addr else { continue };
        let has_neighbours = !v4.is_loopback() && !interface.is_p2p() && v4.prefixlen < 31;
        let known = found.iter().any(|other| other.interface == interface.name);
        if has_neighbours && interface.is_oper_up() && !known {
            found.push(BroadcastAddress {
                interface: interface.name,
                address: v4.ip,
            });
        }
    }
    Ok(found)
}

/// The name of the interface that has this address, if it can be found out.
pub(crate) fn name_of(address: IpAddr) -> Option<String> {
    let interfaces = get_if_addrs().ok()?;
    let own = |interface: &&Interface| interface.ip() == address;
    let name = interfaces
        .iter()
        .find(own)
        .map(|interface| interface.name.clone());
    // The whole of 127.0.0.0/8 is local although one address of it is listed.
    name.or_else(|| {
        let loopback = interfaces.iter().find(|interface| interface.is_loopback());
        loopback
            .filter(|_| address.is_loopback())
            .map(|interface| interface.name.clone())
    })
}

//! Names to addresses, and whether an address may be spoken to at all.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::time::timeout;
use wol::{TcpProbe, tcp_reachable};

/// Addresses of one name that are looked at; more would only be a longer wait.
const MAX_ADDRESSES: usize = 4;
/// A name server that does not answer is not waited for longer.
const RESOLVE_WITHIN: Duration = Duration::from_secs(3);

/// Why a name led to no address.
#[derive(Debug)]
pub(crate) enum NoAddress {
    /// One of the addresses is outside the allowed networks.
    NotAllowed(IpAddr),
    /// There is no such name, or nobody could say.
    Unresolved(io::Error),
}

/// The addresses of a name, if *every* one of them is in an allowed network. Asked anew each time, and only what was
/// asked for and checked is dialled: a name server may change its mind.
pub(crate) async fn resolve(name: &str, port: u16, allowed: &[IpNet]) -> Result<Vec<SocketAddr>, NoAddress> {
    resolve_by(name, port, allowed, look_up(name, port)).await
}

/// One address outside refuses them all, or whoever answers for the name could choose.
async fn resolve_by(
    name: &str,
    port: u16,
    allowed: &[IpNet],
    look_up: impl Future<Output = io::Result<Vec<SocketAddr>>>,
) -> Result<Vec<SocketAddr>, NoAddress> {
    let found = match name.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => look_up.await.map_err(NoAddress::Unresolved)?,
    };
    match found.iter().find(|address| !is_allowed(address.ip(), allowed)) {
        Some(outside) => Err(NoAddress::NotAllowed(outside.ip())),
        None => Ok(found),
    }
}

async fn look_up(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let timed_out = |_| io::Error::new(io::ErrorKind::TimedOut, "the name server did not answer");
    let found: Vec<_> = timeout(RESOLVE_WITHIN, tokio::net::lookup_host((name, port)))
        .await
        .map_err(timed_out)??
        .collect();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(found)
}

/// Whether an address lies in one of the networks. An IPv4 address written as IPv6 counts as what it is.
#[must_use]
pub fn is_allowed(address: IpAddr, allowed: &[IpNet]) -> bool {
    let address = address.to_canonical();
    allowed.iter().any(|network| network.contains(&address))
}

/// The first address that accepts a connection, else what the last one did.
pub(crate) async fn probe(addresses: &[SocketAddr], within: Duration) -> TcpProbe {
    let mut seen = TcpProbe::Silent;
    for address in addresses.iter().take(MAX_ADDRESSES) {
        seen = tcp_reachable(*address, within).await;
        if seen.is_open() {
            break;
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::private_networks;

    #[test]
    fn private_addresses_are_allowed_however_they_are_written() {
        let allowed = private_networks();
        for address in [
            "10.1.2.3",
            "172.31.0.1",
            "192.168.7.7",
            "127.9.9.9",
            "::1",
            "fd00::7",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_allowed(address.parse().unwrap(), &allowed), "{address}");
        }
        for address in [
            "172.32.0.1",
            "8.8.8.8",
            "169.254.169.254",
            "fe80::1",
            "2001:db8::1",
            "::ffff:8.8.8.8",
        ] {
            assert!(!is_allowed(address.parse().unwrap(), &allowed), "{address}");
        }
    }

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn refused(found: &Result<Vec<SocketAddr>, NoAddress>) -> Option<String> {
        match found {
            Err(NoAddress::NotAllowed(address)) => Some(address.to_string()),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_name_server_that_changes_its_mind_is_looked_at_each_time() {
        let allowed = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let answers = [
            (addresses(&["10.0.0.1:5985", "[fd00::1]:5985"]), None),
            (addresses(&["8.8.8.8:5985"]), Some("8.8.8.8")),
            (
                addresses(&["10.0.0.1:5985", "10.0.0.2:5985", "127.0.0.1:5985"]),
                Some("127.0.0.1"),
            ),
            (
                addresses(&["[::ffff:8.8.8.8]:5985", "10.0.0.1:5985"]),
                Some("::ffff:8.8.8.8"),
            ),
            (addresses(&["10.0.0.9:5985"]), None),
        ];
        for (answer, outside) in answers {
            let found = resolve_by("lab-ws-01", 5985, &allowed, async { Ok(answer.clone()) }).await;
            assert_eq!(refused(&found).as_deref(), outside, "{found:?}");
            if outside.is_none() {
                assert_eq!(found.unwrap(), answer, "what was checked is what is dialled");
            }
        }
    }

    #[tokio::test]
    async fn the_word_of_a_name_server_does_not_count_for_an_address() {
        let allowed = ["10.0.0.0/8".parse().unwrap()];
        let lying = async { Ok(addresses(&["10.0.0.1:80"])) };
        let found = resolve_by("8.8.8.8", 80, &allowed, lying).await;
        assert_eq!(refused(&found).as_deref(), Some("8.8.8.8"));
        let gone = async { Err(io::ErrorKind::NotFound.into()) };
        let found = resolve_by("lab-ws-01", 80, &allowed, gone).await;
        assert!(matches!(found, Err(NoAddress::Unresolved(_))), "{found:?}");
    }

    #[test]
    fn a_scope_does_not_let_a_link_local_address_in_and_a_network_does() {
        let scoped: SocketAddr = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 5985, 0, 2).into();
        assert!(!is_allowed(scoped.ip(), &private_networks()));
        assert!(is_allowed(scoped.ip(), &["fe80::/10".parse().unwrap()]));
    }

    #[test]
    fn addresses_that_only_carry_an_ipv4_address_are_not_taken_for_it() {
        let allowed = ["10.0.0.0/8".parse().unwrap()];
        for text in ["::10.0.0.1", "64:ff9b::10.0.0.1", "2002:0a00:0001::1"] {
            assert!(!is_allowed(text.parse().unwrap(), &allowed), "{text}");
        }
        assert!(is_allowed("::ffff:10.0.0.1".parse().unwrap(), &allowed));
    }

    #[tokio::test]
    async fn one_address_outside_refuses_the_whole_name() {
        let allowed = ["127.0.0.1/32".parse().unwrap()];
        assert!(resolve("127.0.0.1", 80, &allowed).await.is_ok());
        let refused = resolve("127.0.0.2", 80, &allowed).await;
        assert!(matches!(refused, Err(NoAddress::NotAllowed(_))), "{refused:?}");
        let refused = resolve("localhost", 80, &["10.0.0.0/8".parse().unwrap()]).await;
        assert!(matches!(refused, Err(NoAddress::NotAllowed(_))), "{refused:?}");
    }
}

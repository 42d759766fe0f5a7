//! Where a client connects to, and where it may.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Scheme, host and port of one WS-Management listener; the path is always `/wsman`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The TCP port: 5985 and 5986 by custom.
    pub port: u16,
}

impl Endpoint {
    /// A plain HTTP endpoint. Bodies are sealed by NTLM, never sent in clear (except with Basic, if allowed).
    pub fn http(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Http,
            host: host.into(),
            port,
        }
    }

    /// An HTTPS endpoint.
    pub fn https(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Https,
            host: host.into(),
            port,
        }
    }

    /// The value of the `Host` header: IPv6 addresses in brackets, always with the port.
    pub(crate) fn authority(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(address) => format!("[{address}]:{}", self.port),
            Err(_) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}/wsman", self.authority())
    }
}

/// Plain HTTP or HTTP over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP: NTLM seals every body.
    Http,
    /// HTTP over TLS 1.2 or 1.3: NTLM is bound to the server's certificate.
    Https,
}

/// The networks a client may dial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedNetworks {
    /// No restriction.
    Any,
    /// Only these. One resolved address outside of them is enough to refuse the whole name.
    Only(Vec<IpNet>),
}

impl AllowedNetworks {
    /// Says whether `address` may be dialled. An IPv4 address in IPv6 clothes is judged as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Only(nets) => nets.iter().any(|net| net.contains(&address.to_canonical())),
        }
    }

    /// The first address outside: one is enough to refuse a name, or whoever answers for the name could choose.
    pub(crate) fn find_outside(&self, addresses: &[SocketAddr]) -> Option<SocketAddr> {
        addresses
            .iter()
            .copied()
            .find(|address| !self.contains(address.ip()))
    }
}

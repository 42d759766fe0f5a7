//! Whom a call really came from: the other end of the connection, or, when that is a proxy we trust, whom it names.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use ops_runtime::http::Peer;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// Longer chains of proxies are made up.
const MOST_HOPS: usize = 16;

/// The proxies that are believed.
#[derive(Debug, Clone)]
pub(crate) struct Trust(Arc<[IpNet]>);

impl Trust {
    pub(crate) fn new(networks: &[IpNet]) -> Self {
        Self(networks.into())
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    fn holds_peer(&self, request: &Request) -> bool {
        peer(request).is_some_and(|address| self.holds(address))
    }

    /// The caller's address; `None` only where there is no connection.
    pub(crate) fn source(&self, request: &Request) -> Option<IpAddr> {
        let peer = peer(request)?;
        if !self.holds(peer) {
            return Some(peer);
        }
        Some(self.forwarded(request.headers()).unwrap_or(peer))
    }

    /// The last address of the chain that is none of our proxies: what stands before it, anybody may have written.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers.get_all(FORWARDED_FOR);
        let mut chain: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
            .collect();
        if chain.is_empty() {
            chain.extend(headers.get(REAL_IP).and_then(|value| value.to_str().ok()));
        }
        let mut nearest = None;
        for hop in chain.iter().rev().take(MOST_HOPS) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            let address = address.to_canonical();
            nearest = Some(address);
            if !self.holds(address) {
                break;
            }
        }
        nearest
    }

    /// The name the caller knows us by, with its port if it has one.
    pub(crate) fn own_host<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let headers = request.headers();
        if self.holds_peer(request)
            && let Some(host) = headers.get(FORWARDED_HOST)
        {
            return host.to_str().ok();
        }
        if let Some(authority) = request.uri().authority() {
            return Some(authority.as_str());
        }
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().filter(|_| hosts.next().is_none())?;
        host.to_str().ok()
    }

    /// All names that the request calls us by, whoever wrote them; `None` for one that is no text.
    pub(crate) fn names(request: &Request) -> impl Iterator<Item = Option<&str>> {
        let headers = request.headers();
        let said = headers
            .get_all(header::HOST)
            .iter()
            .chain(headers.get_all(FORWARDED_HOST));
        let authority = request
            .uri()
            .authority()
            .map(|authority| Some(authority.as_str()));
        authority.into_iter().chain(said.map(|name| name.to_str().ok()))
    }

    /// The caller's address, unless that is one of our proxies itself, which may call for anybody.
    pub(crate) fn stranger(&self, request: &Request) -> Option<IpAddr> {
        self.source(request).filter(|address| !self.holds(*address))
    }

    /// Whether the caller reaches us below `/ops/`: by the path it sent, or as a proxy says that cut it off.
    pub(crate) fn below_prefix(&self, peer: Option<Peer>, headers: &HeaderMap, path: &str) -> bool {
        let said = headers.get(FORWARDED_PREFIX).map(HeaderValue::as_bytes);
        let believed = peer.is_some_and(|Peer(peer)| self.holds(peer.ip().to_canonical()));
        path.starts_with("/ops/") || (believed && matches!(said, Some(b"/ops" | b"/ops/")))
    }
}

fn peer(request: &Request) -> Option<IpAddr> {
    let Peer(address) = request.extensions().get::<Peer>()?;
    Some(address.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(peer: &str, headers: &[(&'static str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        let address = format!("{peer}:4711").parse().unwrap();
        request.extensions_mut().insert(Peer(address));
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        request
    }

    fn trust() -> Trust {
        Trust::new(&["127.0.0.0/8".parse().unwrap(), "10.9.0.0/16".parse().unwrap()])
    }

    #[test]
    fn only_a_trusted_proxy_may_say_for_whom_it_calls() {
        let source = |peer: &str, headers: &[(&'static str, &str)]| {
            trust().source(&request(peer, headers)).unwrap().to_string()
        };
        let forged = [("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "192.0.2.2")];
        assert_eq!(source("198.51.100.7", &forged), "198.51.100.7");
        assert_eq!(source("127.0.0.1", &forged), "192.0.2.1");
        assert_eq!(source("127.0.0.1", &forged[1..]), "192.0.2.2");
        assert_eq!(source("127.0.0.1", &[]), "127.0.0.1");
        let chain = [
            ("x-forwarded-for", "1.1.1.1, 203.0.113.9"),
            ("x-forwarded-for", "10.9.1.1"),
        ];
        assert_eq!(source("127.0.0.1", &chain), "203.0.113.9");
        let broken = [("x-forwarded-for", "1.1.1.1, oops\t, 10.9.1.1")];
        assert_eq!(source("127.0.0.1", &broken), "10.9.1.1");
        assert_eq!(source("[::ffff:127.0.0.1]", &forged), "192.0.2.1");
    }

    #[test]
    fn the_name_we_are_called_by_comes_from_the_proxy_only_if_it_is_trusted() {
        let sent = [("host", "inner:8081"), ("x-forwarded-host", "gateway.example")];
        assert_eq!(
            trust().own_host(&request("127.0.0.1", &sent)),
            Some("gateway.example")
        );
        assert_eq!(trust().own_host(&request("192.0.2.1", &sent)), Some("inner:8081"));
        let twice = [("host", "a"), ("host", "b")];
        assert_eq!(trust().own_host(&request("192.0.2.1", &twice)), None);
    }
}

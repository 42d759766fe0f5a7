//! From a name to a stream: resolve, check every address, dial only what was checked, verify.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, Stage, TlsError};
use crate::peer::{Counters, Peer, Whereabouts};
use crate::settings::Settings;
use crate::tls;

/// More addresses than any sane name has.
const MAX_ADDRESSES: usize = 16;

/// A verified stream.
pub(crate) enum Stream {
    Plain(TcpStream),
    /// With the channel binding of the certificate seen on this very connection.
    Tls(Box<TlsStream<TcpStream>>, [u8; 16]),
}

/// Opens a stream; over TLS, nothing of ours has been sent before the peer was verified.
pub(crate) async fn open(peer: &Peer, whereabouts: &Whereabouts) -> Result<Stream, Error> {
    let settings = &peer.settings;
    whereabouts.set(Stage::Connect);
    let (tcp, address) = dial(settings).await?;
    Counters::add(&peer.counters.connections);
    let Some((store, name)) = &peer.trust else {
        return Ok(Stream::Plain(tcp));
    };
    whereabouts.set(Stage::Tls);
    let connector = TlsConnector::from(store.config.clone());
    let handshake = timeout(settings.timeouts.tls, connector.connect(name.clone(), tcp)).await;
    let failed = |source| Error::Tls { address, source };
    let stream = match handshake {
        Ok(done) => done.map_err(|error| failed(tls::classify(error, name)))?,
        Err(_) => return Err(failed(TlsError::Other(io::ErrorKind::TimedOut.into()))),
    };
    let leaf = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let missing = || failed(TlsError::Other(io::Error::other("peer showed no certificate")));
    let binding = tls::channel_binding(leaf.ok_or_else(missing)?);
    Ok(Stream::Tls(Box::new(stream), binding))
}

async fn dial(settings: &Settings) -> Result<(TcpStream, SocketAddr), Error> {
    let until = Instant::now() + settings.timeouts.connect;
    let addresses = resolve(settings, until).await?;
    let mut last = None;
    for (tried, address) in addresses.iter().enumerate() {
        // Each address gets its share, so that one that swallows packets does not starve the next.
        let share = until.saturating_duration_since(Instant::now()) / (addresses.len() - tried) as u32;
        let result = match timeout(share, TcpStream::connect(*address)).await {
            Ok(result) => result.and_then(|stream| prepare(&stream).map(|()| stream)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match result {
            Ok(stream) => return Ok((stream, *address)),
            Err(source) => {
                last = Some(Error::Connect {
                    address: *address,
                    source,
                })
            }
        }
    }
    Err(last.unwrap_or_else(|| unresolved(settings, io::ErrorKind::NotFound.into())))
}

async fn resolve(settings: &Settings, until: Instant) -> Result<Vec<SocketAddr>, Error> {
    let endpoint = &settings.endpoint;
    let lookup = timeout_at(until, lookup_host((endpoint.host.as_str(), endpoint.port))).await;
    let found = lookup.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    let addresses: Vec<_> = found
        .map_err(|source| unresolved(settings, source))?
        .take(MAX_ADDRESSES)
        .collect();
    match settings.allowed_networks.find_outside(&addresses) {
        Some(address) => Err(Error::AddressNotAllowed { address }),
        None => Ok(addresses),
    }
}

fn unresolved(settings: &Settings, source: io::Error) -> Error {
    Error::Resolve {
        host: settings.endpoint.host.clone(),
        source,
    }
}

/// A host that vanished without a word ends the connection within about a minute.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
    Ok(())
}

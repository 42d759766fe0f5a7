//! The WinRM ports of a running machine: open from boot to shutdown.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::service::{self, Certificates, Connection};
use super::wire::{FaultyStream, Stream, Wire, reset};
use crate::effects::{Gauge, count};
use crate::faults::{At, Strike};
use crate::host::{Inner, ServiceStage};

/// Longest time for a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);
/// Longest time a connection is kept that hangs before its first request.
const HANG_LIMIT: Duration = Duration::from_secs(600);
/// Connections that wait to be accepted, of one host.
const BACKLOG: u32 = 1024;
/// Largest request head.
const HEAD_LIMIT: usize = 32 * 1024;

/// The hosts behind a wildcard listener, by their address.
pub(crate) type ByAddress = HashMap<Ipv4Addr, Arc<Inner>>;

/// Open ports with all their connections.
pub(crate) struct Listeners {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Listeners {
    /// Opens the ports of a host.
    pub(crate) async fn open(host: Arc<Inner>) -> io::Result<Self> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        if let Some(door) = host.door() {
            door.open(stop.clone(), tasks.clone());
            return Ok(Self { stop, tasks });
        }
        let http = listen(host.http, BACKLOG).await?;
        let https = match host.https {
            Some(address) => Some(listen(address, BACKLOG).await?),
            None => None,
        };
        tasks.spawn(accept(host, http, https, stop.clone(), tasks.clone()));
        Ok(Self { stop, tasks })
    }

    /// Closes the ports and all connections, as a machine that goes down does.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Binds a port that the machine had before: a closed connection in its last state does not hinder that.
pub(crate) async fn listen(address: SocketAddr, backlog: u32) -> io::Result<TcpListener> {
    let mut tries = 0;
    loop {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        match socket.bind(address).and_then(|()| socket.listen(backlog)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < 20 => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn accept(
    host: Arc<Inner>,
    http: TcpListener,
    https: Option<TcpListener>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let secure_connection = async {
            match &https {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let (accepted, secure) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = http.accept() => (accepted, false),
            accepted = secure_connection => (accepted, true),
        };
        match accepted {
            Ok((tcp, peer)) => {
                let (host, stop) = (Arc::clone(&host), stop.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = serve(host, tcp, peer, secure) => {}
                    }
                });
            }
            Err(error) => {
                // Out of descriptors or the like: give others time to close some.
                tracing::warn!(host.name = %host.spec.name, %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one port of all hosts of a farm until `stop`: the address a client spoke to says whom it meant.
pub(crate) async fn accept_for_all(
    listener: TcpListener,
    secure: bool,
    hosts: Arc<ByAddress>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => hand_over(&hosts, tcp, peer, secure),
            Err(error) => {
                // Out of descriptors or the like: give others time to close some.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Gives a connection to the host it is meant for. Where nobody is, or its machine is off, it is reset.
fn hand_over(hosts: &ByAddress, tcp: TcpStream, peer: SocketAddr, secure: bool) {
    let host = match tcp.local_addr().map(|address| address.ip()) {
        Ok(IpAddr::V4(address)) => hosts.get(&address),
        _ => None,
    };
    let Some((host, (stop, tasks))) = host.and_then(|host| Some((host, host.door()?.way_in()?))) else {
        reset(&tcp);
        return;
    };
    let host = Arc::clone(host);
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = serve(host, tcp, peer, secure) => {}
        }
    });
}

async fn serve(host: Arc<Inner>, tcp: TcpStream, peer: SocketAddr, secure: bool) {
    count(&host.counts.connections);
    let open = host.counts.open_connections.load(Ordering::Relaxed);
    if host.stage() == ServiceStage::Resets || open >= host.spec.quotas.max_connections as u64 {
        reset(&tcp);
        return;
    }
    let _open = Gauge::up(&host.counts.open_connections);
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    match host.faults.strike(At::Connect) {
        Some(strike) => end(tcp, strike).await,
        None if secure => serve_tls(&host, tcp, peer).await,
        None => serve_http(&host, Stream::Plain(tcp), peer, Certificates::default()).await,
    }
}

/// Answers nothing until the peer gives up, or resets.
async fn end(mut tcp: TcpStream, strike: Strike) {
    if strike == Strike::Reset {
        reset(&tcp);
        return;
    }
    let drain = async {
        let mut scrap = [0_u8; 256];
        while tcp.read(&mut scrap).await.is_ok_and(|read| read > 0) {}
    };
    // Either the peer is gone or its patience is endless; both end the wait.
    tokio::time::timeout(HANG_LIMIT, drain).await.unwrap_or_default();
}

async fn serve_tls(host: &Arc<Inner>, tcp: TcpStream, peer: SocketAddr) {
    if let Some(strike) = host.faults.strike(At::TlsHandshake) {
        return end(tcp, strike).await;
    }
    let identity = match host.identity() {
        Ok(identity) => identity,
        Err(error) => {
            tracing::error!(host.name = %host.spec.name, %error, "no certificate");
            return;
        }
    };
    let acceptor = TlsAcceptor::from(Arc::clone(&identity.config));
    match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(tcp)).await {
        Ok(Ok(tls)) => {
            count(&host.counts.tls_handshakes);
            let shown = tls
                .get_ref()
                .1
                .peer_certificates()
                .and_then(|chain| chain.first());
            let certificates = Certificates {
                own: Some(identity.sha256),
                client: shown.map(|leaf| Sha256::digest(leaf).into()),
            };
            serve_http(host, Stream::Tls(Box::new(tls)), peer, certificates).await;
        }
        Ok(Err(error)) => tracing::debug!(host.name = %host.spec.name, %error, "tls handshake failed"),
        Err(_) => tracing::debug!(host.name = %host.spec.name, "tls handshake timed out"),
    }
}

async fn serve_http(host: &Arc<Inner>, stream: Stream, peer: SocketAddr, certificates: Certificates) {
    let wire = Arc::new(Wire::default());
    let connection = Arc::new(Connection::new(
        Arc::clone(host),
        peer.ip(),
        certificates,
        Arc::clone(&wire),
    ));
    let io = TokioIo::new(FaultyStream::new(stream, wire));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // The wait for a head includes the idle time between two requests.
        .header_read_timeout(host.spec.idle_close)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(
            io,
            service_fn(move |request| service::handle(Arc::clone(&connection), request)),
        )
        .await;
    if let Err(error) = served {
        tracing::trace!(host.name = %host.spec.name, %error, "connection ended");
    }
}

//! A way to a server that can be closed and opened: a database that is away for a while.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Forwards a loopback port of its own to a server, while it is open.
pub(crate) struct Forwarder {
    address: SocketAddr,
    server: SocketAddr,
    /// Holds the port while nobody listens, so that connections are refused and nobody else gets it.
    reserved: Option<TcpSocket>,
    open: Option<DropGuard>,
}

impl Forwarder {
    /// Chooses a port; it is closed for now.
    pub(crate) fn to(server: SocketAddr) -> Self {
        let reserved = reserve(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self {
            address: reserved.local_addr().unwrap(),
            server,
            reserved: Some(reserved),
            open: None,
        }
    }

    /// Where it listens when it is open.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn open(&mut self) {
        let socket = self.reserved.take().expect("it is closed");
        let listener = socket.listen(64).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(forward(listener, self.server, stop.clone()));
        self.open = Some(stop.drop_guard());
    }

    /// Refuses new connections and cuts those that are open.
    pub(crate) async fn close(&mut self) {
        self.open = None;
        // The port is free again as soon as the task that listened is gone.
        let address = self.address;
        self.reserved =
            Some(super::until("the port is free", || std::future::ready(try_reserve(address))).await);
    }
}

fn reserve(address: SocketAddr) -> TcpSocket {
    try_reserve(address).unwrap()
}

fn try_reserve(address: SocketAddr) -> Option<TcpSocket> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).ok().map(|()| socket)
}

async fn forward(listener: TcpListener, server: SocketAddr, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    while let Some(Ok((mut near, _))) = stop.run_until_cancelled(listener.accept()).await {
        connections.spawn(async move {
            if let Ok(mut far) = TcpStream::connect(server).await {
                // Either end hanging up is the end of it.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

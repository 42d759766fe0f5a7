//! A way to a server that can be closed and opened: a database that is away for a while.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Forwards a loopback port of its own to a server, while it is open.
pub(crate) struct Forwarder {
    address: SocketAddr,
    server: SocketAddr,
    /// Holds the port while nobody listens, so that connections are refused and nobody else gets it.
    reserved: Option<TcpSocket>,
    open: Option<DropGuard>,
    /// Takes everything and passes nothing on.
    stalled: watch::Sender<bool>,
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
            stalled: watch::Sender::new(false),
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
        tokio::spawn(forward(
            listener,
            self.server,
            stop.clone(),
            self.stalled.subscribe(),
        ));
        self.open = Some(stop.drop_guard());
    }

    /// Connections stay open and are accepted, and nothing goes through them: a server that hangs.
    pub(crate) fn stall(&self) {
        self.stalled.send_replace(true);
    }

    /// Passes on what waits, and what comes.
    pub(crate) fn resume(&self) {
        self.stalled.send_replace(false);
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

async fn forward(
    listener: TcpListener,
    server: SocketAddr,
    stop: CancellationToken,
    stalled: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    while let Some(Ok((near, _))) = stop.run_until_cancelled(listener.accept()).await {
        let stalled = stalled.clone();
        connections.spawn(async move {
            if let Ok(far) = TcpStream::connect(server).await {
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                // Either end hanging up is the end of it.
                tokio::select! {
                    () = pump(near_in, far_out, stalled.clone()) => {}
                    () = pump(far_in, near_out, stalled) => {}
                }
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut stalled: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if stalled.wait_for(|stalled| !stalled).await.is_err() || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

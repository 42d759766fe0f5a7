//! The accept loop.

use std::error::Error;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use worker_registry::Pulse;

use super::connection::{Connection, Peer};
use super::phase::{HttpLimits, Phase};
use super::stream::Noted;

/// A header is some lines; hyper's own bound would be a hundred times this for each connection.
const HEADER_BYTES: usize = 32 * 1024;
const HEADER_LINES: usize = 64;

/// How connections are served.
#[derive(Debug, Default)]
pub struct Server {
    /// How many callers there may be, and how long each may keep us waiting.
    pub limits: HttpLimits,
    /// How long calls under way may go on once it is to stop.
    pub grace: Duration,
    /// Beats while connections are accepted.
    pub pulse: Option<Pulse>,
}

impl Server {
    /// Serves until `stop`, then lets calls under way end for at most the grace period. A connection that keeps us
    /// waiting beyond the limits is closed.
    ///
    /// # Cancel safety
    /// Dropping it stops accepting; calls under way go on without being waited for.
    pub async fn serve<S, B>(self, listener: TcpListener, service: S, stop: CancellationToken)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + Send + 'static,
    {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.limits.connections));
        while let Some((stream, peer, place)) = self.next(&listener, &places, &stop).await {
            let phase = Arc::new(Phase::new());
            let service = Connection {
                service: service.clone(),
                peer: Peer(peer),
                phase: Arc::clone(&phase),
            };
            tokio::spawn(serve_one(
                Noted { stream, phase },
                service,
                self.limits,
                graceful.watcher(),
                place,
            ));
        }
        drop(listener);
        if tokio::time::timeout(self.grace, graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("some calls did not end within the grace period");
        }
    }

    /// The next connection, once there is a place for it; `None` when it is time to stop.
    async fn next(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
        loop {
            let next = stop.run_until_cancelled(async {
                // The semaphore is never closed.
                let place = Arc::clone(places).acquire_owned().await.ok()?;
                Some((listener.accept().await, place))
            });
            let next = match &self.pulse {
                Some(pulse) => pulse.while_waiting(next).await,
                None => next.await,
            };
            match next?? {
                (Ok((stream, peer)), place) => {
                    if let Err(error) = let_go_of_the_lost(&stream, self.limits.stalled) {
                        tracing::debug!(%peer, %error, "the kernel sets the connection no limit");
                    }
                    return Some((stream, peer, place));
                }
                (Err(error), _) => {
                    // Out of descriptors, most likely: without a pause this would spin until one is free.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// A peer that vanished takes nothing and says nothing: what is written to it would wait in the kernel for a quarter of
/// an hour, and a stream with it.
fn let_go_of_the_lost(stream: &TcpStream, after: Duration) -> std::io::Result<()> {
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(after))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(after))
}

async fn serve_one<S, B>(
    stream: Noted,
    service: Connection<S>,
    limits: HttpLimits,
    watcher: Watcher,
    place: OwnedSemaphorePermit,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + Sync + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin + Send + 'static,
{
    let Peer(peer) = service.peer;
    let phase = Arc::clone(&stream.phase);
    // hyper's own header timeout would also run between two calls, and so close connections a proxy keeps.
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_LINES)
        .serve_connection(TokioIo::new(stream), service);
    let connection = pin!(watcher.watch(connection));
    tokio::select! {
        ended = connection => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended early");
            }
        }
        late = phase.late(&limits) => {
            tracing::debug!(%peer, "closed the connection: {}", late.as_str());
        }
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_to_a_peer_that_vanished_ends_by_itself() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server {
            limits: HttpLimits {
                stalled: Duration::from_secs(7),
                ..HttpLimits::default()
            },
            ..Server::default()
        };
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let places = Arc::new(Semaphore::new(1));
        let next = server.next(&listener, &places, &CancellationToken::new()).await;
        let (stream, ..) = next.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(7));
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(7)));
    }
}

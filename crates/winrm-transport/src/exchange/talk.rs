//! What a connection consists of: hyper with its buffers while a call has it, nothing but the socket between calls.
//!
//! hyper keeps three buffers of 8 KiB or more for as long as its connection lives, most of what an idle host would
//! cost. It gives the socket back, so that between calls there is no hyper: the next call puts a new one on top.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::Work;
use crate::connect::Stream;

/// Bytes that the head of an answer may have.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;

type Http = http1::Connection<TokioIo<Socket>, Full<Bytes>>;
pub(super) type Sender = SendRequest<Full<Bytes>>;

/// One connection's work.
pub(super) enum Talk {
    /// Requests and answers.
    Busy(Box<Http>),
    /// None. A host that closes now, or says something that nobody asked for, ends it.
    Resting(Socket),
    /// From one to the other.
    Between,
}

impl Talk {
    /// Puts HTTP on top of a socket on which nothing is under way.
    pub(super) async fn begin(socket: Socket) -> hyper::Result<(Sender, Self)> {
        let mut builder = http1::Builder::new();
        // Not in pieces: head and body of a usual request fit the buffer that hyper has anyway.
        builder
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .writev(false);
        let (sender, http) = builder.handshake(TokioIo::new(socket)).await?;
        Ok((sender, Self::Busy(Box::new(http))))
    }

    /// Takes HTTP off again, when no request is under way. Nothing is left where the socket cannot be used again:
    /// bytes that belong to no answer have come, or a part of the request has not gone.
    pub(super) fn rest(self) -> Option<Self> {
        match self {
            Self::Busy(http) => {
                let parts = http.into_parts();
                let socket = parts.io.into_inner();
                (parts.read_buf.is_empty() && !socket.unsent).then_some(Self::Resting(socket))
            }
            other => Some(other),
        }
    }
}

impl Work for Talk {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Busy(http) => {
                if let Err(error) = ready!(Pin::new(http).poll(cx)) {
                    tracing::debug!(%error, "connection ended");
                }
                Poll::Ready(())
            }
            Self::Resting(socket) => {
                let mut byte = [0; 1];
                Pin::new(socket)
                    .poll_read(cx, &mut ReadBuf::new(&mut byte))
                    .map(|_| ())
            }
            Self::Between => Poll::Pending,
        }
    }
}

/// A stream that knows whether all that was given to it has left.
pub(super) struct Socket {
    stream: Stream,
    /// hyper flushes when it has nothing more to write, and only then.
    unsent: bool,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            unsent: false,
        }
    }

    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        let stream: &mut dyn Duplex = match &mut self.stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls, _) => &mut **tls,
        };
        Pin::new(stream)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unsent = true;
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.unsent = true;
        self.stream().poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(tcp) => tcp.is_write_vectored(),
            Stream::Tls(tls, _) => tls.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.stream().poll_flush(cx))?;
        self.unsent = false;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    use hyper::{Method, Request, StatusCode};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (ours, theirs) = tokio::join!(
            TcpStream::connect(listener.local_addr().unwrap()),
            listener.accept()
        );
        (ours.unwrap(), theirs.unwrap().0)
    }

    /// Does the work of `talk` until `wanted` is there, then once more.
    async fn drive<F: Future>(talk: &mut Talk, wanted: F) -> F::Output {
        let mut wanted = pin!(wanted);
        poll_fn(|cx| {
            assert!(talk.poll(cx).is_pending(), "the connection has ended");
            let found = wanted.as_mut().poll(cx);
            if found.is_ready() {
                assert!(talk.poll(cx).is_pending(), "the connection has ended");
            }
            found
        })
        .await
    }

    fn request(length: usize) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(vec![b'x'; length])));
        *request.method_mut() = Method::POST;
        request
    }

    /// Reads what comes with the head, and answers.
    async fn answer(peer: &mut TcpStream) {
        let read = peer.read(&mut [0; 1024]).await.unwrap();
        assert!(read > 0);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        peer.write_all(answer).await.unwrap();
    }

    #[tokio::test]
    async fn requests_go_on_after_every_rest() {
        let (ours, mut peer) = pair().await;
        let (mut sender, mut talk) = Talk::begin(Socket::new(Stream::Plain(ours))).await.unwrap();
        for _ in 0..3 {
            let exchange = async {
                let (answered, ()) = tokio::join!(sender.send_request(request(3)), answer(&mut peer));
                answered.unwrap().status()
            };
            assert_eq!(drive(&mut talk, exchange).await, StatusCode::OK);
            assert!(sender.is_ready());
            talk = talk.rest().unwrap();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(talk.poll(&mut cx).is_pending());
            // To rest twice is to rest.
            let Some(Talk::Resting(socket)) = talk.rest() else {
                panic!("it does not rest")
            };
            (sender, talk) = Talk::begin(socket).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_socket_that_still_owes_a_part_of_a_request_is_not_kept() {
        let (ours, mut peer) = pair().await;
        let (mut sender, mut talk) = Talk::begin(Socket::new(Stream::Plain(ours))).await.unwrap();
        // More than both kernels' buffers hold; the answer comes before it was read.
        let exchange = async {
            let (answered, ()) = tokio::join!(sender.send_request(request(64 << 20)), answer(&mut peer));
            answered.unwrap().status()
        };
        let limited = tokio::time::timeout(Duration::from_secs(30), drive(&mut talk, exchange));
        assert_eq!(limited.await.unwrap(), StatusCode::OK);
        assert!(talk.rest().is_none());
    }
}

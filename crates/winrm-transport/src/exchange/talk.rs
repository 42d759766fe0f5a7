//! What a connection consists of: hyper with its buffers while a call has it, nothing but the socket between calls.
//!
//! hyper keeps three buffers of 8 KiB or more for as long as its connection lives, most of what an idle host would
//! cost. It gives the socket back, so that between calls there is no hyper: the next call puts a new one on top.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::wire::Work;
use crate::connect::Stream;

/// Bytes that the head of an answer may have.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;
/// An answer that comes in driblets, fewer bytes a second than these, is given up after a while: it would not be complete
/// before any deadline, and each driblet costs as much as a whole answer.
const LEAST_PER_SECOND: u64 = 32;
const PATIENCE: Duration = Duration::from_secs(4);
/// So many pieces are no driblets yet: some hosts send a head and take their time for the rest.
const FEW: u32 = 16;

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
    pace: Pace,
}

/// How fast an answer comes, from its first byte on.
#[derive(Debug, Default)]
struct Pace {
    since: Option<Instant>,
    pieces: u32,
    bytes: u64,
}

impl Pace {
    /// Takes note of what came. Gives whether it is worth waiting for more.
    fn goes_on(&mut self, bytes: usize, now: Instant) -> bool {
        let took = now.saturating_duration_since(*self.since.get_or_insert(now));
        self.pieces = self.pieces.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes as u64);
        took < PATIENCE || self.pieces < FEW || self.bytes >= took.as_secs() * LEAST_PER_SECOND
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl Socket {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            unsent: false,
            pace: Pace::default(),
        }
    }

    /// A request goes: what comes after it is another answer.
    fn sends(&mut self) {
        self.unsent = true;
        self.pace = Pace::default();
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
        let before = into.filled().len();
        ready!(self.stream().poll_read(cx, into))?;
        let came = into.filled().len() - before;
        if came > 0 && !self.pace.goes_on(came, Instant::now()) {
            let why = "the answer comes too slowly ever to be complete";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.sends();
        self.stream().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.sends();
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

    /// For how many seconds one piece after the other is taken, of at most ten thousand.
    fn taken_for(bytes: usize, every: Duration) -> Option<u64> {
        let (mut pace, start) = (Pace::default(), Instant::now());
        (0..10_000)
            .map(|piece| start + every * piece)
            .find(|now| !pace.goes_on(bytes, *now))
            .map(|end| (end - start).as_secs())
    }

    #[test]
    fn an_answer_in_driblets_is_given_up_and_one_on_a_slow_line_is_not() {
        let ms = Duration::from_millis;
        assert_eq!(taken_for(1, ms(200)), Some(4), "five bytes a second");
        assert_eq!(taken_for(1, ms(20)), None, "fifty");
        assert_eq!(taken_for(60, ms(1000)), None, "an old modem, far away");
        assert_eq!(
            taken_for(20, ms(1000)),
            Some(15),
            "not before there are many pieces"
        );
        // A head, and what follows whenever it is there.
        let (mut pace, start) = (Pace::default(), Instant::now());
        assert!(pace.goes_on(200, start));
        assert!(pace.goes_on(1, start + ms(3_600_000)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_drips_is_not_listened_to_until_the_deadline() {
        let (ours, mut peer) = pair().await;
        let mut socket = Socket::new(Stream::Plain(ours));
        let drip = async {
            for _ in 0..10_000 {
                peer.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Ok::<_, io::Error>(())
        };
        let listen = async {
            let mut piece = [0; 64];
            loop {
                match socket.read(&mut piece).await {
                    Ok(0) => panic!("the host went on"),
                    Ok(_) => {}
                    Err(error) => return error,
                }
            }
        };
        let error = tokio::select! {
            error = listen => error,
            dripped = drip => panic!("it was listened to all the while: {dripped:?}"),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        // The next request begins anew.
        socket.write_all(b"again").await.unwrap();
        assert!(socket.pace.since.is_none() && socket.pace.bytes == 0);
    }
}

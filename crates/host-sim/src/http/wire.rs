//! A connection that can be made to drip, to stop or to break in the middle of an answer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use crate::faults::Strike;

/// Longest time that a stopped answer keeps its connection.
const HANG_LIMIT: Duration = Duration::from_secs(600);

/// What is to go wrong with the bytes of a connection; shared with the one who answers requests.
#[derive(Debug, Default)]
pub(super) struct Wire {
    reset: AtomicBool,
    cut: Mutex<Option<(usize, Strike)>>,
    drip: Mutex<Option<Duration>>,
}

impl Wire {
    /// The connection ends by a reset when it is dropped.
    pub(super) fn reset_on_drop(&self) {
        self.reset.store(true, Ordering::Relaxed);
    }

    /// After so many more bytes the answer stops or breaks.
    pub(super) fn cut_after(&self, bytes: usize, strike: Strike) {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some((bytes, strike));
    }

    /// From now on a byte at a time, with this pause.
    pub(super) fn drip(&self, every: Option<Duration>) {
        *self.drip.lock().unwrap_or_else(PoisonError::into_inner) = every;
    }

    fn cut(&self) -> Option<(usize, Strike)> {
        *self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, bytes: usize) {
        if let Some((left, _)) = self.cut.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            *left = left.saturating_sub(bytes);
        }
    }
}

/// A plain or a TLS connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

/// Ends a connection by a reset instead of an orderly close.
pub(super) fn reset(tcp: &TcpStream) {
    if let Err(error) = tcp.set_zero_linger() {
        tracing::debug!(%error, "cannot reset a connection");
    }
}

/// A connection under the control of its [`Wire`]. Faults strike above TLS, so they cut plain text, not records.
pub(super) struct FaultyStream {
    stream: Stream,
    wire: Arc<Wire>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl FaultyStream {
    pub(super) fn new(stream: Stream, wire: Arc<Wire>) -> Self {
        Self {
            stream,
            wire,
            pause: None,
        }
    }

    fn wait(&mut self, context: &mut Context<'_>, time: Duration) -> Poll<()> {
        let pause = self
            .pause
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
        let waited = pause.as_mut().poll(context);
        if waited.is_ready() {
            self.pause = None;
        }
        waited
    }

    fn write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(context, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(context, bytes),
        };
        if let Poll::Ready(Ok(count)) = written {
            self.wire.written(count);
        }
        written
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(context),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(context),
        }
    }
}

impl Drop for FaultyStream {
    fn drop(&mut self) {
        if self.wire.reset.load(Ordering::Relaxed) {
            reset(self.stream.tcp());
        }
    }
}

impl AsyncRead for FaultyStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(context, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for FaultyStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut bytes = bytes;
        match self.wire.cut() {
            Some((0, strike)) => {
                // What was written so far must really be on its way before the connection stops or breaks.
                std::task::ready!(self.flush(context))?;
                if strike == Strike::Hang {
                    std::task::ready!(self.wait(context, HANG_LIMIT));
                }
                self.wire.reset_on_drop();
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            Some((left, _)) => bytes = &bytes[..bytes.len().min(left)],
            None => {}
        }
        let drip = *self.wire.drip.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(every) = drip.filter(|_| !bytes.is_empty()) {
            if self.pause.is_none() {
                std::task::ready!(self.flush(context))?;
            }
            std::task::ready!(self.wait(context, every));
            bytes = &bytes[..1];
        }
        self.write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        match &mut self.stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(context),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(context),
        }
    }
}

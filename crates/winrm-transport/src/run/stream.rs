//! The output of a command while it runs.

use std::fmt;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::DropGuard;

use super::feed::{Order, ended};
use crate::error::{Error, LostBecause, Stage};
use crate::output::Output;
use crate::soap::request::SignalCode;

/// Which of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output, cut wherever the host cut it: also in the middle of a character, see
/// [`TextDecoder`](crate::TextDecoder).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written.
    pub stream: Stream,
    /// Never empty.
    pub bytes: Vec<u8>,
}

/// A command under way, from [`Client::start`](crate::Client::start).
///
/// The client is occupied until the command has ended: other calls of its clones queue. What is not read with
/// [`Running::next`] makes the program wait, and its deadline runs all the same.
///
/// Dropping it terminates the command on the host and deletes its shell, in the background.
pub struct Running {
    chunks: mpsc::Receiver<Chunk>,
    orders: mpsc::Sender<Order>,
    answer: Answer,
    waiting: DropGuard,
}

/// How the command ended, or where to learn it.
pub(crate) enum Answer {
    Known(Result<Output, Error>),
    Coming(oneshot::Receiver<Result<Output, Error>>),
}

impl Running {
    pub(crate) fn new(
        chunks: mpsc::Receiver<Chunk>,
        orders: mpsc::Sender<Order>,
        answer: Answer,
        waiting: DropGuard,
    ) -> Self {
        Self {
            chunks,
            orders,
            answer,
            waiting,
        }
    }

    /// The next piece of output; `None` when there will be no more, whatever the reason: [`Running::exit`] has it.
    ///
    /// The pieces of one stream come in order; between the two streams the order is that of the host's answers.
    ///
    /// # Cancel safety
    /// Cancel safe: no piece is lost.
    pub async fn next(&mut self) -> Option<Chunk> {
        self.chunks.recv().await
    }

    /// Waits until the command has ended; output that was not read is dropped. Of the result, `stdout` and `stderr`
    /// are empty; `exit_code` is also `None` when the command was terminated and the host said no more.
    ///
    /// # Errors
    /// As for [`Client::run`](crate::Client::run).
    pub async fn exit(mut self) -> Result<Output, Error> {
        while self.chunks.recv().await.is_some() {}
        let result = match self.answer {
            Answer::Known(result) => result,
            Answer::Coming(coming) => coming.await.unwrap_or(Err(Error::ConnectionLost {
                during: Stage::Receive,
                source: LostBecause::Shutdown,
            })),
        };
        self.waiting.disarm();
        result
    }

    /// Writes to the program's standard input, and closes it after that if `end`. Returns when the host has taken the
    /// bytes; the program may read them later.
    ///
    /// # Errors
    /// When the answer is missing nobody knows whether the program got the bytes: never just send them again.
    /// [`LostBecause::Ended`] when the command has ended.
    ///
    /// # Cancel safety
    /// A dropped future leaves the bytes on their way.
    pub async fn send(&self, bytes: impl Into<Vec<u8>>, end: bool) -> Result<(), Error> {
        let bytes = bytes.into();
        self.order(Stage::Send, |done| Order::Input { bytes, end, done })
            .await
    }

    /// Asks the program to stop, as Ctrl+C at a console would. Programs may ignore it.
    ///
    /// # Errors
    /// See [`Error`]; a command that has ended is none.
    pub async fn interrupt(&self) -> Result<(), Error> {
        self.signal(SignalCode::CtrlC).await
    }

    /// Ends the program at once.
    ///
    /// # Errors
    /// See [`Error`]; a command that has ended is none.
    pub async fn terminate(&self) -> Result<(), Error> {
        self.signal(SignalCode::Terminate).await
    }

    async fn signal(&self, code: SignalCode) -> Result<(), Error> {
        let sent = self
            .order(Stage::Signal, |done| Order::Signal { code, done })
            .await;
        match sent {
            Err(Error::ConnectionLost {
                source: LostBecause::Ended,
                ..
            }) => Ok(()),
            other => other,
        }
    }

    async fn order(
        &self,
        during: Stage,
        order: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Order,
    ) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        if self.orders.send(order(done)).await.is_err() {
            return Err(ended(during));
        }
        answer.await.unwrap_or_else(|_| Err(ended(during)))
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

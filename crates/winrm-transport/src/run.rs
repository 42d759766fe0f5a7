//! One command, from its first request to its last.

mod collect;
mod drive;
mod feed;
pub(crate) mod stream;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::command::Command;
use crate::error::{Error, LostBecause, Stage};
use crate::exchange::Reply;
use crate::peer::Whereabouts;
use crate::session::{Session, refused};
use crate::soap::{self, Document, codes, request};

use self::collect::Collected;
use self::stream::{Chunk, Stream};
pub(crate) use drive::{Job, Streaming, drive};

/// A connection lost while waiting for output is made anew this often in a row.
const RECONNECTS: u32 = 1;
/// An answer that came sooner than this and said nothing is followed by a pause: a peer that answers nothing at
/// full speed must not keep us at full speed.
const HASTE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What is known about a command, readable from outside when its time is up.
pub(crate) struct Progress {
    pub(crate) at: Whereabouts,
    state: Mutex<State>,
    /// Set when the command is to be wound up: no further request is begun.
    pub(crate) stop: CancellationToken,
    /// Set when the host has accepted the command.
    pub(crate) accepted: CancellationToken,
    /// Set when the command is over, as far as its output tells.
    pub(crate) ended: CancellationToken,
    /// Set when we have told the command to end: after that the host may not know it any more.
    pub(crate) terminated: CancellationToken,
    /// Where output goes as it comes, instead of being kept.
    chunks: Option<mpsc::Sender<Chunk>>,
}

#[derive(Default)]
struct State {
    /// Shell and command, from before the request leaves.
    sent: Option<(String, String)>,
    /// The request has left for certain: whatever happens to the connection now, the command may run.
    started: bool,
    collected: Collected,
}

impl Progress {
    fn new(chunks: Option<mpsc::Sender<Chunk>>, accepted: CancellationToken) -> Self {
        Self {
            at: Whereabouts::at(Stage::Connect),
            state: Mutex::default(),
            stop: CancellationToken::new(),
            accepted,
            ended: CancellationToken::new(),
            terminated: CancellationToken::new(),
            chunks,
        }
    }

    /// Hands on what has come, if somebody wants it at once. Waits until there is room: a program that is not read
    /// from has to wait too.
    async fn deliver(&self) {
        let Some(chunks) = &self.chunks else { return };
        let (stdout, stderr) = self.with(|state| state.collected.take_bytes());
        for (stream, bytes) in [(Stream::Stdout, stdout), (Stream::Stderr, stderr)] {
            if !bytes.is_empty() {
                // Somebody who stopped listening still wants to know how it ends.
                let _ = chunks.send(Chunk { stream, bytes }).await;
            }
        }
    }

    fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The command as the host knows it, if it may have started.
    fn sent(&self) -> Option<(String, String)> {
        let leaving = self.at.get() == Stage::Command;
        self.with(|state| state.sent.clone().filter(|_| leaving || state.started))
    }

    /// Where the call is, as far as the caller is concerned: on the way back to a running command it is waiting
    /// for that command.
    fn stage(&self) -> Stage {
        match (self.at.get(), self.with(|state| state.started)) {
            (stage @ (Stage::Command | Stage::Receive), _) => stage,
            (_, true) => Stage::Receive,
            (stage, false) => stage,
        }
    }

    fn proceed(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            let waited = Duration::ZERO;
            return Err(Error::DeadlineExpired {
                waited,
                during: self.stage(),
                partial: None,
            });
        }
        Ok(())
    }
}

/// Starts the command and follows it to its end. What it wrote is in `progress`.
async fn execute(
    session: &mut Session,
    command: &Command,
    words: &[String],
    progress: &Progress,
) -> Result<(), Error> {
    let first = start(session, command, words, progress).await?;
    progress.accepted.cancel();
    progress.proceed()?;
    if let Some(envelope) = first {
        let step = take(&envelope, progress)?;
        progress.deliver().await;
        if step.done {
            return Ok(());
        }
    }
    follow(session, progress).await
}

/// Starts the command. Gives the first answer to Receive when one was needed to learn that it had started.
async fn start(
    session: &mut Session,
    command: &Command,
    words: &[String],
    progress: &Progress,
) -> Result<Option<Document>, Error> {
    let mut again = true;
    loop {
        let shell = session.shell_for(&progress.at, command).await?;
        progress.proceed()?;
        let id = request::fresh_id();
        let request = request::command(&session.peer.addressing, &shell, &id, command, words);
        progress.with(|state| state.sent = Some((shell.clone(), id.clone())));
        let fault = match session.call(&progress.at, Stage::Command, &request).await {
            Ok(Reply::Envelope(envelope)) => {
                session.count_command(&shell);
                let id = soap::command_id(&envelope).map_err(|e| protocol(e, Stage::Command))?;
                progress.with(|state| (state.sent, state.started) = (Some((shell, id)), true));
                return Ok(None);
            }
            Ok(Reply::Fault(fault)) => fault,
            Err(
                error @ Error::ConnectionLost {
                    during: Stage::Command,
                    ..
                },
            ) => {
                return Box::pin(find_out(session, progress, &shell, &id, error)).await;
            }
            Err(error) => {
                if error.effect() == crate::Effect::None {
                    progress.with(|state| state.sent = None);
                }
                return Err(error);
            }
        };
        if codes::is_operation_timeout(fault.code) {
            let error = refused(fault, Stage::Command);
            return Box::pin(find_out(session, progress, &shell, &id, error)).await;
        }
        progress.with(|state| state.sent = None);
        match refused(fault, Stage::Command) {
            // The command did not start: a new shell, once.
            Error::ShellGone { .. } if again => session.forget_shell(&shell),
            // Nor did it here. What was freed may have made room.
            Error::Quota { .. } if again && Box::pin(session.recycle(&progress.at)).await => {}
            error => return Err(error),
        }
        again = false;
    }
}

/// The answer to Command was lost. It is never sent again: ask for its output instead, by the id that we chose.
async fn find_out(
    session: &mut Session,
    progress: &Progress,
    shell: &str,
    id: &str,
    lost: Error,
) -> Result<Option<Document>, Error> {
    tracing::debug!(error = %lost, "answer to command lost, asking for its output");
    progress.with(|state| state.started = true);
    let request = request::receive(&session.peer.addressing, shell, id);
    match session.call(&progress.at, Stage::Receive, &request).await {
        Ok(Reply::Envelope(envelope)) => {
            session.count_command(shell);
            Ok(Some(envelope))
        }
        Ok(Reply::Fault(fault)) if codes::is_operation_timeout(fault.code) => {
            session.count_command(shell);
            Ok(None)
        }
        Ok(Reply::Fault(_)) => {
            let source = LostBecause::NotFoundAgain;
            Err(Error::ConnectionLost {
                during: Stage::Command,
                source,
            })
        }
        Err(_) => Err(lost),
    }
}

/// Receives until the host says that the command is done.
async fn follow(session: &mut Session, progress: &Progress) -> Result<(), Error> {
    let Some((shell, id)) = progress.sent() else {
        return Ok(());
    };
    let (mut losses, mut pause) = (0, Duration::ZERO);
    loop {
        progress.proceed()?;
        let request = request::receive(&session.peer.addressing, &shell, &id);
        let begun = Instant::now();
        match session.call(&progress.at, Stage::Receive, &request).await {
            Ok(Reply::Envelope(envelope)) => {
                let step = take(&envelope, progress)?;
                progress.deliver().await;
                if step.done {
                    return Ok(());
                }
                pause = if step.empty && begun.elapsed() < HASTE {
                    (pause * 2).clamp(HASTE, LONGEST_PAUSE)
                } else {
                    Duration::ZERO
                };
                losses = 0;
            }
            Ok(Reply::Fault(fault)) if codes::is_operation_timeout(fault.code) => {
                losses = 0;
                pause = if begun.elapsed() < HASTE {
                    (pause * 2).clamp(HASTE, LONGEST_PAUSE)
                } else {
                    Duration::ZERO
                };
            }
            // The host may forget a command as soon as it was told to end it.
            Ok(Reply::Fault(_)) if progress.terminated.is_cancelled() => return Ok(()),
            Ok(Reply::Fault(fault)) => return Err(refused(fault, Stage::Receive)),
            // What the lost answer held is gone, but the command goes on.
            Err(Error::ConnectionLost { source, .. }) if losses < RECONNECTS => {
                tracing::debug!(error = %source, "connection lost while receiving, connecting again");
                progress.with(|state| state.collected.incomplete = true);
                losses += 1;
            }
            Err(error) => return Err(on_the_way_back(error)),
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

/// Errors of a reconnection say nothing about the command that was running.
fn on_the_way_back(error: Error) -> Error {
    match error.effect() {
        crate::Effect::Unknown => error,
        crate::Effect::None => {
            let source = LostBecause::Reconnect(Box::new(error));
            Error::ConnectionLost {
                during: Stage::Receive,
                source,
            }
        }
    }
}

struct Step {
    done: bool,
    empty: bool,
}

fn take(envelope: &Document, progress: &Progress) -> Result<Step, Error> {
    progress.with(|state| {
        let id = state.sent.as_ref().map_or("", |(_, id)| id.as_str());
        let answer = soap::decode_receive(envelope, id).map_err(|e| protocol(e, Stage::Receive))?;
        let step = Step {
            done: answer.done,
            empty: answer.stdout.is_empty() && answer.stderr.is_empty(),
        };
        state.collected.add(answer);
        Ok(step)
    })
}

fn protocol(soap::Malformed(what): soap::Malformed, during: Stage) -> Error {
    Error::Protocol { what, during }
}

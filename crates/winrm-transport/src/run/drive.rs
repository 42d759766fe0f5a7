//! The task behind a call of `run`: it answers the caller and then leaves the host tidy.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::command::Command;
use crate::error::{Error, Stage};
use crate::output::Output;
use crate::peer::Whereabouts;
use crate::session::{Session, Turn};
use crate::soap::request::SignalCode;

use super::feed::{self, Order};
use super::stream::Chunk;
use super::{Progress, execute};

/// How long cleaning up may take, all in. The next call waits for it.
const CLEAN_UP: Duration = Duration::from_secs(3);
/// The part of it that a Create or Command already on its way gets to be answered.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// What a program gets between the polite signal and the other one.
const POLITE: Duration = Duration::from_millis(250);
/// How long an order under way may still take when the command has ended.
const LAST_ORDER: Duration = Duration::from_secs(1);
/// How long the host may take to confirm the end of a command that is done.
const FINISH: Duration = Duration::from_secs(5);

/// What to run, and until when.
pub(crate) struct Job {
    pub(crate) command: Command,
    pub(crate) words: Vec<String>,
    pub(crate) begun: Instant,
    pub(crate) until: Instant,
    /// Cancelled when the caller no longer waits.
    pub(crate) abandoned: CancellationToken,
    /// Set when the host has accepted the command.
    pub(crate) accepted: CancellationToken,
    /// Present when somebody wants the output as it comes.
    pub(crate) streaming: Option<Streaming>,
}

/// The two ways between a stream and its task.
pub(crate) struct Streaming {
    pub(crate) chunks: mpsc::Sender<Chunk>,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// Runs the job with a session of which it is the owner, answers, and tidies up before the next call.
pub(crate) async fn drive(mut session: Turn, mut job: Job, answer: oneshot::Sender<Result<Output, Error>>) {
    // What is handed on as it comes is bounded by the room on the way.
    let limit = match job.streaming {
        Some(_) => usize::MAX,
        None => session.peer.settings.limits.output_bytes,
    };
    let (chunks, orders) = job.streaming.take().map(|s| (s.chunks, s.orders)).unzip();
    let progress = Progress::new(chunks, job.accepted.clone());
    progress.with(|state| state.collected.limit = limit);
    let input = job.command.take_input();
    let mut side = (input.is_some() || orders.is_some()).then(|| Session::new(session.peer.clone()));
    let finished = {
        let streams = orders.is_some();
        // In a box: most commands have none.
        let mut feed = side
            .as_mut()
            .map(|side| Box::pin(feed::serve(side, &progress, input, orders)));
        let mut work = pin!(execute(&mut session, &job.command, &job.words, &progress));
        let (finished, fed) = tokio::select! {
            biased;
            result = &mut work => (Some(result), true),
            Some(error) = served(&mut feed) => (Some(Err(error)), false),
            () = sleep_until(job.until) => (None, true),
            () = job.abandoned.cancelled() => (None, true),
        };
        if let Some(result) = finished {
            progress.ended.cancel();
            if streams && fed {
                // The last words to a program may be what ended it: whoever sent them wants to hear that they arrived.
                let _ = timeout_at(job.until.min(Instant::now() + LAST_ORDER), served(&mut feed)).await;
            }
            let output = || progress.with(|state| state.collected.take(job.begun.elapsed()));
            // A program that did not get its input still runs.
            let failed = result
                .as_ref()
                .err()
                .map(|error| !fed || leaves_it_running(error));
            // A caller that is gone needs no answer.
            let _ = answer.send(result.map(|()| output()));
            failed
        } else {
            let _ = answer.send(Err(expired(&job, &progress)));
            // A request that may create something is worth a moment: its answer says what to delete.
            if matches!(progress.at.get(), Stage::Create | Stage::Command) {
                progress.stop.cancel();
                let _ = timeout(IN_FLIGHT, &mut work).await;
            }
            Some(true)
        }
    };
    session.settle(progress.at.get());
    match finished {
        None => finish(&mut session, &progress).await,
        Some(true) => Box::pin(clean_up(&mut session, &progress)).await,
        Some(false) => {}
    }
}

/// The end of what is sent to the command, if anything is.
async fn served<F: Future<Output = Option<Error>> + Unpin>(feed: &mut Option<F>) -> Option<Error> {
    match feed {
        Some(feed) => feed.await,
        None => std::future::pending().await,
    }
}

fn expired(job: &Job, progress: &Progress) -> Error {
    let waited = job.begun.elapsed();
    let during = progress.stage();
    let partial = progress
        .sent()
        .map(|_| progress.with(|state| state.collected.take(waited)));
    Error::DeadlineExpired {
        waited,
        during,
        partial,
    }
}

/// Whether a failed command has to be stopped: we can no longer follow it, but the host is there. After a lost
/// connection it is not, or it was a reboot; and what still runs is then left to end by itself. Where we were not
/// let in we do not try again.
fn leaves_it_running(error: &Error) -> bool {
    !matches!(
        error,
        Error::ConnectionLost { .. } | Error::ShellGone { .. } | Error::Unauthorized { .. }
    )
}

/// Frees the operation on the host. Without it they pile up until a quota is reached.
async fn finish(session: &mut Session, progress: &Progress) {
    let Some((shell, command)) = progress.sent() else {
        return;
    };
    let signalled = session.signal(&progress.at, &shell, &command, SignalCode::Terminate);
    match timeout(FINISH, signalled).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "end of command was not confirmed"),
        Err(_) => tracing::debug!("end of command was not confirmed in time"),
    }
    if session.has_orphans() {
        match timeout(FINISH, Box::pin(session.delete_orphans(&progress.at))).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "deletion of the command's own shell was not confirmed")
            }
            Err(_) => tracing::debug!("deletion of the command's own shell was not confirmed in time"),
        }
    }
}

/// Ends a command that may still run and deletes its shell, on whatever connection can be had.
async fn clean_up(session: &mut Session, progress: &Progress) {
    let sent = progress.sent();
    if sent.is_none() && !session.has_orphans() {
        // Nothing of this call is on the host; shell and connection, if any, stay good.
        return;
    }
    let at = Whereabouts::at(Stage::Signal);
    let tidy = async {
        if let Some((shell, command)) = &sent {
            session.signal(&at, shell, command, SignalCode::CtrlC).await?;
            sleep(POLITE).await;
            session.signal(&at, shell, command, SignalCode::Terminate).await?;
        }
        session.delete_shells(&at).await
    };
    match timeout_at(Instant::now() + CLEAN_UP - IN_FLIGHT, Box::pin(tidy)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "clean-up after a command was not confirmed"),
        Err(_) => tracing::debug!("clean-up after a command was not confirmed in time"),
    }
    session.abandon();
}

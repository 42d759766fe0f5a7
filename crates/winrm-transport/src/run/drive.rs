//! The task behind a call of `run`: it answers the caller and then leaves the host tidy.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::command::Command;
use crate::error::{Error, Stage};
use crate::output::Output;
use crate::peer::Whereabouts;
use crate::session::Session;
use crate::soap::request::SignalCode;

use super::{Progress, execute};

/// How long cleaning up may take, all in. The next call waits for it.
const CLEAN_UP: Duration = Duration::from_secs(3);
/// The part of it that a Create or Command already on its way gets to be answered.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// What a program gets between the polite signal and the other one.
const POLITE: Duration = Duration::from_millis(250);
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
}

/// Runs the job with a session of which it is the owner, answers, and tidies up before the next call.
pub(crate) async fn drive(
    mut session: OwnedMutexGuard<Session>,
    job: Job,
    answer: oneshot::Sender<Result<Output, Error>>,
) {
    let progress = Progress::new();
    let limit = session.peer.settings.limits.output_bytes;
    progress.with(|state| state.collected.limit = limit);
    let finished = {
        let mut work = pin!(execute(&mut session, &job.command, &job.words, &progress));
        let finished = tokio::select! {
            biased;
            result = &mut work => Some(result),
            () = sleep_until(job.until) => None,
            () = job.abandoned.cancelled() => None,
        };
        if let Some(result) = finished {
            let output = || progress.with(|state| state.collected.take(job.begun.elapsed()));
            let failed = result.as_ref().err().map(leaves_it_running);
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
        Some(true) => clean_up(&mut session, &progress).await,
        Some(false) => {}
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

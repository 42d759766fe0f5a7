//! What goes to a running command: standard input and signals.
//!
//! A Receive occupies its connection for as long as the host holds it, so all of this travels on a second one.

use tokio::sync::{mpsc, oneshot};

use super::Progress;
use crate::error::{Error, LostBecause, Stage};
use crate::peer::Whereabouts;
use crate::session::Session;
use crate::soap::request::SignalCode;

/// Bytes of standard input in one Send: with base64 and the envelope well below what the oldest hosts take.
const PIECE: usize = 64 * 1024;

/// One wish of the holder of a stream.
pub(crate) enum Order {
    /// Pass on these bytes, and close standard input after them if `end`.
    Input {
        bytes: Vec<u8>,
        end: bool,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// Tell the command to end.
    Signal {
        code: SignalCode,
        done: oneshot::Sender<Result<(), Error>>,
    },
}

/// Serves the command until it has ended and no order is under way. Gives an error when the input could not be passed
/// on.
pub(crate) async fn serve(
    side: &mut Session,
    progress: &Progress,
    input: Option<Vec<u8>>,
    orders: Option<mpsc::Receiver<Order>>,
) -> Option<Error> {
    progress.accepted.cancelled().await;
    let Some((shell, command)) = progress.sent() else {
        return std::future::pending().await;
    };
    let target = (shell.as_str(), command.as_str());
    if let Some(input) = input
        && let Err(error) = pass_on(side, target, &input, true).await
    {
        // A program may well end before it has read everything.
        if !matches!(error, Error::ShellGone { .. }) {
            return Some(error);
        }
    }
    if let Some(mut orders) = orders {
        loop {
            let order = tokio::select! {
                biased;
                () = progress.ended.cancelled() => break,
                order = orders.recv() => order,
            };
            let Some(order) = order else { break };
            obey(side, progress, target, order).await;
        }
    }
    progress.ended.cancelled().await;
    None
}

async fn obey(side: &mut Session, progress: &Progress, target: (&str, &str), order: Order) {
    let (done, result) = match order {
        Order::Input { bytes, end, done } => (done, pass_on(side, target, &bytes, end).await),
        Order::Signal { code, done } => {
            if code == SignalCode::Terminate {
                progress.terminated.cancel();
            }
            let at = Whereabouts::at(Stage::Signal);
            (done, side.signal(&at, target.0, target.1, code).await)
        }
    };
    // Nobody may be waiting any more.
    let _ = done.send(result.map_err(|error| match error {
        Error::ShellGone { during } => ended(during),
        other => other,
    }));
}

async fn pass_on(side: &mut Session, target: (&str, &str), bytes: &[u8], end: bool) -> Result<(), Error> {
    let at = Whereabouts::at(Stage::Send);
    let last = bytes.len().saturating_sub(1) / PIECE;
    for position in 0..=last {
        let from = position * PIECE;
        let piece = &bytes[from..bytes.len().min(from + PIECE)];
        side.send(&at, target, piece, end && position == last).await?;
    }
    Ok(())
}

/// The command is not there any more.
pub(crate) fn ended(during: Stage) -> Error {
    Error::ConnectionLost {
        during,
        source: LostBecause::Ended,
    }
}

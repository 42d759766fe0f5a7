//! The one place that listens for the wish to stop.

use tokio_util::sync::CancellationToken;

/// Gives a token that is cancelled by the first `SIGTERM` or `SIGINT`. A second one ends the process at once, for
/// the operator who does not want to wait for the grace period.
///
/// # Errors
/// When the signals cannot be listened for.
pub fn stop_requested() -> std::io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let first = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!("{first}: finishing what is under way");
        stop.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("asked to stop again: leaving at once, claims will run out");
        std::process::exit(130);
    });
    Ok(token)
}

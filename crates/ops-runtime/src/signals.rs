//! The one place that listens for signals: of the operating system to this process, and of one process to all others
//! through the database.

use store_support::{Database, DbErr, retried};
use tokio_util::sync::CancellationToken;

use crate::service::Reloading;
use crate::site::SiteHandle;

/// The signal by which all processes read their catalog again.
pub(crate) const RELOAD_HOSTS: &str = "reload-hosts";

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

/// Reloads the hosts of this process at each `SIGHUP`, until `stop`. Other processes are not told: whoever sends a
/// signal has all of them at hand.
///
/// # Errors
/// When the signal cannot be listened for.
pub fn reload_on_hangup(handle: SiteHandle, stop: CancellationToken) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
            let _told = Reloading::begin();
            handle.reload_and_tell("SIGHUP").await;
        }
    });
    Ok(())
}

/// Signals between processes: numbers in `ops_signals` that only grow. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Signals {
    db: Database,
}

impl Signals {
    pub(crate) fn new(db: Database) -> Self {
        Self { db }
    }

    /// Asks every process on the database to read its catalog again, within five seconds.
    ///
    /// # Errors
    /// The database's; perhaps they were asked all the same, when the answer was lost.
    pub async fn ask_to_reload(&self) -> Result<(), DbErr> {
        let now = self.db.backend().now_ms();
        let insert = self.db.backend().insert_if_absent();
        let make = format!("{insert} INTO ops_signals (name, generation, at) VALUES (?, 0, 0)");
        let raise = format!("UPDATE ops_signals SET generation = generation + 1, at = {now} WHERE name = ?");
        for sql in [make, raise] {
            let call = retried(|| {
                let statement = self.db.statement(&sql, [RELOAD_HOSTS.into()]);
                async move {
                    use sea_orm::ConnectionTrait as _;
                    self.db.connection().execute_raw(statement).await
                }
            });
            self.db.bounded(call).await?;
        }
        Ok(())
    }

    /// How often a signal was given so far.
    pub(crate) async fn generation(&self, name: &str) -> Result<i64, DbErr> {
        use sea_orm::ConnectionTrait as _;
        let read = self
            .db
            .statement("SELECT generation FROM ops_signals WHERE name = ?", [name.into()]);
        let row = self.db.bounded(self.db.connection().query_one_raw(read)).await?;
        row.map_or(Ok(0), |row| row.try_get_by_index(0))
    }
}

//! Calls that can be done without, and whether the database answers at all.
//!
//! A database that refuses is noticed at once; one that hangs takes whatever time it is given. Whoever can do without it
//! gives it little, and the next one none: the first call in vain marks the database as away, until it answers anything
//! again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::database::Database;

/// How long a call that can be done without may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a database that is away is asked, and how long it has to answer.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_FOR: Duration = Duration::from_secs(5);

/// Why a call that can be done without was not waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// It took too long; whether it took effect, or will, is unknown.
    #[error("the database did not answer within {PATIENCE:?}")]
    Late,
    /// It was not sent: the database is away.
    #[error("the database does not answer")]
    Away,
}

/// Whether the database is away; shared by all clones of a [`Database`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Presence(Arc<AtomicBool>);

impl Presence {
    /// It answered, whatever it said.
    pub(crate) fn answered(&self) {
        if self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed) {
            tracing::info!("the database answers again");
        }
    }
}

impl Database {
    /// Whether somebody waited for it in vain, and it has answered nothing since.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.presence().0.load(Ordering::Relaxed)
    }

    /// Waits for a call that can be done without: a second at most, and not at all while the database is away. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// [`NoAnswer`] when it was not waited for, or in vain.
    ///
    /// # Cancel safety
    /// As cancel safe as `call`.
    pub fn spare<T>(&self, call: impl Future<Output = T>) -> impl Future<Output = Result<T, NoAnswer>> {
        // Whoever waits for it is spared its size as well.
        let call = Box::pin(call);
        async move {
            if self.is_away() {
                return Err(NoAnswer::Away);
            }
            timeout(PATIENCE, call).await.map_err(|_| {
                self.miss();
                NoAnswer::Late
            })
        }
    }

    /// Marks the database as away; from then on it is asked until it answers, or was closed.
    pub fn miss(&self) {
        if self.presence().0.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!("the database does not answer: what can be done without it is");
        let database = self.clone();
        tokio::spawn(async move {
            while database.is_away() && !database.is_closed() {
                sleep(ASK_EVERY).await;
                // Its answer, also a refusal, takes the mark away.
                let _ = timeout(ASK_FOR, database.ping()).await;
            }
        });
    }
}

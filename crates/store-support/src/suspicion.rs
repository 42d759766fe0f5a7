//! Whether a connection that comes back to the pool may be in the middle of something.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// How long after a call was given up every connection that comes back is looked at. The one that the call used comes back
/// at once; this outlasts any delay of that.
const WARY: Duration = Duration::from_secs(60);

/// Up for a while after any call was given up; shared by all clones of a [`Database`](crate::Database).
#[derive(Debug, Clone)]
pub(crate) struct Suspicion(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    began: Instant,
    /// Milliseconds after `began`.
    until: AtomicU64,
}

impl Suspicion {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            until: AtomicU64::new(0),
        }))
    }

    /// Whether a call was given up lately.
    pub(crate) fn is_up(&self) -> bool {
        self.now() < self.0.until.load(Ordering::SeqCst)
    }

    /// Watches over one call. It has to be dropped before the call is: then whatever is told of the connection by its drop
    /// comes after the suspicion.
    pub(crate) fn watch(&self) -> Watch<'_> {
        Watch { of: Some(self) }
    }

    fn raise(&self) {
        let wary = u64::try_from(WARY.as_millis()).unwrap_or(u64::MAX);
        self.0.until.fetch_max(self.now() + wary, Ordering::SeqCst);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Raises the suspicion unless the call was carried through.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    of: Option<&'a Suspicion>,
}

impl Watch<'_> {
    /// The call has its answer.
    pub(crate) fn done(mut self) {
        self.of = None;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(suspicion) = self.of {
            suspicion.raise();
        }
    }
}

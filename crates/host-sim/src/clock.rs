//! The farm's clock: wall time read once, then carried on by tokio's clock so that a paused test moves it.

use chrono::{DateTime, Utc};
use tokio::time::Instant;

/// One clock for the whole farm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SimClock {
    started_at: DateTime<Utc>,
    started: Instant,
}

impl SimClock {
    pub(crate) fn start() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the simulated machines' own clocks begin at the wall clock"
        )]
        let started_at = Utc::now();
        Self {
            started_at,
            started: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.started_at + self.started.elapsed()
    }
}

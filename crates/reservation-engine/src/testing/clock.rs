//! A clock that goes as tokio's time does.

use chrono::{DateTime, Utc};
use lab_model::Clock;
use tokio::time::Instant;

/// Begins at an instant of one's choice and goes on as tokio's time does, which tests can pause.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    start: DateTime<Utc>,
    made: Instant,
}

impl TokioClock {
    /// Shows `start` now.
    #[must_use]
    pub fn at(start: DateTime<Utc>) -> Self {
        let made = Instant::now();
        Self { start, made }
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        self.start + self.made.elapsed()
    }
}

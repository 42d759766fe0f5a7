//! Durations as the table shows them.

use std::time::Duration;

use chrono::TimeDelta;

/// How long each of many took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    pub(crate) fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The sample below which `percent` of all lie, by nearest rank.
    fn at(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub(crate) fn median_and_longest(&self) -> String {
        format!("{} / {}", short(self.at(50)), short(self.at(100)))
    }

    pub(crate) fn text(&self) -> String {
        format!(
            "{} / {} / {}",
            short(self.at(50)),
            short(self.at(99)),
            short(self.at(100))
        )
    }
}

/// Milliseconds below ten seconds, whole seconds above.
pub(crate) fn short(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    } else {
        format!("{:.0} s", time.as_secs_f64())
    }
}

/// Whole seconds before or after an instant.
pub(crate) fn signed(time: TimeDelta) -> String {
    format!("{:+.0} s", time.as_seconds_f64())
}

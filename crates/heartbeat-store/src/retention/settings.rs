//! For how long what is kept. Pure.

use std::time::Duration;

/// How many days any table may be kept.
const MAX_DAYS: u32 = 3_650;
/// How many rows a batch may have.
const MAX_BATCH: u32 = 5_000;

/// For how long what is kept, and how much is taken away at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionSettings {
    /// Reports are kept in full for so many days. 1 to 3650.
    pub full_days: u32,
    /// From then on one of each host and hour, until they are so many days old. `full_days` to 3650.
    pub hourly_days: u32,
    /// Events are kept for so many days. 1 to 3650.
    pub event_days: u32,
    /// Changes of a field are kept for so many days. 1 to 3650.
    pub change_days: u32,
    /// What was counted in an hour is kept for so many days. 1 to 3650.
    pub hour_days: u32,
    /// How many rows are read, and at most taken away, in one batch. 1 to 5000.
    pub batch: u32,
    /// How many batches each part of a pass makes at most. At least 1.
    pub batches: u32,
    /// How long writers are left alone after a batch. At most 10 s.
    pub pause: Duration,
}

impl Default for RetentionSettings {
    /// Two weeks in full, 90 days by the hour; events and changes for a year, hours for two; 500 rows and 50 ms.
    fn default() -> Self {
        Self {
            full_days: 14,
            hourly_days: 90,
            event_days: 365,
            change_days: 365,
            hour_days: 730,
            batch: 500,
            batches: 400,
            pause: Duration::from_millis(50),
        }
    }
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RetentionProblem {
    /// A number is out of its bounds.
    #[error("{name} has to be between {min} and {max}, is {value}")]
    Bounds {
        /// Which field.
        name: &'static str,
        /// The smallest it may be.
        min: u32,
        /// The largest it may be.
        max: u32,
        /// What it is.
        value: u32,
    },
    /// The pause is so long that nothing would ever be finished.
    #[error("pause has to be at most 10 s, is {0:?}")]
    Pause(Duration),
}

impl RetentionSettings {
    /// Names everything that is wrong; nothing when the settings can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<RetentionProblem> {
        let bounds = [
            ("full_days", self.full_days, 1, MAX_DAYS),
            (
                "hourly_days",
                self.hourly_days,
                self.full_days.min(MAX_DAYS),
                MAX_DAYS,
            ),
            ("event_days", self.event_days, 1, MAX_DAYS),
            ("change_days", self.change_days, 1, MAX_DAYS),
            ("hour_days", self.hour_days, 1, MAX_DAYS),
            ("batch", self.batch, 1, MAX_BATCH),
            ("batches", self.batches, 1, u32::MAX),
        ];
        let mut problems: Vec<_> = bounds
            .into_iter()
            .filter(|(_, value, min, max)| !(min..=max).contains(&value))
            .map(|(name, value, min, max)| RetentionProblem::Bounds {
                name,
                min,
                max,
                value,
            })
            .collect();
        if self.pause > Duration::from_secs(10) {
            problems.push(RetentionProblem::Pause(self.pause));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named() {
        assert_eq!(RetentionSettings::default().problems(), []);
        let odd = RetentionSettings {
            full_days: 30,
            hourly_days: 7,
            event_days: 0,
            batch: 10_000,
            pause: Duration::from_secs(60),
            ..RetentionSettings::default()
        };
        let problems: Vec<String> = odd.problems().iter().map(ToString::to_string).collect();
        let expected = [
            "hourly_days has to be between 30 and 3650, is 7",
            "event_days has to be between 1 and 3650, is 0",
            "batch has to be between 1 and 5000, is 10000",
            "pause has to be at most 10 s, is 60s",
        ];
        assert_eq!(problems, expected);
    }
}

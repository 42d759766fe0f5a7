//! How fast whole days are simulated.

use std::time::Duration;

use anyhow::{Result, ensure};
use lab_days::{Options, run_day};
use tokio::time::Instant;

use crate::idle::cpu_secs;

/// Days in a second of one core's time, and in a second of the clock, which other work on the machine takes from.
pub(crate) fn per_second(watch: Duration) -> Result<String> {
    let (began, used) = (Instant::now(), cpu_secs());
    let mut days = 0_u64;
    while began.elapsed() < watch {
        let day = run_day(days, &Options::default())?;
        ensure!(day.violations.is_empty(), "day {days}: {:?}", day.violations);
        days += 1;
    }
    let (took, used) = (began.elapsed().as_secs_f64(), cpu_secs() - used);
    let days = days as f64;
    Ok(format!("{:.0} ({:.0} by the clock)", days / used, days / took))
}

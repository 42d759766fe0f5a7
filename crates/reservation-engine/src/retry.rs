//! How long to wait before the next try: growing, jittered, and never beyond the window.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::{Rng, RngExt};

use crate::instant::{between, later};
use crate::settings::Settings;

/// Whoever looks for a host does so at whole multiples of so many seconds.
const TOGETHER: i64 = 10;

/// The wait after `failed` tries: doubled each time, at most `retry_max`, then 20 % more or less so that hosts
/// that failed together do not come back together.
pub(crate) fn wait(settings: &Settings, failed: u32, rng: &mut impl Rng) -> Duration {
    jittered(grown(settings, failed), rng)
}

fn grown(settings: &Settings, failed: u32) -> Duration {
    let doublings = failed.saturating_sub(1).min(20);
    settings
        .retry_first
        .saturating_mul(1 << doublings)
        .min(settings.retry_max)
}

/// When to try again after `failed` tries, or `None` when that would be at `limit` or later.
pub(crate) fn next_try(
    settings: &Settings,
    now: DateTime<Utc>,
    failed: u32,
    limit: DateTime<Utc>,
    rng: &mut impl Rng,
) -> Option<DateTime<Utc>> {
    Some(later(now, wait(settings, failed, rng))).filter(|at| *at < limit)
}

/// When to look again for a host, after `failed` looks: nobody is disturbed by many who look at once, and many who look
/// together read together. Not at `limit` or later.
pub(crate) fn next_look_for_host(
    settings: &Settings,
    now: DateTime<Utc>,
    failed: u32,
    limit: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let at = later(now, grown(settings, failed)).timestamp();
    let together = at.div_euclid(TOGETHER).saturating_add(1).saturating_mul(TOGETHER);
    DateTime::from_timestamp(together, 0).filter(|at| *at < limit)
}

/// When to look at a host again whose effect is unknown since `since`: half as long again as nobody has known, so
/// that a host that is only rebooting is seen soon and one that is gone is not asked all day.
pub(crate) fn next_look(
    settings: &Settings,
    now: DateTime<Utc>,
    since: DateTime<Utc>,
    limit: DateTime<Utc>,
    rng: &mut impl Rng,
) -> Option<DateTime<Utc>> {
    let grown =
        (between(since, now) / 2).clamp(settings.check_first, settings.retry_max.max(settings.check_first));
    Some(later(now, jittered(grown, rng))).filter(|at| *at < limit)
}

/// 20 % more or less, and never more than a day, whatever the settings say.
pub(crate) fn jittered(wait: Duration, rng: &mut impl Rng) -> Duration {
    wait.min(Duration::from_hours(20))
        .mul_f64(rng.random_range(0.8..=1.2))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum_within_a_fifth() {
        let settings = Settings::default();
        let mut rng = StdRng::seed_from_u64(7);
        for (failed, middle) in [
            (1, 60),
            (2, 120),
            (3, 240),
            (4, 480),
            (5, 900),
            (6, 900),
            (u32::MAX, 900),
        ] {
            for _ in 0..200 {
                let wait = wait(&settings, failed, &mut rng).as_secs_f64();
                assert!(
                    (wait - f64::from(middle)).abs() <= f64::from(middle) * 0.2 + 1e-6,
                    "{failed}: {wait}"
                );
            }
        }
    }

    #[test]
    fn no_try_is_planned_at_the_limit_or_later() {
        let settings = Settings::default();
        let mut rng = StdRng::seed_from_u64(7);
        let now = Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap();
        assert_eq!(
            next_try(&settings, now, 1, later(now, Duration::from_secs(48)), &mut rng),
            None
        );
        assert!(next_try(&settings, now, 1, later(now, Duration::from_secs(73)), &mut rng).is_some());
    }

    #[test]
    fn looks_at_a_host_grow_apart_with_the_time_nobody_knows() {
        let settings = Settings::default();
        let mut rng = StdRng::seed_from_u64(7);
        let now = Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap();
        let limit = later(now, Duration::from_hours(6));
        let mut after = |known: u64| {
            let since = now - chrono::TimeDelta::seconds(i64::try_from(known).unwrap());
            between(now, next_look(&settings, now, since, limit, &mut rng).unwrap()).as_secs()
        };
        assert!((8..=12).contains(&after(0)));
        assert!((48..=72).contains(&after(120)));
        assert!((720..=1080).contains(&after(100_000)));
    }
}

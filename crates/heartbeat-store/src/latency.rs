//! How long polls took, counted in buckets: what two schedulers counted adds up, and quantiles are read from the sums.

use std::time::Duration;

/// How many buckets there are: one below each of [`BOUNDS`], and one for what took longer than the last.
pub const BUCKETS: usize = BOUNDS.len() + 1;

/// The upper bounds of the buckets, which belong to them. Rows are counted by them: never changed, only added to.
pub const BOUNDS: [Duration; 15] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(35),
    Duration::from_millis(50),
    Duration::from_millis(75),
    Duration::from_millis(100),
    Duration::from_millis(150),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(15),
];

/// The bucket of a poll that took so long.
#[must_use]
pub fn bucket_of(took: Duration) -> usize {
    BOUNDS.partition_point(|bound| *bound < took)
}

/// How many polls fell into each bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latencies(pub [u64; BUCKETS]);

impl Latencies {
    /// How many polls there are in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that a share of all polls stayed within, `share` between 0 and 1: interpolated within its bucket, so it
    /// is off by at most the bucket's width. `None` without a poll. What took longer than the last bound counts as that.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = (share.clamp(0.0, 1.0) * count as f64).max(f64::MIN_POSITIVE);
        let mut below = 0;
        for (bucket, polls) in self.0.iter().enumerate() {
            let upto = below + polls;
            if *polls > 0 && upto as f64 >= rank {
                let within = (rank - below as f64) / *polls as f64;
                return Some(inside(bucket, within));
            }
            below = upto;
        }
        Some(BOUNDS[BOUNDS.len() - 1])
    }
}

fn inside(bucket: usize, within: f64) -> Duration {
    let from = bucket
        .checked_sub(1)
        .map_or(Duration::ZERO, |below| BOUNDS[below]);
    let to = BOUNDS.get(bucket).copied().unwrap_or(from);
    from + (to - from).mul_f64(within.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        let ms = Duration::from_millis;
        for (took, bucket) in [
            (0, 0),
            (5, 0),
            (6, 1),
            (20, 2),
            (15_000, 14),
            (15_001, 15),
            (9_999_999, 15),
        ] {
            assert_eq!(bucket_of(ms(took)), bucket, "{took} ms");
        }
        assert!(BOUNDS.is_sorted());
    }

    #[test]
    fn quantiles_lie_in_the_bucket_of_the_poll_they_stand_for() {
        let mut all = Latencies::default();
        assert_eq!(all.quantile(0.5), None);
        for took in 1..=1_000 {
            all.0[bucket_of(Duration::from_millis(took))] += 1;
        }
        for share in [0.001, 0.25, 0.5, 0.95, 0.99, 1.0] {
            let exact = Duration::from_millis((share * 1_000.0) as u64);
            let read = all.quantile(share).unwrap();
            assert_eq!(bucket_of(read), bucket_of(exact), "{share}: {read:?}");
        }
        let slow = Latencies(std::array::from_fn(|bucket| u64::from(bucket == BUCKETS - 1)));
        assert_eq!(slow.quantile(0.5), Some(Duration::from_secs(15)));
    }
}

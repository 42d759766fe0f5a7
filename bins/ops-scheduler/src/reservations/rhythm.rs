//! When the next pass is: at once for what is due and for a change after a quiet time. Changes that follow each other
//! closely, as when hundreds of flows end together, are looked at together.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// Changes within this time after a pass are gathered for the next one.
const GATHER: Duration = Duration::from_millis(100);
/// A slow pass gathers for as long as it took, so that passes for changes fill half of the time at most, but no
/// longer than this.
const GATHER_MOST: Duration = Duration::from_secs(1);

/// The time after one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rhythm {
    /// Until when changes are gathered.
    quiet_until: Instant,
}

impl Rhythm {
    /// A pass that began then is over now.
    pub(super) fn after_pass(began: Instant) -> Self {
        let now = Instant::now();
        let took = now.saturating_duration_since(began);
        Self {
            quiet_until: now + took.clamp(GATHER, GATHER_MOST),
        }
    }

    /// A pass has failed: changes wait for this long, so that a database that is away is not hammered.
    pub(super) fn after_failure(pause: Duration) -> Self {
        Self {
            quiet_until: Instant::now() + pause,
        }
    }

    /// Waits until something is due, which is in `due`, or until something changed. What changed in the quiet time must
    /// not be forgotten by `changed` although nobody waits.
    ///
    /// # Cancel safety
    /// As `changed`.
    pub(super) async fn next(self, due: Duration, changed: impl Future<Output = ()>) {
        // In this order all that changed in the quiet time is one change afterwards.
        let gathered = async {
            sleep_until(self.quiet_until).await;
            changed.await;
        };
        tokio::select! {
            () = gathered => {}
            () = sleep(due) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    const SCAN: Duration = Duration::from_secs(30);

    /// When passes begin that take so long each, in milliseconds after now, until nothing happens any more.
    async fn passes(takes: Duration, changed: &Notify, until: Duration) -> Vec<u128> {
        let started_at = Instant::now();
        let mut begun = Vec::new();
        while started_at.elapsed() < until {
            let began = Instant::now();
            begun.push(started_at.elapsed().as_millis());
            sleep(takes).await;
            let rest = until.saturating_sub(started_at.elapsed());
            Rhythm::after_pass(began)
                .next(SCAN.min(rest), changed.notified())
                .await;
        }
        begun
    }

    /// Five hundred flows that end one after the other within 100 ms, from `first` on.
    fn flows(first: Duration, changed: &Arc<Notify>) -> JoinSet<()> {
        let mut flows = JoinSet::new();
        for number in 0..500 {
            let changed = Arc::clone(changed);
            flows.spawn(async move {
                sleep(first + Duration::from_micros(200) * number).await;
                changed.notify_one();
            });
        }
        flows
    }

    #[tokio::test(start_paused = true)]
    async fn five_hundred_flows_that_end_together_cost_three_passes_and_the_first_is_seen_at_once() {
        let changed = Arc::new(Notify::new());
        let flows = flows(Duration::from_secs(5), &changed);
        let begun = passes(Duration::from_millis(5), &changed, Duration::from_secs(20)).await;
        flows.join_all().await;
        assert_eq!(begun.len(), 3, "{begun:?}");
        assert_eq!(begun[0], 0);
        assert!((5_000..=5_002).contains(&begun[1]), "{begun:?}");
        assert!((5_100..=5_250).contains(&begun[2]), "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_passes_leave_the_database_half_of_the_time() {
        let changed = Arc::new(Notify::new());
        let mut ends = JoinSet::new();
        let each = Arc::clone(&changed);
        ends.spawn(async move {
            for _ in 0..20_000 {
                sleep(Duration::from_millis(1)).await;
                each.notify_one();
            }
        });
        let begun = passes(Duration::from_millis(400), &changed, Duration::from_secs(20)).await;
        assert!((24..=26).contains(&begun.len()), "{begun:?}");
        ends.join_all().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_due_waits_for_no_change_to_be_gathered() {
        let changed = Notify::new();
        changed.notify_one();
        let began = Instant::now();
        let due = Duration::from_millis(7);
        Rhythm::after_pass(began).next(due, changed.notified()).await;
        assert!(
            began.elapsed() <= Duration::from_millis(9),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn changes_do_not_hammer_a_database_that_is_away() {
        let changed = Notify::new();
        changed.notify_one();
        let began = Instant::now();
        let pause = Duration::from_secs(2);
        Rhythm::after_failure(pause).next(pause, changed.notified()).await;
        assert!(began.elapsed() >= pause, "{:?}", began.elapsed());
    }
}

//! Whether the main loops of a worker still move: a heartbeat alone says only that heartbeats are sent.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How often a loop that waits says that it does.
const WHILE_WAITING: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Beat {
    name: &'static str,
    at: Mutex<Instant>,
}

/// The main loops of one worker. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Mutex<Vec<Weak<Beat>>>>);

impl Progress {
    /// Counts a loop in, until the pulse is dropped.
    #[must_use]
    pub fn pulse(&self, name: &'static str) -> Pulse {
        let beat = Arc::new(Beat {
            name,
            at: Mutex::new(Instant::now()),
        });
        let mut beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| beat.strong_count() > 0);
        beats.push(Arc::downgrade(&beat));
        Pulse(beat)
    }

    /// The loop that did not move for longest, and for how long; `None` without loops.
    #[must_use]
    pub fn slowest(&self) -> Option<(&'static str, Duration)> {
        let beats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = beats.iter().filter_map(Weak::upgrade).map(|beat| {
            let at = *beat.at.lock().unwrap_or_else(PoisonError::into_inner);
            (beat.name, at.elapsed())
        });
        ages.max_by_key(|(_, age)| *age)
    }
}

/// One loop's mark.
#[derive(Debug)]
pub struct Pulse(Arc<Beat>);

impl Pulse {
    /// The loop moved.
    pub fn beat(&self) {
        *self.0.at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Waits for something that may well take long, which does not count as being stuck.
    ///
    /// # Cancel safety
    /// As `waiting`.
    pub async fn while_waiting<T>(&self, waiting: impl Future<Output = T>) -> T {
        let mut waiting = pin!(waiting);
        loop {
            let waited = timeout(WHILE_WAITING, waiting.as_mut()).await;
            self.beat();
            if let Ok(answer) = waited {
                return answer;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_slowest_loop_is_named_until_it_ends() {
        let progress = Progress::default();
        assert_eq!(progress.slowest(), None);
        let stuck = progress.pulse("stuck");
        let well = progress.pulse("well");
        tokio::time::sleep(Duration::from_secs(40)).await;
        well.beat();
        assert_eq!(progress.slowest(), Some(("stuck", Duration::from_secs(40))));
        drop(stuck);
        assert_eq!(progress.slowest(), Some(("well", Duration::ZERO)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_is_not_stuck() {
        let progress = Progress::default();
        let pulse = progress.pulse("waits");
        let waits = pulse.while_waiting(tokio::time::sleep(Duration::from_secs(3600)));
        let looks = async {
            for _ in 0..100 {
                tokio::time::sleep(Duration::from_millis(35_500)).await;
                let (_, age) = progress.slowest().unwrap();
                assert!(age <= WHILE_WAITING, "{age:?}");
            }
        };
        tokio::join!(waits, looks);
    }
}

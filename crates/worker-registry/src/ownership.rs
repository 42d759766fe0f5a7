//! What is ours at this moment, for the loops that act on it.

use lab_model::HostName;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::shard::{Duty, Shard, ShardSet};

/// What a worker holds, and until when it may act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holdings {
    pub(crate) shards: [ShardSet; 2],
    /// How many workers share each duty, this one included.
    pub(crate) peers: [u32; 2],
    /// By our own monotonic clock, and well before the leases end by the database's.
    pub(crate) until: Instant,
}

impl Holdings {
    pub(crate) fn nothing() -> Self {
        Self {
            shards: [ShardSet::default(); 2],
            peers: [1; 2],
            until: Instant::now(),
        }
    }
}

/// A view on what a worker holds. It is empty before the worker has registered, and again as soon as leases could not be
/// renewed for so long that others may soon take them. Clones see the same.
#[derive(Debug, Clone)]
pub struct Ownership {
    seen: watch::Receiver<Holdings>,
}

impl Ownership {
    pub(crate) fn new() -> (watch::Sender<Holdings>, Self) {
        let (sender, seen) = watch::channel(Holdings::nothing());
        (sender, Self { seen })
    }

    /// The shards of a duty that are ours now.
    #[must_use]
    pub fn shards(&self, duty: Duty) -> ShardSet {
        let held = *self.seen.borrow();
        if held.until > Instant::now() {
            held.shards[duty.index()]
        } else {
            ShardSet::default()
        }
    }

    /// Whether a host is ours now, for a duty.
    #[must_use]
    pub fn owns(&self, duty: Duty, host: &HostName) -> bool {
        self.shards(duty).contains(Shard::of(host))
    }

    /// How many workers share a duty, this one included; at least 1.
    #[must_use]
    pub fn peers(&self, duty: Duty) -> u32 {
        self.seen.borrow().peers[duty.index()].max(1)
    }

    /// Waits until something was gained or lost, or another worker came or went. Only running out of time is not
    /// announced.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // The worker has left: nothing changes any more.
            std::future::pending::<()>().await;
        }
    }
}

/// Tells the loops. They are woken only by what matters to them, not by each renewal.
pub(crate) fn publish(sender: &watch::Sender<Holdings>, now: Holdings) {
    sender.send_if_modified(|before| {
        let lapsed = before.until <= Instant::now() && before.shards.iter().any(|set| !set.is_empty());
        let news = lapsed || before.shards != now.shards || before.peers != now.peers;
        *before = now;
        news
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn everything(until: Instant) -> Holdings {
        Holdings {
            shards: [ShardSet::ALL, ShardSet::default()],
            peers: [3, 1],
            until,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_ours_before_the_first_round_and_after_time_has_run_out() {
        let (sender, ownership) = Ownership::new();
        let host = HostName::parse("a").unwrap();
        assert!(!ownership.owns(Duty::Polls, &host));
        publish(&sender, everything(Instant::now() + Duration::from_secs(12)));
        assert!(ownership.owns(Duty::Polls, &host));
        assert!(!ownership.owns(Duty::Reservations, &host));
        assert_eq!(
            (ownership.peers(Duty::Polls), ownership.peers(Duty::Reservations)),
            (3, 1)
        );
        tokio::time::advance(Duration::from_secs(12)).await;
        assert!(ownership.shards(Duty::Polls).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn renewals_wake_nobody_but_getting_time_again_does() {
        let (sender, mut ownership) = Ownership::new();
        let in_12 = || Instant::now() + Duration::from_secs(12);
        publish(&sender, everything(in_12()));
        ownership.changed().await;
        publish(&sender, everything(in_12()));
        assert!(!ownership.seen.has_changed().unwrap());
        tokio::time::advance(Duration::from_secs(13)).await;
        publish(&sender, everything(in_12()));
        assert!(ownership.seen.has_changed().unwrap());
    }
}

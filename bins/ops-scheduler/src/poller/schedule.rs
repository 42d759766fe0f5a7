//! When each host is due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use lab_model::HostName;
use rand::RngExt as _;
use tokio::time::Instant;

/// Which stay of a host in the schedule something belongs to. A host that left and came back has a new one, so that
/// what is still queued from before is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stay(u64);

/// The hosts that are polled, and when each is due.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BinaryHeap<Reverse<(Instant, HostName, Stay)>>,
    known: HashMap<HostName, Stay>,
    stays: u64,
}

impl Schedule {
    /// Whether `host` is polled.
    pub(super) fn knows(&self, host: &HostName) -> bool {
        self.known.contains_key(host)
    }

    /// Polls these hosts and no others. A new one that was polled `since` so long ago, maybe by another worker, is due
    /// one interval after that; the others get a random place in the first interval.
    pub(super) fn adopt<'a>(
        &mut self,
        hosts: impl Iterator<Item = &'a HostName>,
        since: &HashMap<HostName, Duration>,
        interval: Duration,
        now: Instant,
    ) {
        // The contract polls at once after the start: spread over a tenth of the interval is near enough to that.
        let spread = (interval / 10).min(Duration::from_secs(10));
        let mut known = HashMap::new();
        for host in hosts {
            let stay = self.known.get(host).copied().unwrap_or_else(|| {
                self.stays += 1;
                let stay = Stay(self.stays);
                let left = since.get(host).and_then(|since| interval.checked_sub(*since));
                let wait = left.unwrap_or_else(|| spread.mul_f64(rand::rng().random_range(0.0..1.0)));
                self.due.push(Reverse((now + wait, host.clone(), stay)));
                stay
            });
            known.insert(host.clone(), stay);
        }
        self.known = known;
    }

    /// The next host that is due by `now`, and when it was due; what is void is dropped on the way.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(HostName, Stay, Instant)> {
        while let Some(Reverse((at, _, _))) = self.due.peek() {
            if *at > now {
                return None;
            }
            let Reverse((at, host, stay)) = self.due.pop()?;
            if self.known.get(&host) == Some(&stay) {
                return Some((host, stay, at));
            }
        }
        None
    }

    pub(super) fn next_at(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Puts a polled host back, one interval (give or take a twentieth) after its poll began.
    pub(super) fn again(&mut self, host: HostName, stay: Stay, interval: Duration, began: Instant) {
        if self.known.get(&host) == Some(&stay) {
            let wait = interval.mul_f64(rand::rng().random_range(0.95..1.05));
            self.due.push(Reverse((began + wait, host, stay)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn adopt(schedule: &mut Schedule, names: &[&str], since: &[(&str, u64)], now: Instant) {
        let hosts: Vec<HostName> = names.iter().map(|name| HostName::parse(name).unwrap()).collect();
        let since = since
            .iter()
            .map(|(name, secs)| (HostName::parse(name).unwrap(), Duration::from_secs(*secs)))
            .collect();
        schedule.adopt(hosts.iter(), &since, MINUTE, now);
    }

    fn due(schedule: &mut Schedule, by: Instant) -> Vec<String> {
        let mut due: Vec<_> = std::iter::from_fn(|| schedule.take_due(by))
            .map(|(host, _, _)| host.to_string())
            .collect();
        due.sort();
        due
    }

    #[tokio::test(start_paused = true)]
    async fn every_host_is_due_once_within_the_first_tenth_of_the_interval() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        adopt(&mut schedule, &["a", "b", "c"], &[], now);
        adopt(&mut schedule, &["a", "b", "c"], &[], now);
        assert_eq!(due(&mut schedule, now + MINUTE / 10), ["a", "b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_left_is_not_polled_again() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        adopt(&mut schedule, &["a", "b"], &[], now);
        adopt(&mut schedule, &["b"], &[], now);
        assert_eq!(due(&mut schedule, now + MINUTE), ["b"]);
        assert!(!schedule.knows(&HostName::parse("a").unwrap()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_polled_host_is_due_again_about_one_interval_after_it_began() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        adopt(&mut schedule, &["a"], &[], now);
        let (host, stay, _) = schedule.take_due(now + MINUTE).unwrap();
        schedule.again(host, stay, MINUTE, now);
        assert_eq!(schedule.take_due(now + MINUTE.mul_f64(0.94)), None);
        assert!(schedule.take_due(now + MINUTE.mul_f64(1.06)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_came_back_is_due_once_whatever_is_left_of_its_first_stay() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        adopt(&mut schedule, &["a", "b"], &[], now);
        let first_stays = [schedule.take_due(now + MINUTE).unwrap()];
        // One is being polled, the other waits in the queue, when both leave and come back.
        adopt(&mut schedule, &[], &[], now);
        adopt(&mut schedule, &["a", "b"], &[], now);
        for (host, stay, _) in first_stays {
            schedule.again(host, stay, MINUTE, now);
        }
        assert_eq!(due(&mut schedule, now + 2 * MINUTE), ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_taken_over_keeps_its_place_in_the_interval() {
        let mut schedule = Schedule::default();
        let now = Instant::now();
        adopt(&mut schedule, &["a", "late"], &[("a", 20), ("late", 600)], now);
        assert_eq!(due(&mut schedule, now + Duration::from_secs(39)), ["late"]);
        assert_eq!(due(&mut schedule, now + Duration::from_secs(40)), ["a"]);
    }
}

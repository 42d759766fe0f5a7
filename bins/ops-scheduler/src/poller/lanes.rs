//! Who may be looked at at the same moment. Pure.
//!
//! Every look begins in the *prompt* lane and leaves it after a second: what takes longer goes on in the *slow* lane.
//! Whatever hosts do, a place in the prompt lane is free again after a second, so with `P` places `P` hosts a second are
//! looked at on time, also when all of them hang. The slow lane is bounded as well: one too many, and the one that has
//! been there longest is given up.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// A look that takes longer is slow.
const PROMPT: Duration = Duration::from_secs(1);

/// One look, by its number.
pub(super) type Number = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Prompt,
    Slow,
}

/// The lanes, and who is in them.
#[derive(Debug)]
pub(super) struct Lanes {
    most_prompt: usize,
    most_slow: usize,
    lane_of: HashMap<Number, Lane>,
    slow_count: usize,
    /// In the order in which they began; with some that have ended.
    prompt: VecDeque<(Instant, Number)>,
    slow: VecDeque<Number>,
}

impl Lanes {
    /// Room for `places` looks, of which `slow_percent` in a hundred may be slow.
    pub(super) fn new(places: usize, slow_percent: u32) -> Self {
        let most_slow = places * usize::try_from(slow_percent).unwrap_or(50) / 100;
        Self {
            most_prompt: places.saturating_sub(most_slow).max(1),
            most_slow,
            lane_of: HashMap::new(),
            slow_count: 0,
            prompt: VecDeque::new(),
            slow: VecDeque::new(),
        }
    }

    /// Whether another look may begin.
    pub(super) fn has_room(&self) -> bool {
        self.lane_of.len() - self.slow_count < self.most_prompt
    }

    pub(super) fn begin(&mut self, number: Number, now: Instant) {
        self.lane_of.insert(number, Lane::Prompt);
        self.prompt.push_back((now, number));
    }

    pub(super) fn end(&mut self, number: Number) {
        if self.lane_of.remove(&number) == Some(Lane::Slow) {
            self.slow_count -= 1;
        }
    }

    /// How many are in each lane.
    pub(super) fn counts(&self) -> [usize; 2] {
        [self.lane_of.len() - self.slow_count, self.slow_count]
    }

    /// Moves on who has become slow; gives who has to be given up for it.
    pub(super) fn grow_older(&mut self, now: Instant) -> Vec<Number> {
        while let Some((began, number)) = self.prompt.front().copied() {
            let has_ended = self.lane_of.get(&number) != Some(&Lane::Prompt);
            if !has_ended && (began + PROMPT > now || self.most_slow == 0) {
                break;
            }
            self.prompt.pop_front();
            if !has_ended {
                self.lane_of.insert(number, Lane::Slow);
                self.slow_count += 1;
                self.slow.push_back(number);
            }
        }
        let mut given_up = Vec::new();
        while self.slow_count > self.most_slow
            && let Some(longest) = self.slow.pop_front()
        {
            if self.lane_of.get(&longest) == Some(&Lane::Slow) {
                self.end(longest);
                given_up.push(longest);
            }
        }
        while self
            .slow
            .front()
            .is_some_and(|number| !self.lane_of.contains_key(number))
        {
            self.slow.pop_front();
        }
        given_up
    }

    /// When the next look becomes slow, unless it ends before.
    pub(super) fn next_at(&self) -> Option<Instant> {
        let front = self.prompt.front().filter(|_| self.most_slow > 0);
        front.map(|(began, _)| *began + PROMPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Looks begin at this rate for a minute, of which so many in a hundred never end; gives how long the longest waited,
    /// and how long the shortest of those was given before it was given up.
    fn rush(per_second: u32, hanging_percent: u64) -> (Duration, Duration) {
        let mut lanes = Lanes::new(800, 50);
        let start = Instant::now();
        let (mut began, mut ends): (HashMap<Number, Instant>, VecDeque<(Instant, Number)>) =
            Default::default();
        let (mut longest_wait, mut shortest_try) = (Duration::ZERO, Duration::MAX);
        let mut waiting: VecDeque<(Instant, Number)> = VecDeque::new();
        let mut next = 0_u64;
        for ms in 0..60_000_u32 {
            let now = start + MS * ms;
            while u64::from(ms) * u64::from(per_second) / 1000 >= next {
                waiting.push_back((now, next));
                next += 1;
            }
            while ends.front().is_some_and(|(at, _)| *at <= now) {
                lanes.end(ends.pop_front().unwrap().1);
            }
            for number in lanes.grow_older(now) {
                shortest_try = shortest_try.min(now - began[&number]);
            }
            while lanes.has_room()
                && let Some((due, number)) = waiting.pop_front()
            {
                longest_wait = longest_wait.max(now - due);
                lanes.begin(number, now);
                began.insert(number, now);
                if number % 100 >= hanging_percent {
                    ends.push_back((now + 50 * MS, number));
                }
            }
            assert!(lanes.counts().iter().all(|count| *count <= 400));
        }
        (longest_wait, shortest_try)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_hosts_that_hang_not_even_when_all_of_them_do() {
        // 10,000 hosts a minute.
        for percent in [0, 5, 50, 100] {
            let (wait, _) = rush(167, percent);
            assert_eq!(wait, Duration::ZERO, "{percent} in a hundred hang");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_hang_the_less_time_each_gets() {
        let [five, fifty] = [5, 50].map(|percent| rush(167, percent).1);
        assert!(
            five > Duration::from_secs(40),
            "the whole default deadline: {five:?}"
        );
        assert!(
            fifty > Duration::from_secs(5) && fifty < Duration::from_secs(8),
            "{fifty:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_single_place_is_enough_to_go_on_with() {
        let mut lanes = Lanes::new(1, 50);
        let now = Instant::now();
        lanes.begin(1, now);
        assert!(!lanes.has_room());
        assert_eq!(
            lanes.grow_older(now + Duration::from_secs(9)),
            Vec::<Number>::new()
        );
        lanes.end(1);
        assert!(lanes.has_room());
        assert_eq!((lanes.counts(), lanes.next_at()), ([0, 0], None));
    }
}

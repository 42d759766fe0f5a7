use std::collections::BTreeMap;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const MANY: usize = 10_000;
const MEAN: f64 = 10_000.0 / 60.0;

/// A schedule, what time it is, and how many hosts were taken in which second.
struct Round {
    schedule: Schedule,
    start: Instant,
    now: Instant,
    taken: BTreeMap<u64, u32>,
    last: BTreeMap<usize, Instant>,
    longest_gap: Duration,
    latest: Duration,
    /// How the next poll is arranged, by how the poll ended.
    sick: fn(usize, Duration) -> Option<Duration>,
}

impl Round {
    fn new(interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            schedule: Schedule::new(interval, now, 7),
            start: now,
            now,
            taken: BTreeMap::new(),
            last: BTreeMap::new(),
            longest_gap: Duration::ZERO,
            latest: Duration::ZERO,
            sick: |_, _| None,
        }
    }

    fn enter(&mut self, hosts: std::ops::Range<usize>, since: impl Fn(usize) -> Option<Duration>) {
        let hosts: Vec<_> = hosts.map(|n| (HostId(n), since(n))).collect();
        let _ = self.schedule.enter(&hosts, self.now);
    }

    /// Goes on in steps; each poll ends at once.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            while let Some(due) = self.schedule.take_due(self.now) {
                let second = (self.now - self.start).as_secs();
                *self.taken.entry(second).or_default() += 1;
                self.latest = self.latest.max(self.now - due.at);
                if let Some(before) = self.last.insert(due.host.0, self.now) {
                    self.longest_gap = self.longest_gap.max(self.now - before);
                }
                let at_most = (self.sick)(due.host.0, self.now - self.start);
                self.schedule
                    .again(due.host, due.stay, self.now, self.schedule.interval, at_most);
            }
            self.now += STEP;
        }
    }

    fn busiest(&self, from: u64) -> u32 {
        self.taken
            .range(from..)
            .map(|(_, count)| *count)
            .max()
            .unwrap_or(0)
    }

    fn in_all(&self) -> u32 {
        self.taken.values().sum()
    }
}

fn assert_no_burst(round: &Round) {
    let busiest = f64::from(round.busiest(0));
    assert!(
        busiest <= 2.0 * MEAN,
        "{busiest} in one second: {:?}",
        round.taken
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_hosts_begin_and_go_on_without_a_burst_each_once_per_interval() {
    let mut round = Round::new(MINUTE);
    round.enter(0..MANY, |_| None);
    round.run(10 * MINUTE);
    assert_no_burst(&round);
    assert_eq!(round.last.len(), MANY);
    assert!((99_000..=101_000).contains(&round.in_all()), "{}", round.in_all());
    assert!(
        round.longest_gap <= MINUTE.mul_f64(1.1) + 2 * STEP,
        "{:?}",
        round.longest_gap
    );
    assert!(round.latest < Duration::from_secs(1), "{:?}", round.latest);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_adds_and_removes_hosts_makes_no_burst() {
    let mut round = Round::new(MINUTE);
    round.enter(0..MANY / 2, |_| None);
    round.run(2 * MINUTE);
    (0..1_000).for_each(|n| round.schedule.leave(HostId(n)));
    round.enter(MANY / 2..MANY, |_| None);
    round.run(3 * MINUTE);
    assert_no_burst(&round);
    let gone = round.last[&5];
    assert!(gone < round.start + 2 * MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_takeover_keeps_places_and_catches_up_with_what_is_overdue_without_a_burst() {
    let mut round = Round::new(MINUTE);
    round.enter(0..MANY / 2, |_| None);
    round.run(2 * MINUTE);
    // The other scheduler polled evenly until it died, 20 s ago.
    let since = |n: usize| MINUTE.mul_f64((n - MANY / 2) as f64 / 5_000.0) + Duration::from_secs(20);
    round.enter(MANY / 2..MANY, |n| Some(since(n)));
    let taken_over = round.now;
    round.run(3 * MINUTE);
    assert_no_burst(&round);
    assert!(round.latest < Duration::from_secs(25), "{:?}", round.latest);
    // In the long run each is at the place that it had.
    for n in (MANY / 2..MANY).step_by(37) {
        let place = (round.last[&n] - (taken_over - since(n))).as_secs_f64() % 60.0;
        assert!(!(3.1..=56.9).contains(&place), "host {n} moved to {place}");
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_that_all_fail_at_once_do_not_come_back_at_once() {
    let mut round = Round::new(MINUTE);
    round.enter(0..MANY, |_| None);
    // Everything is unreachable from the third minute to the fifth: looked at again within one interval.
    round.sick = |_, at| (MINUTE * 3..MINUTE * 5).contains(&at).then_some(MINUTE);
    round.run(9 * MINUTE);
    assert_no_burst(&round);
    assert!(
        round.longest_gap <= MINUTE.mul_f64(1.1) + 2 * STEP,
        "{:?}",
        round.longest_gap
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_may_have_come_back_is_looked_at_again_within_one_interval() {
    let mut round = Round::new(MINUTE);
    round.sick = |_, _| Some(MINUTE);
    round.enter(0..1_000, |_| None);
    round.run(20 * MINUTE);
    assert!(
        round.longest_gap <= MINUTE + Duration::from_secs(1),
        "{:?}",
        round.longest_gap
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_of_the_process_each_host_is_polled_once_and_without_a_burst() {
    for pause in [5, 45, 600] {
        let mut round = Round::new(MINUTE);
        round.enter(0..MANY, |_| None);
        round.run(2 * MINUTE);
        let before = round.in_all();
        round.now += Duration::from_secs(pause);
        round.run(MINUTE * 2);
        assert_no_burst(&round);
        let after = round.in_all() - before;
        assert!(
            (17_000..=31_000).contains(&after),
            "{after} polls in two minutes after {pause} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn few_hosts_are_polled_soon_after_the_start() {
    let mut round = Round::new(MINUTE);
    round.enter(0..3, |_| None);
    round.run(Duration::from_secs(1));
    assert_eq!(round.in_all(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_left_is_not_polled_again_and_one_that_came_back_is_due_once() {
    let mut round = Round::new(MINUTE);
    round.enter(0..2, |_| None);
    let now = round.now;
    let first = round.schedule.take_due(now + MINUTE).unwrap();
    // One is being polled, the other waits in the queue, when both leave and come back.
    (0..2).for_each(|n| round.schedule.leave(HostId(n)));
    assert_eq!(round.schedule.take_due(now + 10 * MINUTE), None);
    assert!(round.schedule.place(first.host, first.stay).is_none());
    round.enter(0..2, |_| None);
    round.schedule.again(first.host, first.stay, now, MINUTE, None);
    let mut taken = Vec::new();
    for second in 60..70 {
        taken.extend(round.schedule.take_due(now + Duration::from_secs(second)));
    }
    let mut hosts: Vec<_> = taken.iter().map(|due| due.host.0).collect();
    hosts.sort_unstable();
    assert_eq!(hosts, [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_longer_wait_ends_at_the_hosts_place_too_and_a_new_order_voids_the_old_one() {
    let mut round = Round::new(MINUTE);
    round.enter(0..1, |_| Some(Duration::from_secs(20)));
    let now = round.now;
    assert_eq!(round.schedule.take_due(now + Duration::from_secs(39)), None);
    let due = round.schedule.take_due(now + Duration::from_secs(40)).unwrap();
    round
        .schedule
        .again(due.host, due.stay, due.at, 15 * MINUTE, None);
    let next = round.schedule.next_at().unwrap();
    let expected = now + Duration::from_secs(40) + 15 * MINUTE;
    assert!(next >= expected - Duration::from_secs(3) && next <= expected + Duration::from_secs(4));
    round.schedule.queue(due.host, due.stay, now + MINUTE);
    assert!(round.schedule.take_due(now + MINUTE).is_some());
    assert_eq!(round.schedule.take_due(now + 60 * MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_runs_for_years_goes_on_at_its_pace() {
    let mut round = Round::new(MINUTE);
    round.enter(0..100, |_| None);
    round.run(MINUTE);
    round.now += MINUTE * 60 * 24 * 3_650;
    round.run(MINUTE);
    round.taken.clear();
    round.run(3 * MINUTE);
    let taken: u32 = round.taken.values().sum();
    assert!(
        (280..=320).contains(&taken),
        "100 hosts, {taken} polls in three minutes"
    );
}

#[tokio::test(start_paused = true)]
async fn a_look_that_outlasts_the_interval_leaves_its_host_due_later_and_not_overdue() {
    let interval = Duration::from_secs(6);
    let mut round = Round::new(interval);
    round.enter(0..1, |_| None);
    round.now += interval;
    for took in [1, 4, 40].map(Duration::from_secs) {
        let due = round.schedule.take_due(round.now).unwrap();
        let began = round.now;
        round.now += took;
        let counted = counted_from(began, round.now, interval);
        round.schedule.again(due.host, due.stay, counted, interval, None);
        let next = round.schedule.next_at().unwrap();
        let jitter = interval.mul_f64(JITTER);
        assert!(
            next + jitter >= round.now,
            "{took:?}: overdue by {:?}",
            round.now - next
        );
        assert!(
            next <= round.now + interval + jitter + STEP,
            "{took:?}: in {:?}",
            next - round.now
        );
        round.now = next;
    }
}

//! How evenly hosts were asked, from the hosts' own log.

use std::collections::HashMap;

use crate::simulator::Asked;

/// Lateness in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Lateness {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// How many waits it was taken from.
    pub(crate) waits: usize,
}

/// How much longer than `interval_micros` each wait between two questions to the same host was; a wait that was
/// shorter counts as on time. `counted` says which hosts are looked at. A host that was asked less than twice has had
/// no wait that ended: the time from its only question, or the beginning, to `until` counts instead if it is too long.
pub(crate) fn lateness(
    asked: &[Asked],
    counted: impl Fn(u32) -> bool,
    hosts: u32,
    interval_micros: u64,
    (from, until): (u64, u64),
) -> Lateness {
    let mut last: HashMap<u32, u64> = HashMap::new();
    let mut late: Vec<u64> = Vec::new();
    let inside = |asked: &&Asked| counted(asked.host) && (from..=until).contains(&asked.at_micros);
    for question in asked.iter().filter(inside) {
        if let Some(before) = last.insert(question.host, question.at_micros) {
            late.push(
                question
                    .at_micros
                    .saturating_sub(before)
                    .saturating_sub(interval_micros),
            );
        }
    }
    for host in (0..hosts).filter(|&host| counted(host)) {
        // Not asked for longer than an interval at the end: late already, and nobody knows yet by how much.
        let waits = until.saturating_sub(last.get(&host).copied().unwrap_or(from));
        if waits > interval_micros {
            late.push(waits - interval_micros);
        }
    }
    late.sort_unstable();
    let at = |percent: usize| {
        let rank = (late.len() * percent).div_ceil(100).max(1);
        late.get(rank - 1).map_or(0.0, |&micros| micros as f64 / 1e3)
    };
    Lateness {
        p50: at(50),
        p99: at(99),
        max: at(100),
        waits: late.len(),
    }
}

/// How many polls the busiest second had, as a multiple of the mean: 1 is perfectly even. Seconds are counted from
/// `from`, whole ones only.
pub(crate) fn busiest_second(asked: &[Asked], (from, until): (u64, u64)) -> f64 {
    let seconds = usize::try_from(until.saturating_sub(from) / 1_000_000).unwrap_or(0);
    let mut polls = vec![0_u32; seconds];
    for question in asked.iter().filter(|asked| asked.at_micros >= from) {
        let second = usize::try_from((question.at_micros - from) / 1_000_000).unwrap_or(usize::MAX);
        if let Some(polls) = polls.get_mut(second) {
            *polls += 1;
        }
    }
    let all: u32 = polls.iter().sum();
    let most = polls.iter().copied().max().unwrap_or(0);
    if all == 0 {
        0.0
    } else {
        f64::from(most) * seconds as f64 / f64::from(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: u32, at_micros: u64) -> Asked {
        Asked { host, at_micros }
    }

    #[test]
    fn what_is_longer_than_the_interval_is_late_and_what_is_shorter_is_not() {
        let log = [
            asked(1, 1_000),
            asked(2, 5_000),
            asked(1, 13_000),
            asked(2, 14_000),
            asked(1, 22_000),
        ];
        let late = lateness(&log, |host| host > 0, 3, 10_000, (0, 23_000));
        assert_eq!((late.waits, late.p50, late.max), (3, 0.0, 2.0));
    }

    #[test]
    fn a_host_that_is_never_asked_again_is_late_all_the_same() {
        let log = [asked(0, 1_000)];
        let late = lateness(&log, |_| true, 1, 10_000, (0, 61_000));
        assert_eq!((late.waits, late.max), (1, 50.0));
        let never = lateness(&[], |_| true, 1, 10_000, (0, 61_000));
        assert_eq!((never.waits, never.max), (1, 51.0));
    }

    #[test]
    fn the_busiest_second_is_compared_with_the_mean() {
        let even = [asked(0, 100), asked(1, 1_000_100), asked(0, 2_000_100)];
        assert_eq!(busiest_second(&even, (0, 3_400_000)), 1.0);
        let burst = [
            asked(0, 5_000_000),
            asked(1, 5_100_000),
            asked(2, 5_999_999),
            asked(0, 8_100_000),
        ];
        assert_eq!(busiest_second(&burst, (5_000_000, 8_000_000)), 3.0);
        assert_eq!(busiest_second(&[], (0, 9_000_000)), 0.0);
    }

    #[test]
    fn hosts_that_do_not_count_and_moments_outside_are_left_out() {
        let log = [asked(0, 1_000), asked(1, 2_000), asked(0, 90_000)];
        let late = lateness(&log, |host| host == 1, 2, 10_000, (0, 5_000));
        assert_eq!(late.waits, 0);
        assert_eq!(late.p99, 0.0);
    }
}

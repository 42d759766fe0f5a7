//! What one heartbeat poll costs in the steady state, as the hosts count it.

use std::collections::BTreeMap;

use host_sim::Counts;

/// Counts taken while students have their hosts, when nothing but polls goes there.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<&'static str, Meter>);

#[derive(Debug, Default)]
struct Meter {
    previous: Option<Counts>,
    first: Option<Counts>,
    last: Option<Counts>,
}

/// The sum over all reservations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Steady {
    /// Polls; each is one command.
    pub(crate) polls: u64,
    /// HTTP requests they took.
    pub(crate) requests: u64,
    /// Connections opened for them.
    pub(crate) connections: u64,
    /// NTLM handshakes made for them.
    pub(crate) handshakes: u64,
    /// Shells created for them.
    pub(crate) shells: u64,
}

impl Tally {
    /// Notes a host's counts while the reservation `id` has it. Only counts that stood still since the last look are
    /// taken, so that no poll is cut in half.
    pub(crate) fn note(&mut self, id: &'static str, counts: Counts) {
        let meter = self.0.entry(id).or_default();
        if meter.previous == Some(counts) {
            meter.first.get_or_insert(counts);
            meter.last = Some(counts);
        }
        meter.previous = Some(counts);
    }

    /// What all polls between the first and the last still moments cost.
    pub(crate) fn sum(&self) -> Steady {
        let spans = self
            .0
            .values()
            .filter_map(|meter| Some((meter.first?, meter.last?)));
        spans.fold(Steady::default(), |sum, (first, last)| Steady {
            polls: sum.polls + (last.commands - first.commands),
            requests: sum.requests + (last.requests - first.requests),
            connections: sum.connections + (last.connections - first.connections),
            handshakes: sum.handshakes + (last.handshakes - first.handshakes),
            shells: sum.shells + (last.shells_created - first.shells_created),
        })
    }
}

impl Steady {
    /// HTTP requests per poll; `None` when none was seen.
    pub(crate) fn requests_per_poll(&self) -> Option<f64> {
        (self.polls > 0).then(|| self.requests as f64 / self.polls as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, commands: u64) -> Counts {
        Counts {
            connections: 2,
            handshakes: 2,
            requests,
            commands,
            ..Counts::default()
        }
    }

    #[test]
    fn only_counts_that_stood_still_are_taken() {
        let mut tally = Tally::default();
        for (requests, commands) in [(10, 3), (10, 3), (12, 4), (13, 4), (13, 4), (14, 5)] {
            tally.note("a", counts(requests, commands));
        }
        let sum = tally.sum();
        assert_eq!((sum.polls, sum.requests, sum.connections), (1, 3, 0));
        assert_eq!(sum.requests_per_poll(), Some(3.0));
    }

    #[test]
    fn without_a_still_moment_nothing_is_claimed() {
        let mut tally = Tally::default();
        tally.note("a", counts(1, 1));
        tally.note("a", counts(2, 1));
        assert_eq!(tally.sum().requests_per_poll(), None);
    }

    #[test]
    fn reservations_are_added_up_each_from_its_own_first_moment() {
        let mut tally = Tally::default();
        for (id, from) in [("a", 0), ("b", 100)] {
            for counted in [from, from, from + 6, from + 6] {
                tally.note(id, counts(counted, counted / 3));
            }
        }
        assert_eq!(tally.sum().requests, 12);
    }
}

//! The day: which reservations there are, and what has to become of each.

use chrono::{DateTime, TimeDelta, Utc};

/// How many hosts the lab has. Those without a reservation stay asleep.
pub(crate) const HOSTS: usize = 12;
/// How long before its start a reservation's host is woken, in seconds.
pub(crate) const LEAD: i64 = 20;
/// How long after its end a host is released when nobody waits for it, in seconds.
pub(crate) const END_DELAY: i64 = 3;
/// The demonstration gives up on whatever is not settled by then, in seconds.
pub(crate) const LIMIT: i64 = 100;
/// How late a reservation may be whose host was in use until its very start, in seconds.
const TURNAROUND: i64 = 12;

/// What has to become of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Ready before its start, released after its end.
    Completed,
    /// The same, but the host is in use until its start: ready as soon as that one was released.
    CompletedAfterTurnaround,
    /// Cancelled at this instant, while active: released at once, and it stays cancelled.
    Cancelled(DateTime<Utc>),
    /// The host never boots: given up, naming this rung of the wake ladder.
    NeedsAttention(&'static str),
}

/// One reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// What the gateway calls it.
    pub(crate) id: &'static str,
    /// Which host serves its lab, from 0.
    pub(crate) host: usize,
    /// When the student may begin.
    pub(crate) starts_at: DateTime<Utc>,
    /// When the student has to stop.
    pub(crate) ends_at: DateTime<Utc>,
    /// What has to become of it.
    pub(crate) ending: Ending,
    /// By how much the machine that plays the day may be late.
    pub(crate) slack: TimeDelta,
}

impl Reservation {
    /// The latest instant at which its host may become ready.
    pub(crate) fn ready_by(&self) -> DateTime<Utc> {
        match self.ending {
            Ending::CompletedAfterTurnaround => self.starts_at + TimeDelta::seconds(TURNAROUND) + self.slack,
            _ => self.starts_at + self.slack,
        }
    }

    /// Whether its host gets prepared, and so has to be released.
    pub(crate) fn takes_the_host(&self) -> bool {
        !matches!(self.ending, Ending::NeedsAttention(_))
    }
}

/// All reservations of the day.
#[derive(Debug, Clone)]
pub(crate) struct Day {
    /// Second 0 of the day.
    pub(crate) began_at: DateTime<Utc>,
    /// The reservations; those of one host by start.
    pub(crate) reservations: Vec<Reservation>,
    /// By how much the machine that plays it may be late.
    slack: TimeDelta,
}

impl Day {
    /// Plans the day from a whole second on: the shared table keeps no fractions.
    pub(crate) fn beginning(began_at: DateTime<Utc>) -> Self {
        let at = |second: i64| began_at + TimeDelta::seconds(second);
        let reservation = |id, host, from, to, ending| Reservation {
            id,
            host,
            starts_at: at(from),
            ends_at: at(to),
            ending,
            slack: TimeDelta::zero(),
        };
        let class = ["class-1", "class-2", "class-3", "class-4", "class-5", "class-6"];
        let class = class
            .iter()
            .enumerate()
            .map(|(host, id)| reservation(id, host, 26, 50, Ending::Completed));
        let mut reservations: Vec<Reservation> = class.collect();
        reservations.extend([
            reservation("pair-1", 6, 26, 46, Ending::Completed),
            reservation("pair-2", 6, 46, 62, Ending::CompletedAfterTurnaround),
            reservation("dropped", 7, 24, 95, Ending::Cancelled(at(34))),
            reservation("no-boot", 8, 24, 46, Ending::NeedsAttention("tcp_port")),
        ]);
        Self {
            began_at,
            reservations,
            slack: TimeDelta::zero(),
        }
    }

    /// The same day on a machine that may be late by so much: a slow one, or one with much else to do.
    pub(crate) fn allowing(mut self, slack: TimeDelta) -> Self {
        self.slack = slack;
        for reservation in &mut self.reservations {
            reservation.slack = slack;
        }
        self
    }

    /// The reservations of one host, by start.
    pub(crate) fn of_host(&self, host: usize) -> impl Iterator<Item = (usize, &Reservation)> {
        self.reservations
            .iter()
            .enumerate()
            .filter(move |(_, reservation)| reservation.host == host)
    }

    /// An instant in seconds of the day, as the table shows it.
    pub(crate) fn second(&self, at: DateTime<Utc>) -> f64 {
        seconds(at - self.began_at)
    }

    /// When the demonstration gives up.
    pub(crate) fn over_at(&self) -> DateTime<Utc> {
        self.began_at + TimeDelta::seconds(LIMIT) + self.slack
    }
}

/// The name of a host, from 0.
pub(crate) fn host_name(host: usize) -> String {
    format!("lab-ws-{:02}", host + 1)
}

/// The lab that a host serves.
pub(crate) fn lab_id(host: usize) -> String {
    (host + 1).to_string()
}

/// A span of time as a number of seconds.
pub(crate) fn seconds(span: TimeDelta) -> f64 {
    span.as_seconds_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    fn a_day() -> Day {
        Day::beginning(Utc.with_ymd_and_hms(2026, 3, 1, 9, 0, 0).unwrap())
    }

    #[test]
    fn reservations_of_one_host_follow_each_other_without_overlap() {
        let day = a_day();
        for host in 0..HOSTS {
            let reservations: Vec<_> = day.of_host(host).map(|(_, reservation)| reservation).collect();
            assert!(
                reservations
                    .windows(2)
                    .all(|pair| pair[0].ends_at <= pair[1].starts_at),
                "host {host}"
            );
        }
        let pair: Vec<_> = day.of_host(6).map(|(_, reservation)| reservation).collect();
        assert_eq!(pair[0].ends_at, pair[1].starts_at, "back to back");
    }

    #[test]
    fn a_class_begins_at_one_instant_on_six_hosts() {
        let day = a_day();
        let class: Vec<_> = day
            .reservations
            .iter()
            .filter(|reservation| reservation.id.starts_with("class"))
            .collect();
        let mut hosts: Vec<_> = class.iter().map(|reservation| reservation.host).collect();
        hosts.dedup();
        assert_eq!(hosts.len(), 6);
        assert!(
            class
                .iter()
                .all(|reservation| reservation.starts_at == class[0].starts_at)
        );
    }

    #[test]
    fn every_reservation_has_its_whole_lead_and_is_released_before_the_day_is_over() {
        let day = a_day();
        for reservation in &day.reservations {
            let last = match reservation.ending {
                Ending::Cancelled(at) => at,
                _ => reservation.ends_at,
            };
            assert!(
                reservation.starts_at - TimeDelta::seconds(LEAD) >= day.began_at,
                "{}",
                reservation.id
            );
            assert!(
                last + TimeDelta::seconds(END_DELAY + 15) < day.over_at(),
                "{}",
                reservation.id
            );
        }
    }

    #[test]
    fn some_hosts_have_nothing_to_do() {
        let day = a_day();
        assert_eq!(
            (0..HOSTS)
                .filter(|host| day.of_host(*host).next().is_none())
                .count(),
            3
        );
    }
}

//! `ops_host_hours`: what an hour of a host comes to, in sums to which every scheduler adds.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta, Timelike as _};
use sea_orm::Value;

use crate::batch::state_row::StateRow;
use crate::latency::{BUCKETS, bucket_of};

/// After a longer time without a report nobody knows how the host was meanwhile.
const KNOWN_FOR: TimeDelta = TimeDelta::minutes(10);

/// The columns behind the key, in the order of [`Sums::values`].
const COLUMNS: [&str; 6 + BUCKETS] = [
    "polls", "ready_ms", "known_ms", "failures", "local_ms", "boots", "b0", "b1", "b2", "b3", "b4", "b5",
    "b6", "b7", "b8", "b9", "b10", "b11", "b12", "b13", "b14", "b15",
];
/// So many of them are always sent.
const ALWAYS: usize = 3;
const NAMED: usize = 6;

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sums {
    polls: i64,
    failures: i64,
    ready_ms: i64,
    known_ms: i64,
    local_ms: i64,
    boots: i64,
    buckets: [i64; BUCKETS],
}

/// What a batch adds, by the place of the host in it and the hour.
#[derive(Debug, Default)]
pub(crate) struct Hours(BTreeMap<(usize, NaiveDateTime), Sums>);

impl Hours {
    fn at(&mut self, host: usize, at: NaiveDateTime) -> &mut Sums {
        self.0.entry((host, hour_of(at))).or_default()
    }

    pub(crate) fn heard(&mut self, host: usize, at: NaiveDateTime, took: Duration) {
        let sums = self.at(host, at);
        sums.polls += 1;
        sums.buckets[bucket_of(took)] += 1;
    }

    pub(crate) fn failed(&mut self, host: usize, at: NaiveDateTime) {
        let sums = self.at(host, at);
        sums.polls += 1;
        sums.failures += 1;
    }

    pub(crate) fn booted(&mut self, host: usize, at: NaiveDateTime) {
        self.at(host, at).boots += 1;
    }

    /// The time from the last report to this one, of which the last one is believed.
    pub(crate) fn known(&mut self, host: usize, last: &StateRow, at: NaiveDateTime) {
        let Some(mut from) = last.last_success_at.filter(|from| at - *from <= KNOWN_FOR) else {
            return;
        };
        while from < at {
            let until = (hour_of(from) + TimeDelta::hours(1)).min(at);
            let ms = (until - from).num_milliseconds();
            let sums = self.at(host, from);
            sums.known_ms += if last.ready.is_some() { ms } else { 0 };
            sums.ready_ms += if last.ready == Some(true) { ms } else { 0 };
            sums.local_ms += if last.local_mode == Some(true) { ms } else { 0 };
            from = until;
        }
    }

    /// The columns to which anything is added, and a row of these for each host and hour; `name` gives the host's.
    ///
    /// Of the columns that are mostly zero there are few sets, so that the database meets few different texts: all of the
    /// rare ones or none, and the buckets from the first to the last that has anything.
    pub(crate) fn rows<'a>(self, name: impl Fn(usize) -> &'a str) -> (Vec<&'static str>, Vec<Vec<Value>>) {
        let rows: Vec<_> = self
            .0
            .into_iter()
            .map(|(key, sums)| (key, sums.values()))
            .collect();
        let is_used = |column: usize| rows.iter().any(|(_, sums)| sums[column] != 0);
        let named = match (ALWAYS..NAMED).any(is_used) {
            true => 0..NAMED,
            false => 0..ALWAYS,
        };
        let first = (NAMED..COLUMNS.len()).find(|bucket| is_used(*bucket));
        let last = (NAMED..COLUMNS.len()).rfind(|bucket| is_used(*bucket));
        let buckets = first.unwrap_or(NAMED)..last.map_or(NAMED, |last| last + 1);
        let row = |((host, hour), sums): &((usize, NaiveDateTime), [i64; COLUMNS.len()])| {
            let sums = sums[named.clone()].iter().chain(&sums[buckets.clone()]);
            let key: [Value; 2] = [name(*host).into(), (*hour).into()];
            key.into_iter().chain(sums.map(|sum| Value::from(*sum))).collect()
        };
        let columns = [&COLUMNS[named.clone()], &COLUMNS[buckets.clone()]].concat();
        (columns, rows.iter().map(row).collect())
    }
}

impl Sums {
    fn values(self) -> [i64; COLUMNS.len()] {
        let mut values = [0; COLUMNS.len()];
        values[..NAMED].copy_from_slice(&[
            self.polls,
            self.ready_ms,
            self.known_ms,
            self.failures,
            self.local_ms,
            self.boots,
        ]);
        values[NAMED..].copy_from_slice(&self.buckets);
        values
    }
}

fn hour_of(at: NaiveDateTime) -> NaiveDateTime {
    at.date().and_hms_opt(at.hour(), 0, 0).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    #[test]
    fn time_is_cut_at_the_full_hour_and_none_is_counted_twice() {
        let last = StateRow {
            last_success_at: Some(at("2026-03-01T08:57:00")),
            ready: Some(true),
            local_mode: Some(false),
            ..StateRow::default()
        };
        let mut hours = Hours::default();
        hours.known(0, &last, at("2026-03-01T09:02:30"));
        let found: Vec<_> = hours
            .0
            .values()
            .map(|sums| (sums.known_ms, sums.ready_ms, sums.local_ms))
            .collect();
        assert_eq!(found, [(180_000, 180_000, 0), (150_000, 150_000, 0)]);
    }

    #[test]
    fn only_sums_of_something_are_sent() {
        let sent = |hours: Hours| {
            let (columns, rows) = hours.rows(|_| "a");
            assert!(rows.iter().all(|row| row.len() == columns.len() + 2), "{rows:?}");
            (columns, rows)
        };
        let when = at("2026-03-01T09:02:30");
        let mut hours = Hours::default();
        hours.heard(0, when, Duration::from_millis(12));
        hours.heard(1, when, Duration::from_millis(40));
        let (columns, rows) = sent(hours);
        assert_eq!(columns, ["polls", "ready_ms", "known_ms", "b2", "b3", "b4"]);
        let sums: Vec<&[Value]> = rows.iter().map(|row| &row[2..]).collect();
        let expected = [[1, 0, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1]].map(|row: [i64; 6]| row.map(Value::from));
        assert_eq!(sums, [&expected[0][..], &expected[1]]);
        let mut hours = Hours::default();
        hours.failed(0, when);
        assert_eq!(sent(hours).0, COLUMNS[..NAMED]);
        for bucket in 0..BUCKETS {
            assert_eq!(COLUMNS[NAMED + bucket], format!("b{bucket}"));
        }
    }

    #[test]
    fn a_long_silence_is_not_known() {
        let last = StateRow {
            last_success_at: Some(at("2026-03-01T08:00:00")),
            ready: Some(true),
            ..StateRow::default()
        };
        let mut hours = Hours::default();
        hours.known(0, &last, at("2026-03-01T08:10:01"));
        // A clock that was put back.
        hours.known(0, &last, at("2026-03-01T07:10:01"));
        assert!(hours.0.is_empty());
    }
}

//! Heartbeats: how often hosts are polled, how many at once, what is done with the sick ones, and what is stored.

use std::time::Duration;

use heartbeat_store::{Keep, RetentionSettings};
use lab_model::is_false_word;

use super::source::Source;
use super::{seconds, small};

/// Heartbeat polling.
#[derive(Debug, Clone)]
pub struct PollSettings {
    /// Whether hosts are polled at all.
    pub enabled: bool,
    /// Time between two polls of one host.
    pub interval: Duration,
    /// Most hosts polled at the same moment.
    pub max_in_flight: usize,
    /// How many percent of those may be polls that take longer than a second.
    pub slow_share: u32,
    /// When one poll of one host is given up.
    pub deadline: Duration,
    /// After so many failures in a row of the kind that a host makes which is off or hangs, it is only probed.
    pub breaker_failures: u32,
    /// Probes of a host that hangs get the whole deadline again at the latest after so many intervals.
    pub breaker_longest: u32,
    /// Most hosts that are watched instead of polled, in this process.
    pub max_watches: usize,
}

/// What is stored of heartbeats, and for how long.
#[derive(Debug, Clone)]
pub struct HeartbeatSettings {
    /// Which reports become rows.
    pub keep: Keep,
    /// How old events may be that are stored of a host that was never seen before; zero: none.
    pub look_back: Duration,
    /// Whether old rows are removed.
    pub retention_enabled: bool,
    /// When they are old.
    pub retention: RetentionSettings,
}

pub(super) fn poll(source: &mut Source) -> PollSettings {
    let word = source.text("OPS_POLL_ENABLED").unwrap_or_default();
    let enabled = word.eq_ignore_ascii_case("true");
    if !enabled && !word.is_empty() && !is_false_word(&word) {
        source.warnings.push(format!(
            "OPS_POLL_ENABLED: {word:?} does not turn polling on, only the word true does"
        ));
    }
    PollSettings {
        enabled,
        interval: seconds(source, "OPS_POLL_INTERVAL", 1..=86_400, 60),
        max_in_flight: many(source, "OPS_POLL_MAX_IN_FLIGHT", 1..=20_000, 800),
        slow_share: small(source.number("OPS_POLL_SLOW_SHARE", 10..=90, 50)),
        deadline: seconds(source, "OPS_POLL_DEADLINE", 1..=600, 40),
        breaker_failures: small(source.number("OPS_POLL_BREAKER_FAILURES", 1..=100, 3)),
        breaker_longest: small(source.number("OPS_POLL_BREAKER_LONGEST", 1..=1000, 16)),
        max_watches: many(source, "OPS_POLL_MAX_WATCHES", 0..=5000, 200),
    }
}

pub(super) fn heartbeats(source: &mut Source) -> HeartbeatSettings {
    let days = |source: &mut Source, name, default| small(source.number(name, 1..=3650, default));
    let full_days = days(source, "OPS_HEARTBEAT_KEEP_DAYS", 14);
    let hourly_days = days(source, "OPS_HEARTBEAT_HOURLY_DAYS", 90.max(u64::from(full_days)));
    if hourly_days < full_days {
        let message = format!("must be at least OPS_HEARTBEAT_KEEP_DAYS, {full_days}, is {hourly_days}");
        source.problem("OPS_HEARTBEAT_HOURLY_DAYS", message);
    }
    let changes = Keep::Changes {
        keep_alive: seconds(
            source,
            "OPS_HEARTBEAT_KEEP_ALIVE",
            1..=86_400,
            Keep::KEEP_ALIVE.as_secs(),
        ),
    };
    HeartbeatSettings {
        keep: source.choice(
            "OPS_HEARTBEAT_STORE",
            &[("changes", changes), ("every", Keep::Every)],
            changes,
        ),
        look_back: seconds(source, "OPS_EVENTS_LOOK_BACK", 0..=31_536_000, 0),
        retention_enabled: source
            .non_empty("OPS_RETENTION")
            .is_none_or(|word| !is_false_word(&word)),
        retention: RetentionSettings {
            full_days,
            hourly_days,
            event_days: days(source, "OPS_EVENTS_KEEP_DAYS", 365),
            change_days: days(source, "OPS_CHANGES_KEEP_DAYS", 365),
            hour_days: days(source, "OPS_HOURS_KEEP_DAYS", 730),
            ..RetentionSettings::default()
        },
    }
}

fn many(source: &mut Source, name: &str, range: std::ops::RangeInclusive<u64>, default: u64) -> usize {
    usize::try_from(source.number(name, range, default)).unwrap_or(usize::MAX)
}

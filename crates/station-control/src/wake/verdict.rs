//! Judging what a host says while it is being woken. Pure: values in, verdict out.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use labstation_commands::Heartbeat;

use crate::observe::Facts;

/// Stamps are whole seconds, and boot times are measured through an answer: instants this close are the same.
const SLACK: TimeDelta = TimeDelta::seconds(2);
/// Source: Windows, a NetBIOS name has at most 15 characters.
const NETBIOS_LENGTH: usize = 15;

/// Whether two names are the same computer's: without regard to case, one perhaps cut to a NetBIOS name.
pub(super) fn same_computer(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim().to_lowercase(), b.trim().to_lowercase());
    let cut = |short: &str, long: &str| short.chars().count() == NETBIOS_LENGTH && long.starts_with(short);
    a == b || cut(&a, &b) || cut(&b, &a)
}

/// What the boot time says about a host that was down when the wake began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boot {
    /// It booted after it was seen down: a fresh start.
    Fresh {
        /// By our clock.
        at: DateTime<Utc>,
    },
    /// It booted before: it resumed from hibernation or by fast start-up, or only its port was closed.
    Resumed {
        /// By our clock.
        booted_at: DateTime<Utc>,
    },
    /// The host does not say.
    Unknown,
}

impl Boot {
    /// `down_at`: when the host was seen down, before any packet.
    pub(super) fn judge(facts: Option<&Facts>, down_at: DateTime<Utc>) -> Self {
        match facts.map(|facts| facts.booted_at) {
            None => Self::Unknown,
            Some(at) if at + SLACK >= down_at => Self::Fresh { at },
            Some(booted_at) => Self::Resumed { booted_at },
        }
    }

    /// A heartbeat from before this instant (by our clock) says nothing about the host as it is now.
    pub(super) fn heartbeat_not_before(self, down_at: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Fresh { at } => at,
            Self::Resumed { .. } | Self::Unknown => down_at,
        }
    }
}

/// Whether a heartbeat is about the host as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Freshness {
    /// It is.
    Fresh,
    /// It is not, for this reason.
    Stale(String),
}

/// Judges the age of a heartbeat by the station's own clock, whose lead over ours was measured just before.
/// `not_before`: by our clock, where the host was seen down in between.
pub(super) fn freshness(
    reported_at: Option<DateTime<Utc>>,
    clock_ahead: TimeDelta,
    now: DateTime<Utc>,
    max_age: Duration,
    not_before: Option<DateTime<Utc>>,
) -> Freshness {
    let Some(reported_at) = reported_at.map(|stamp| stamp - clock_ahead) else {
        return Freshness::Stale("the heartbeat has no readable stamp".into());
    };
    if not_before.is_some_and(|earliest| reported_at + SLACK < earliest) {
        return Freshness::Stale("the heartbeat is the one from before the start".into());
    }
    let age = now - reported_at;
    match age.to_std() {
        Ok(age) if age > max_age => {
            let (age, most) = (age.as_secs(), max_age.as_secs());
            Freshness::Stale(format!("the heartbeat is {age} s old, more than {most} s"))
        }
        Ok(_) => Freshness::Fresh,
        // Written after the clock was measured: as fresh as can be. Further ahead, it is nobody's now.
        Err(_) if -age <= SLACK + SLACK => Freshness::Fresh,
        Err(_) => Freshness::Stale(format!(
            "the heartbeat lies {} s in the future",
            -age.num_seconds()
        )),
    }
}

/// Why a host that is still up is probably on its way down; `None` when nothing says so.
///
/// The order must be younger than `window`: one that was never carried out is forgotten then.
pub(super) fn going_down(
    heartbeat: &Heartbeat,
    booted_at: Option<DateTime<Utc>>,
    clock_ahead: TimeDelta,
    now: DateTime<Utc>,
    window: Duration,
) -> Option<String> {
    let power = heartbeat.last_power_action.as_ref();
    let power = power.and_then(|action| {
        action
            .at
            .map(|at| (at, action.mode.as_deref().unwrap_or("power action")))
    });
    let release = heartbeat
        .last_release
        .as_ref()
        .filter(|release| release.reboot_requested == Some(true));
    let reboot = release.and_then(|release| release.at.map(|at| (at, "reboot")));
    let recent = |stamp: DateTime<Utc>| {
        let at = stamp - clock_ahead;
        let since_boot = booted_at.is_none_or(|boot| at + SLACK >= boot);
        let age = now - at;
        (since_boot && age >= -SLACK && age.to_std().unwrap_or_default() <= window).then_some(at)
    };
    let order = [power, reboot]
        .into_iter()
        .flatten()
        .find_map(|(stamp, what)| Some((recent(stamp)?, what)));
    order.map(|(at, what)| format!("a {what} was ordered at {}", at.format("%H:%M:%S UTC")))
}

#[cfg(test)]
mod tests;

//! The verdict on a host: what its heartbeats, and the polls that failed, say of it. Pure: the same for whoever shows
//! it and for whoever decides by it.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::states::HostState;

/// A report counts as fresh for so many polls.
const FRESH_POLLS: u32 = 2;
/// After so many polls without a report the host is silent.
const SILENT_POLLS: u32 = 5;
/// What a poll may take, beyond its place in the interval.
const SLACK: Duration = Duration::from_secs(15);
/// A station writes once a minute: a report this old when it was read comes from a station that no longer writes, or
/// from a wrong clock.
const OLDEST_REPORT: TimeDelta = TimeDelta::minutes(3);
/// For so long a host is left alone that refused the password.
const LEFT_ALONE: Duration = Duration::from_secs(15 * 60);
/// A host that was ordered down may be heard of for so long.
const GOING_DOWN: TimeDelta = TimeDelta::minutes(3);

/// Codes of failed polls after which the host may as well be off: nothing answered at its address.
const UNREACHABLE: [&str; 3] = ["connect", "connection_lost", "deadline_expired"];

/// In which state a host is, as far as its heartbeats tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It reported lately.
    Fresh,
    /// Its last report is getting old, or was old when it was read.
    Stale,
    /// Nothing was heard of it for several polls, and it should be on.
    Silent,
    /// Nothing answers, as is to be expected: it was taken down, is under maintenance, or nobody needs it.
    ExpectedOff,
    /// It never reported.
    NeverSeen,
}

impl Verdict {
    /// All of them, the good ones first.
    pub const ALL: [Self; 5] = [
        Self::Fresh,
        Self::Stale,
        Self::Silent,
        Self::ExpectedOff,
        Self::NeverSeen,
    ];

    /// The word as shown.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Silent => "silent",
            Self::ExpectedOff => "expected-off",
            Self::NeverSeen => "never-seen",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == word)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether somebody needs the host on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// It has to be on, or is never taken down.
    On,
    /// We took it down at this instant, by our clock, and nobody needs it.
    TakenDown(DateTime<Utc>),
    /// Nobody needs it, so it may be off. `Some`: until this instant.
    Nobody(Option<DateTime<Utc>>),
    /// It is under maintenance, so it may be off. `Some`: until this instant.
    Maintained(Option<DateTime<Utc>>),
}

/// The verdict, and what it follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    /// The verdict.
    pub verdict: Verdict,
    /// One line for the operator.
    pub reason: String,
    /// How long ago the host last reported, by our clock; `None` when it never did.
    pub age: Option<Duration>,
}

/// Judges one host by its row, the time between two polls, and whether somebody needs it on.
///
/// Fresh: the last report came within two intervals (and 15 s) and was at most three minutes old when it was read.
/// Silent: none for five intervals. Between them it is stale. Where nothing answers and nobody needs the host on, it is
/// expected to be off instead; an answer that is a refusal comes from a host that is on.
#[must_use]
pub fn judge(state: Option<&HostState>, interval: Duration, now: DateTime<Utc>, need: Need) -> Liveness {
    let Some(state) = state else {
        return Liveness {
            verdict: Verdict::NeverSeen,
            reason: "it was never polled".to_owned(),
            age: None,
        };
    };
    let Some(seen_at) = state.last_success_at else {
        return Liveness {
            verdict: Verdict::NeverSeen,
            reason: format!("it never reported; {}", failed_polls(state)),
            age: None,
        };
    };
    // A stamp to come is another worker's clock, or ours before it was put back. How many polls failed since tells the
    // age then.
    let failed = interval.saturating_mul(state.failures_in_row);
    let age = (now - seen_at).to_std().unwrap_or(failed);
    let (verdict, reason) = by_age(state, age, interval, now, need);
    Liveness {
        verdict,
        reason,
        age: Some(age),
    }
}

fn by_age(
    state: &HostState,
    age: Duration,
    interval: Duration,
    now: DateTime<Utc>,
    need: Need,
) -> (Verdict, String) {
    let fresh = interval.saturating_mul(FRESH_POLLS).saturating_add(SLACK);
    let silent = interval.saturating_mul(SILENT_POLLS).saturating_add(SLACK);
    let heard = format!("it reported {} ago", words(age));
    if is_unreachable(state)
        && let Some(why) = may_be_off(state, need)
    {
        return (Verdict::ExpectedOff, format!("{why}; {heard}"));
    }
    if age <= fresh {
        return match state.clock_offset {
            Some(offset) if offset < -OLDEST_REPORT => {
                let behind = words((-offset).to_std().unwrap_or_default());
                let why = "the station no longer writes, or its clock is wrong";
                (
                    Verdict::Stale,
                    format!("its report was {behind} old when it was read: {why}"),
                )
            }
            _ if state.failures_in_row > 0 => (Verdict::Fresh, format!("{heard}; {}", failed_polls(state))),
            _ => (Verdict::Fresh, heard),
        };
    }
    let verdict = if age <= silent {
        Verdict::Stale
    } else {
        Verdict::Silent
    };
    let asked = state
        .last_attempt_at
        .and_then(|at| (now - at).to_std().ok())
        .unwrap_or_default();
    let expected = if is_refused(state) {
        fresh.saturating_add(LEFT_ALONE)
    } else {
        fresh
    };
    let why = if asked > expected {
        format!(
            "nobody has polled it for {}: is a scheduler running?",
            words(asked)
        )
    } else {
        failed_polls(state)
    };
    (verdict, format!("{heard}; {why}"))
}

fn is_unreachable(state: &HostState) -> bool {
    let code = state.last_failure.as_ref().map(|failure| failure.code.as_str());
    // A look at a host that may be off is no failure.
    code.is_some_and(|code| code == "off" || (state.failures_in_row > 0 && UNREACHABLE.contains(&code)))
}

fn is_refused(state: &HostState) -> bool {
    let code = state.last_failure.as_ref().map(|failure| failure.code.as_str());
    code == Some("unauthorized")
}

fn may_be_off(state: &HostState, need: Need) -> Option<String> {
    let stamp = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    match need {
        Need::On => None,
        // What reported later was switched on again by somebody.
        Need::TakenDown(at) if state.last_success_at.is_some_and(|seen| seen > at + GOING_DOWN) => None,
        Need::TakenDown(at) => Some(format!("it was taken down at {}", stamp(at))),
        Need::Nobody(Some(until)) => Some(format!("nobody needs it before {}", stamp(until))),
        Need::Nobody(None) => Some("nobody needs it".to_owned()),
        Need::Maintained(Some(until)) => Some(format!("it is under maintenance until {}", stamp(until))),
        Need::Maintained(None) => Some("it is under maintenance".to_owned()),
    }
}

fn failed_polls(state: &HostState) -> String {
    let count = state.failures_in_row;
    match (&state.last_failure, count) {
        (_, 0) => "no poll has failed since".to_owned(),
        (Some(failure), 1) => format!("the last poll failed: {}", line(&failure.text)),
        (Some(failure), _) => format!("{count} polls in a row failed: {}", line(&failure.text)),
        (None, _) => format!("{count} polls in a row failed"),
    }
}

/// At most one line of moderate length.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first.chars().take(200).collect()
}

/// A length of time in the one unit that matters.
fn words(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..120 => format!("{secs} s"),
        120..7_200 => format!("{} min", secs / 60),
        7_200..172_800 => format!("{} h", secs / 3_600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests;

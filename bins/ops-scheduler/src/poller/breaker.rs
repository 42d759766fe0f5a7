//! How a host is looked at next, by what became of the last looks. Pure.
//!
//! A host that answers is polled. One that failed so many times in a row as if it were off or hung is only probed, once
//! in each interval, so that its return is noticed within one:
//!
//! * *unreachable*: by a bare TCP connect, which costs three packets; when that is answered, a poll follows at once;
//! * *hanging*, which takes connections and never answers: by a poll with a short deadline, so that a thousand of them do
//!   not hold a thousand places for the whole of it. Only now and then, and ever more seldom, it gets the whole deadline: a
//!   host that is merely very slow is found again too.
//!
//! A host that nobody needs on and that does not answer is *off*: looked at by a TCP connect, and no failure.

use std::time::Duration;

use super::rest;

/// The shortest and the longest deadline of a probe.
const PROBE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];

/// When it opens, and what its probes may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct BreakerSettings {
    /// After so many failures in a row.
    pub(super) failures: u32,
    /// Between two whole deadlines for a host that hangs, in intervals.
    pub(super) longest: u32,
    /// The whole deadline.
    pub(super) deadline: Duration,
}

/// What became of a look, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It reported.
    Heard,
    /// It answered, but not with a report.
    Answered,
    /// It refused the account.
    Refused,
    /// Nothing takes a connection.
    Unreachable,
    /// Something took the connection, and then nothing came.
    Mute,
}

impl Seen {
    /// What the code of a failed poll says.
    pub(super) fn of_failure(code: &str) -> Self {
        match code {
            "unauthorized" => Self::Refused,
            "connect" | "resolve" => Self::Unreachable,
            "connection_lost" | "deadline_expired" => Self::Mute,
            _ => Self::Answered,
        }
    }
}

/// How to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Read the heartbeat, within this time.
    Poll(Duration),
    /// Connect, and read the heartbeat within this time if that is answered.
    Knock(Duration),
}

/// What is known of one host, for the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is polled.
    Closed,
    /// Nothing takes a connection.
    Unreachable,
    /// It takes connections and does not answer.
    Hanging,
    /// It refused the account.
    Refused,
    /// It is off, and may be.
    Off,
}

impl Standing {
    pub(super) const ALL: [Self; 5] = [
        Self::Closed,
        Self::Unreachable,
        Self::Hanging,
        Self::Refused,
        Self::Off,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Unreachable => "unreachable",
            Self::Hanging => "hanging",
            Self::Refused => "refused",
            Self::Off => "off",
        }
    }
}

/// What a look came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The host is well, or answers at least.
    Fine,
    /// It failed.
    Failure,
    /// It is off, as may be.
    Off,
}

/// The memory of one host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Breaker {
    /// In a row, of the kinds that open it.
    failures: u32,
    /// How it failed last; `None` after an answer.
    last: Option<Seen>,
    /// Probes until the next whole deadline, and how many that was the last time.
    left: u32,
    gap: u32,
    off: bool,
}

impl Breaker {
    /// What another worker, or this one before it was started anew, left in the database.
    pub(super) fn recalled(failures: u32, code: &str) -> Self {
        let seen = Seen::of_failure(code);
        if failures == 0 || matches!(seen, Seen::Heard | Seen::Answered) {
            return Self::default();
        }
        Self {
            failures,
            last: Some(seen),
            ..Self::default()
        }
    }

    /// How to look at the host now; `may_be_off`: nobody needs it.
    pub(super) fn look(&self, may_be_off: bool, settings: &BreakerSettings) -> Look {
        let whole = settings.deadline;
        let short = (whole / 4).clamp(PROBE[0], PROBE[1]).min(whole);
        let is_open = self.failures >= settings.failures;
        match self.last {
            Some(Seen::Mute) if is_open && self.left > 0 => Look::Poll(short),
            Some(Seen::Unreachable) if is_open || may_be_off => Look::Knock(whole),
            Some(Seen::Mute) if may_be_off && self.failures == 0 => Look::Knock(whole),
            _ => Look::Poll(whole),
        }
    }

    /// Takes what was seen. `dice` is from 0 to 1: whole deadlines of hosts that began to hang together drift apart.
    pub(super) fn take(
        &mut self,
        seen: Seen,
        may_be_off: bool,
        settings: &BreakerSettings,
        dice: f64,
    ) -> Verdict {
        match seen {
            Seen::Heard | Seen::Answered => {
                *self = Self::default();
                return if seen == Seen::Heard {
                    Verdict::Fine
                } else {
                    Verdict::Failure
                };
            }
            Seen::Refused => {
                *self = Self {
                    last: Some(seen),
                    ..Self::default()
                };
                return Verdict::Failure;
            }
            Seen::Unreachable | Seen::Mute => {}
        }
        // One that was heard a moment ago and now falls silent is going down, as it may; the next look tells.
        let is_going_down = self.last.is_none() && self.failures == 0;
        if may_be_off && (seen == Seen::Unreachable || is_going_down) {
            *self = Self {
                last: Some(seen),
                off: true,
                ..Self::default()
            };
            return Verdict::Off;
        }
        self.off = false;
        self.failures = self.failures.saturating_add(1);
        if seen == Seen::Mute && self.failures >= settings.failures {
            self.count_down(settings, dice);
        }
        self.last = Some(seen);
        Verdict::Failure
    }

    /// One probe less, or the next row of them, twice as long.
    fn count_down(&mut self, settings: &BreakerSettings, dice: f64) {
        if self.left > 0 && self.last == Some(Seen::Mute) {
            self.left -= 1;
            return;
        }
        self.gap = (self.gap * 2).clamp(2, settings.longest.max(2));
        let jittered = f64::from(self.gap) * (0.5 + dice.clamp(0.0, 1.0) / 2.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 1 to a thousand"
        )]
        let left = jittered.round().max(1.0) as u32;
        self.left = left.min(settings.longest.saturating_sub(1));
    }

    /// When to look again: after how long, and at the latest.
    pub(super) fn wait(&self, interval: Duration) -> (Duration, Option<Duration>) {
        match self.last {
            Some(Seen::Refused) => (rest::whole(interval), None),
            Some(_) => (interval, Some(interval)),
            None => (interval, None),
        }
    }

    pub(super) fn standing(&self, settings: &BreakerSettings) -> Standing {
        match self.last {
            Some(Seen::Refused) => Standing::Refused,
            _ if self.off => Standing::Off,
            Some(Seen::Unreachable) if self.failures >= settings.failures => Standing::Unreachable,
            Some(Seen::Mute) if self.failures >= settings.failures => Standing::Hanging,
            _ => Standing::Closed,
        }
    }
}

#[cfg(test)]
mod tests;

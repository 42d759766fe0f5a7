//! How long a host is left alone that refused the password, and what ends that sooner. Pure.
//!
//! Hosts lock accounts out that keep trying, so a refused password is offered again only after [`AFTER_REFUSAL`]. Where it
//! may be another one by now, it is tried sooner:
//!
//! * the entry in the catalog, or the stored credential that it names, was changed: at once, each time;
//! * the scheduler was started, or took the host over from another: it cannot tell whether the password is still the
//!   same, since nothing of it is kept. It tries *once more*, and says so in the recorded reason. A host that refused that
//!   too rests for the whole time, whatever is started meanwhile;
//! * somebody else's poll was let in: once in [`AFTER_REFUSAL`], for that may have been with another account.
//!
//! So a scheduler that is started again and again offers one password twice in [`AFTER_REFUSAL`], eight times an hour; and
//! not at all when it lives for less than [`GRACE`].

use std::time::Duration;

use chrono::{DateTime, Utc};
use heartbeat_store::HostState;
use lab_model::CredentialRef;
use tokio::time::Instant;

/// A refused password is offered again only after this time.
pub(super) const AFTER_REFUSAL: Duration = Duration::from_secs(15 * 60);
/// After a start a host that refused is tried at the earliest after half an interval, but no more than this: a process
/// that is started every few seconds offers no password.
const GRACE: Duration = Duration::from_secs(30);
/// For so long after a stored credential was changed the older one may still be used: it is kept for a moment.
const KEPT: Duration = Duration::from_secs(6);
/// With this begins the recorded reason of a refusal before the rest was over.
const ONCE_MORE: &str = "tried once more: ";

/// The code of a refusal.
const REFUSED: &str = "unauthorized";

/// The text that is recorded of a refusal at a try before the rest was over.
pub(super) fn once_more(text: &str) -> String {
    format!("{ONCE_MORE}{text}")
}

/// How long the host is left alone, all in all.
pub(super) fn whole(interval: Duration) -> Duration {
    interval.max(AFTER_REFUSAL)
}

/// What is remembered of refusals, of one host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusals {
    /// The last one; `None` when there was none since the host answered otherwise, or when it is not to be waited for.
    resting: Option<Resting>,
    /// Whether the next try is one before the rest was over.
    is_once_more: bool,
    /// When somebody else's success last ended a rest.
    let_in_at: Option<Instant>,
    /// The last change of the stored credential that ended a rest.
    changed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy)]
struct Resting {
    since: Instant,
    /// The same by the clock that reports are stamped with.
    at: DateTime<Utc>,
}

/// When a stored credential was changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changed {
    /// By the database's clock.
    pub(super) at: DateTime<Utc>,
    /// How long ago.
    pub(super) age: Duration,
}

impl Refusals {
    /// Takes a refusal; gives whether it came of a try before the rest was over.
    pub(super) fn refused(&mut self, now: Instant, at: DateTime<Utc>) -> bool {
        self.resting = Some(Resting { since: now, at });
        std::mem::take(&mut self.is_once_more)
    }

    /// The host answered otherwise than with a refusal.
    pub(super) fn let_in(&mut self) {
        *self = Self::default();
    }

    /// The host is being looked at.
    pub(super) fn looked_at(&mut self) {
        self.resting = None;
    }

    pub(super) fn is_resting(&self) -> bool {
        self.resting.is_some()
    }

    /// Takes on what the database knows; gives after how long the host may be looked at, where it must be left alone.
    pub(super) fn recall(
        &mut self,
        state: &HostState,
        interval: Duration,
        now: Instant,
        at: DateTime<Utc>,
    ) -> Option<Duration> {
        let failure = state
            .last_failure
            .as_ref()
            .filter(|failure| failure.code == REFUSED)?;
        // A time to come is another machine's clock: then it was refused now, rather than never.
        let last = state.last_attempt_at.unwrap_or(at).min(at);
        let since = (at - last).to_std().unwrap_or_default();
        let left = whole(interval).saturating_sub(since);
        let soon = GRACE.min(interval / 2);
        self.is_once_more = left > soon && !failure.text.starts_with(ONCE_MORE);
        self.resting = Some(Resting {
            since: now.checked_sub(since).unwrap_or(now),
            at: last,
        });
        Some(if self.is_once_more { soon } else { left.max(soon) })
    }

    /// Whether somebody else's poll ends the rest.
    pub(super) fn ends_by_others(&mut self, state: &HostState, now: Instant) -> bool {
        let Some(resting) = self.resting else {
            return false;
        };
        let is_let_in =
            state.last_failure.is_none() && state.last_success_at.is_some_and(|at| at > resting.at);
        let is_first = self
            .let_in_at
            .is_none_or(|at| now.saturating_duration_since(at) >= AFTER_REFUSAL);
        if is_let_in && is_first {
            self.let_in_at = Some(now);
            self.is_once_more = true;
            self.resting = None;
        }
        is_let_in && is_first
    }

    /// Whether a change of the stored credential ends the rest, and after how long the new one is used: one after the
    /// refusal, each change once.
    pub(super) fn ends_by_change(&mut self, changed: Changed, now: Instant) -> Option<Duration> {
        let ago = now.saturating_duration_since(self.resting?.since);
        if changed.age >= ago + KEPT || self.changed_at == Some(changed.at) {
            return None;
        }
        self.changed_at = Some(changed.at);
        self.is_once_more = false;
        self.resting = None;
        Some(KEPT.saturating_sub(changed.age))
    }
}

/// What the database says while hosts rest.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// By name.
    pub(super) states: Vec<HostState>,
    pub(super) credentials: Vec<(CredentialRef, Changed)>,
}

impl Since {
    /// Of a host, by its compared name.
    pub(super) fn state(&self, host: &str) -> Option<&HostState> {
        let at = self
            .states
            .binary_search_by(|state| state.host.as_str().cmp(host));
        self.states.get(at.ok()?)
    }
}

#[cfg(test)]
mod tests;

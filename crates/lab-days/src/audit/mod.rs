//! The auditor: reads what really happened and what is stored in the end, and says which promise was broken.
//!
//! It asks the engine nothing. Each promise is one function, named after it.

mod hosts;
mod journal;
mod ownership;
mod people;
mod record;
mod reservations;

use std::fmt;
use std::time::Duration;

pub(crate) use record::{Left, Record};

/// A promise of the design.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// Every confirmed reservation is carried through, or needs attention with a reason; so is every order.
    NothingLost,
    /// Reservations that begin after faults ceased, and all of a calm day, are active at their start.
    OnTime,
    /// A claim has one owner at a time, its token grows, and only its owner writes.
    OneOwner,
    /// No command leaves for a host after somebody else got a newer token for it.
    NoneAfterNewerToken,
    /// A fenced step is sent at most once per operation, a read-back one again only after a look.
    AtMostOnce,
    /// A host is woken or prepared only for a live reservation or a named caller.
    NobodyWokenForNothing,
    /// Nothing is begun on a host at which an engineer works.
    NothingInMaintenance,
    /// An active reservation's host was up and prepared when it became active.
    ReadyMeansReady,
    /// Nobody is logged out in their own time.
    NobodyLoggedOut,
    /// Tries, rows and flows stay bounded.
    Bounded,
    /// Intent before effect, outcome after it, and no try is left open.
    Journalled,
}

impl Invariant {
    /// Every promise that is audited.
    pub const ALL: [Self; 11] = [
        Self::NothingLost,
        Self::OnTime,
        Self::OneOwner,
        Self::NoneAfterNewerToken,
        Self::AtMostOnce,
        Self::NobodyWokenForNothing,
        Self::NothingInMaintenance,
        Self::ReadyMeansReady,
        Self::NobodyLoggedOut,
        Self::Bounded,
        Self::Journalled,
    ];
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise.
    pub invariant: Invariant,
    /// When, since the day began.
    pub at: Duration,
    /// What happened, for people.
    pub told: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (
            self.at.as_secs() / 3600,
            self.at.as_secs() / 60 % 60,
            self.at.as_secs() % 60,
        );
        write!(
            f,
            "{:?} at {hours:02}:{minutes:02}:{seconds:02}: {}",
            self.invariant, self.told
        )
    }
}

/// Audits a day; gives every broken promise, earliest first.
pub(crate) fn audit(day: &Record) -> Vec<Violation> {
    let promises: [fn(&Record) -> Vec<Violation>; 12] = [
        reservations::no_reservation_is_lost,
        reservations::no_order_is_lost,
        reservations::quiet_reservations_are_on_time,
        ownership::a_host_has_one_owner_and_only_the_owner_writes,
        ownership::nothing_is_sent_under_an_older_token,
        hosts::fenced_steps_are_sent_at_most_once,
        hosts::nobody_is_woken_for_nothing,
        hosts::nothing_is_dispatched_in_maintenance,
        people::active_means_ready,
        people::nobody_is_logged_out_in_their_own_time,
        journal::intent_comes_before_effect_and_outcome_after,
        journal::everything_stays_bounded,
    ];
    let mut broken: Vec<Violation> = promises.iter().flat_map(|promise| promise(day)).collect();
    broken.sort_by_key(|violation| violation.at);
    broken
}

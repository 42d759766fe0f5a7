//! Rules that look at two reservations of one host at once.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::foreign::is_under_way;
use super::{View, has_status, is_final, is_open, prepare_began_at, state_of};
use crate::instant::later;
use crate::operation::Step;
use crate::plan::facts::Presence;
use crate::ports::WorkItem;
use crate::reservation::ReservationStatus;
use crate::state::State;

/// The order in which reservations of a host are served: by start, then by id.
pub(super) fn order(a: &WorkItem, b: &WorkItem) -> Ordering {
    let key = |item: &WorkItem| (item.reservation.starts_at, item.reservation.id.clone());
    key(a).cmp(&key(b))
}

/// Whether the host was (perhaps) handed over for this reservation and was not released since.
pub(super) fn has_host(item: &WorkItem) -> bool {
    let taken =
        has_status(item, ReservationStatus::Active) || prepare_began_at(item).is_some() || is_under_way(item);
    taken && !is_released(item)
}

/// Whether nothing of this reservation is left on the host: at most its power action is to come.
pub(super) fn is_released(item: &WorkItem) -> bool {
    has_status(item, ReservationStatus::Completed) || is_final(item.end.as_ref()) || is_idle(item)
}

/// Whether it is started once more, as if nothing had been done for it: nothing of it is left on any host.
pub(super) fn begins_anew(item: &WorkItem) -> bool {
    item.is_confirmed_again() && !is_open(item.end.as_ref()) && !has_host(item)
}

/// Whether all that is left of this reservation is the power action.
pub(super) fn is_idle(item: &WorkItem) -> bool {
    state_of(item.end.as_ref()).is_some_and(|end| !end.is_final() && end.step() == Some(Step::Power))
}

/// Whether nobody has a right to the lab by this reservation: a host that was prepared for it is released at once.
pub(super) fn is_called_off(item: &WorkItem) -> bool {
    has_status(item, ReservationStatus::Cancelled) || has_status(item, ReservationStatus::Pending)
}

impl View<'_> {
    /// The other reservations of the host; none where the host only stands for a missing one.
    pub(super) fn others<'a>(&'a self, item: &'a WorkItem) -> impl Iterator<Item = &'a WorkItem> {
        let shared = self.facts.presence != Presence::Nowhere;
        self.items
            .iter()
            .copied()
            .filter(move |other| shared && other.reservation.id != item.reservation.id)
    }

    /// The reservation for which `item` has to wait before anything may be done to the host for it.
    ///
    /// A release that was tried and failed holds nobody up once its own reservation is over: the prepare that
    /// follows clears the host as well, and a host that was down is woken by it. Nor does a reservation that was
    /// moved into the future after its host was prepared: it is prepared again when it is due. What a newer release has
    /// open keeps the host until the window of its release is over.
    pub(super) fn occupant<'a>(&'a self, item: &'a WorkItem) -> Option<&'a WorkItem> {
        self.others(item).find(|other| {
            let release_failed = matches!(state_of(other.end.as_ref()), Some(State::Waiting { .. }));
            let over = self.is_over(&other.reservation) || is_called_off(other);
            let moved = has_status(other, ReservationStatus::Confirmed)
                && self.start_due_at(&other.reservation) > self.now;
            let lets_go = moved || (over && release_failed) || self.is_given_up(other);
            has_host(other) && !lets_go
        })
    }

    /// When an active reservation's host is released: after the delay, or at its end when somebody waits.
    pub(super) fn release_due_at(&self, item: &WorkItem) -> DateTime<Utc> {
        let end = item.reservation.ends_at;
        let delayed = later(end, self.settings.end_delay);
        let wanted = self
            .others(item)
            .any(|other| self.will_start(other) && self.start_due_at(&other.reservation) < delayed);
        if wanted { end } else { delayed }
    }

    /// Whether a later reservation has got the host already, so that a release would log out its student.
    pub(super) fn is_superseded(&self, item: &WorkItem) -> bool {
        self.others(item).any(|other| {
            let later = match (prepare_began_at(item), prepare_began_at(other)) {
                (Some(ours), Some(theirs)) => theirs > ours,
                _ => other.reservation.starts_at > item.reservation.starts_at,
            };
            later && has_host(other)
        })
    }

    /// Whether there is time for a reboot before the next reservation wants the host.
    pub(super) fn has_time_for_reboot(&self, item: &WorkItem) -> bool {
        let busy_until = later(later(self.now, self.facts.lead), self.settings.reboot_margin);
        !self.others(item).any(|other| {
            let comes = self.will_start(other) || has_status(other, ReservationStatus::Active);
            comes && !self.is_over(&other.reservation) && other.reservation.starts_at <= busy_until
        })
    }

    pub(super) fn will_start(&self, item: &WorkItem) -> bool {
        has_status(item, ReservationStatus::Confirmed)
            && !self.is_over(&item.reservation)
            && (!is_final(item.start.as_ref()) || item.is_confirmed_again())
    }
}

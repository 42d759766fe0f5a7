//! Reservations to which a newer release sees. Nothing is done for them here; that they have their host counts.

use super::{Need, View, state_of};
use crate::explain::{Wait, WaitCode};
use crate::instant::later;
use crate::operation::Operation;
use crate::ports::WorkItem;
use crate::reservation::ReservationStatus;
use crate::state::{JOURNAL_VERSION, State};

/// What is said of one to which a newer release sees; `None` for all others, which the rules are asked about.
pub(super) fn need(item: &WorkItem) -> Option<Need> {
    let version = item.foreign_version()?;
    if item.reservation.status == ReservationStatus::Completed && !is_under_way(item) {
        return Some(Need::Nothing);
    }
    let detail = format!(
        "a newer release sees to it: it wrote its operation (journal version {version}, this release knows \
         {JOURNAL_VERSION})"
    );
    Some(Need::Wait(Wait::open(WaitCode::NewerRelease, detail)))
}

/// Whether a newer release has something open for it, which may be anything.
pub(super) fn is_under_way(item: &WorkItem) -> bool {
    let open = |operation: &Option<Operation>| {
        matches!(
            state_of(operation.as_ref()),
            Some(State::Foreign { over: false, .. })
        )
    };
    open(&item.start) || open(&item.end)
}

impl View<'_> {
    /// Whether whatever a newer release had open for it is so old that the host is not kept for it any longer: that
    /// release may have been taken back for good.
    pub(super) fn is_given_up(&self, item: &WorkItem) -> bool {
        let until = later(item.reservation.ends_at, self.settings.release_window);
        item.foreign_version().is_some() && until <= self.now
    }
}

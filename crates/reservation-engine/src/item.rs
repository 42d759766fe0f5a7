//! What of a reservation's operations counts.

use chrono::{DateTime, Utc};

use crate::operation::{Operation, OperationKind};
use crate::ports::WorkItem;
use crate::reservation::{Reservation, ReservationStatus};
use crate::state::State;

impl WorkItem {
    /// Puts a reservation together with its operations, which come in any order; callers' are left out.
    ///
    /// The newest start counts. It takes over what an earlier one prepared, if that was not released; an end that is
    /// over belongs to the earlier one and does not count any more.
    #[must_use]
    pub fn new(reservation: Reservation, operations: impl IntoIterator<Item = Operation>) -> Self {
        let mut item = Self {
            reservation,
            start: None,
            end: None,
        };
        let mut operations: Vec<_> = operations.into_iter().collect();
        operations.sort_unstable_by_key(|operation| operation.id);
        for operation in operations {
            match operation.kind {
                OperationKind::Start => item.start_with(operation),
                OperationKind::End => item.end = Some(operation),
                OperationKind::ManualStart | OperationKind::ManualEnd => {}
            }
        }
        item
    }

    fn start_with(&mut self, mut start: Operation) {
        start.prepare_began_at = start.prepare_began_at.or(self.left_prepared());
        self.end = self.end.take().filter(|end| !end.state.is_final());
        self.start = Some(start);
    }

    /// When the newest start began to prepare a host that was not released since.
    pub(crate) fn left_prepared(&self) -> Option<DateTime<Utc>> {
        let released = self.end.as_ref().is_some_and(|end| end.state.is_final());
        let start = self.start.as_ref().filter(|_| !released);
        start.and_then(|start| start.prepare_began_at)
    }

    /// The version in which a newer release wrote one of its operations, if one did: then nothing is done for it here.
    pub(crate) fn foreign_version(&self) -> Option<u32> {
        self.start
            .iter()
            .chain(&self.end)
            .find_map(|operation| match operation.state {
                State::Foreign { version, .. } => Some(version),
                _ => None,
            })
    }

    /// Picks what [`Store::work`](crate::Store::work) gives: what may need something before `horizon`, earliest first,
    /// at most `limit`.
    #[must_use]
    pub fn pick(all: impl Iterator<Item = Self>, horizon: DateTime<Utc>, limit: u32) -> Vec<Self> {
        let mut items: Vec<_> = all.filter(|item| item.may_need_something(horizon)).collect();
        items.sort_by(|a, b| {
            let key = |item: &Self| (item.reservation.starts_at, item.reservation.id.clone());
            key(a).cmp(&key(b))
        });
        items.truncate(limit as usize);
        items
    }

    /// Whether it may need something before `horizon`, as [`Store::work`](crate::Store::work) has it.
    fn may_need_something(&self, horizon: DateTime<Utc>) -> bool {
        let settled =
            |operation: &Option<Operation>| operation.as_ref().is_some_and(|row| row.state.is_final());
        let open =
            |operation: &Option<Operation>| operation.as_ref().is_some_and(|row| !row.state.is_final());
        let start = self.start.as_ref();
        let prepared = start.is_some_and(|start| start.prepare_began_at.is_some());
        let to_release = prepared && !settled(&self.end);
        let by_status = match self.reservation.status {
            ReservationStatus::Confirmed => {
                let over = !self.is_confirmed_again() && settled(&self.start);
                self.reservation.starts_at < horizon && (!over || to_release)
            }
            ReservationStatus::Active => !settled(&self.end),
            ReservationStatus::Cancelled | ReservationStatus::Pending => to_release,
            ReservationStatus::Completed => false,
        };
        by_status || open(&self.start) || open(&self.end)
    }

    /// Whether it was called off after its start was opened, and then confirmed again: it is started once more.
    pub(crate) fn is_confirmed_again(&self) -> bool {
        let done = |start: &Operation| matches!(start.state, State::Done { .. });
        self.reservation.status == ReservationStatus::Confirmed && self.start.as_ref().is_some_and(done)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use lab_model::{HostName, LabId, ReservationId};

    use super::*;
    use crate::operation::{OperationId, Step};

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn operation(id: i64, kind: OperationKind, prepared: Option<i64>, state: State) -> Operation {
        Operation {
            id: OperationId(id),
            kind,
            reservation: ReservationId::parse("a").unwrap(),
            lab: None,
            host: HostName::parse("ws").unwrap(),
            state,
            prepare_began_at: prepared.map(at),
            due_at: at(0),
            created_at: at(0),
        }
    }

    #[test]
    fn a_later_start_takes_over_what_was_prepared_until_that_was_released() {
        use OperationKind::{End, Start};
        let done = || State::Done {
            at: at(3),
            note: None,
        };
        let item = |operations: Vec<Operation>| {
            let reservation = Reservation {
                id: ReservationId::parse("a").unwrap(),
                lab: LabId::new("7"),
                status: ReservationStatus::Confirmed,
                starts_at: at(10),
                ends_at: at(20),
            };
            let item = WorkItem::new(reservation, operations);
            let start = item.start.as_ref().unwrap();
            let end = item.end.as_ref().map(|end| end.id.0);
            (start.id.0, start.prepare_began_at, end)
        };
        let first = operation(1, Start, Some(2), done());
        let released = operation(2, End, None, done());
        let releasing = operation(2, End, None, State::first(Step::Release));
        let again = operation(3, Start, None, State::first(Step::Wake));
        let left = operation(4, End, None, done());
        let pair = |end: &Operation| vec![first.clone(), end.clone(), again.clone()];
        assert_eq!(
            item(vec![first.clone(), released.clone()]),
            (1, Some(at(2)), Some(2))
        );
        assert_eq!(item(vec![first.clone(), again.clone()]), (3, Some(at(2)), None));
        assert_eq!(item(pair(&released)), (3, None, None));
        assert_eq!(item(pair(&releasing)), (3, Some(at(2)), Some(2)));
        assert_eq!(item([pair(&released), vec![left]].concat()), (3, None, Some(4)));
    }
}

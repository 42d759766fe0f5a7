//! What the store in memory keeps.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};

use super::memory::Attempt;
use crate::claims::Claims;
use crate::maintenance::Maintained;
use crate::operation::{Operation, OperationId, OperationKind};
use crate::ports::{Claim, FencingToken, HistoryRow, StoreError, Timings, WorkItem};
use crate::reservation::Reservation;
use crate::state::State;

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) reservations: HashMap<ReservationId, Reservation>,
    /// The row with id `n` stands at `n - 1`.
    pub(super) operations: Vec<Row>,
    by_key: HashMap<String, OperationId>,
    by_reservation: HashMap<ReservationId, Vec<OperationId>>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) history: Vec<HistoryRow>,
    pub(super) claims: Claims,
    pub(super) timings: HashMap<HostName, Timings>,
    pub(super) maintenance: Maintained,
    #[cfg(feature = "mutants")]
    pub(super) mutant: Option<crate::Mutant>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) operation: Operation,
    /// Under which token it was last written.
    pub(super) token: FencingToken,
    /// When it was last written.
    pub(super) written_at: DateTime<Utc>,
    /// Where its tries stand in `attempts`.
    pub(super) attempts: Vec<usize>,
}

impl Rows {
    pub(super) fn item(&self, reservation: &Reservation) -> WorkItem {
        let ids = self.by_reservation.get(&reservation.id);
        let rows = ids.into_iter().flatten().filter_map(|id| self.row(*id));
        WorkItem::new(reservation.clone(), rows.map(|row| row.operation.clone()))
    }

    pub(super) fn by_key(&self, key: &str) -> Option<&Operation> {
        let row = self.row(*self.by_key.get(key)?)?;
        Some(&row.operation)
    }

    pub(super) fn next_id(&self) -> OperationId {
        let rows = i64::try_from(self.operations.len()).unwrap_or(i64::MAX);
        OperationId(rows.saturating_add(1))
    }

    pub(super) fn add(&mut self, key: String, operation: Operation, token: FencingToken, now: DateTime<Utc>) {
        let id = operation.id;
        self.by_key.insert(key, id);
        self.by_reservation
            .entry(operation.reservation.clone())
            .or_default()
            .push(id);
        self.operations.push(Row {
            operation,
            token,
            written_at: now,
            attempts: Vec::new(),
        });
    }

    /// Refuses a write under a claim that is not the newest, or whose lease is over.
    pub(super) fn check(&self, claim: &Claim) -> Result<(), StoreError> {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(crate::Mutant::SkipTokenCheck) {
            return Ok(());
        }
        self.claims.check(claim)
    }

    /// Saves an operation; says whether that changed anything.
    pub(super) fn save(
        &mut self,
        claim: &Claim,
        operation: &Operation,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let row = index(operation.id.0).and_then(|index| self.operations.get_mut(index));
        // The claim speaks for one host only.
        let row = row.filter(|row| row.operation.host == claim.host);
        let row =
            row.ok_or_else(|| refused("save an operation that was never opened, or that is another host's"))?;
        let changed = row.operation != *operation;
        row.operation = operation.clone();
        row.token = claim.token;
        row.written_at = now;
        Ok(changed)
    }

    pub(super) fn row(&self, id: OperationId) -> Option<&Row> {
        self.operations.get(index(id.0)?)
    }

    pub(super) fn row_mut(&mut self, id: OperationId) -> Option<&mut Row> {
        self.operations.get_mut(index(id.0)?)
    }

    /// Whether an operation of the scheduler is open since long ago for a reservation that is gone.
    pub(super) fn is_orphaned(&self, row: &Row, before: DateTime<Utc>) -> bool {
        let scheduled = matches!(row.operation.kind, OperationKind::Start | OperationKind::End);
        let gone = !self.reservations.contains_key(&row.operation.reservation);
        let open = !matches!(row.operation.state, State::Foreign { .. }) && !row.operation.state.is_final();
        scheduled && gone && open && row.written_at < before
    }

    /// Whether a caller's operation was left behind by whoever ran it.
    pub(super) fn is_abandoned(&self, row: &Row) -> bool {
        let manual = matches!(
            row.operation.kind,
            OperationKind::ManualStart | OperationKind::ManualEnd
        );
        let held = self.claims.held(&row.operation.host);
        let held = held.is_some_and(|(claim, _)| claim.token == row.token);
        manual && !row.operation.state.is_final() && !held
    }
}

/// Where the row with this id stands.
pub(super) fn index(id: i64) -> Option<usize> {
    usize::try_from(id.checked_sub(1)?).ok()
}

pub(super) fn refused(what: &'static str) -> StoreError {
    StoreError::Refused {
        action: what,
        source: "no such row".into(),
    }
}

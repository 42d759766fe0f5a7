//! What the store in memory keeps.

use std::collections::HashMap;

use lab_model::{HostName, ReservationId};
use tokio::time::Instant;

use super::memory::Attempt;
use crate::operation::{Operation, OperationId, OperationKind};
use crate::ports::{Claim, FencingToken, HistoryRow, StoreError, Timings, WorkItem};
use crate::reservation::Reservation;

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) reservations: HashMap<ReservationId, Reservation>,
    /// The row with id `n` stands at `n - 1`.
    pub(super) operations: Vec<Row>,
    by_key: HashMap<String, OperationId>,
    by_reservation: HashMap<ReservationId, Vec<OperationId>>,
    pub(super) attempts: Vec<Attempt>,
    pub(super) history: Vec<HistoryRow>,
    pub(super) leases: HashMap<HostName, Lease>,
    pub(super) timings: HashMap<HostName, Timings>,
    #[cfg(feature = "mutants")]
    pub(super) mutant: Option<crate::Mutant>,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) operation: Operation,
    /// Under which token it was last written.
    pub(super) token: FencingToken,
    /// Where its tries stand in `attempts`.
    pub(super) attempts: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Lease {
    pub(super) holder: String,
    pub(super) token: i64,
    pub(super) until: Instant,
}

impl Rows {
    pub(super) fn item(&self, reservation: &Reservation) -> WorkItem {
        let ids = self.by_reservation.get(&reservation.id);
        let find = |kind| {
            ids.into_iter()
                .flatten()
                .filter_map(|id| self.row(*id))
                .find(|row| row.operation.kind == kind)
                .map(|row| row.operation.clone())
        };
        WorkItem {
            reservation: reservation.clone(),
            start: find(OperationKind::Start),
            end: find(OperationKind::End),
        }
    }

    pub(super) fn by_key(&self, key: &str) -> Option<&Operation> {
        let row = self.row(*self.by_key.get(key)?)?;
        Some(&row.operation)
    }

    pub(super) fn next_id(&self) -> OperationId {
        let rows = i64::try_from(self.operations.len()).unwrap_or(i64::MAX);
        OperationId(rows.saturating_add(1))
    }

    pub(super) fn add(&mut self, key: String, operation: Operation, token: FencingToken) {
        let id = operation.id;
        self.by_key.insert(key, id);
        self.by_reservation
            .entry(operation.reservation.clone())
            .or_default()
            .push(id);
        self.operations.push(Row {
            operation,
            token,
            attempts: Vec::new(),
        });
    }

    /// Refuses a write under a claim that is not the newest, or whose lease is over.
    pub(super) fn check(&self, claim: &Claim) -> Result<(), StoreError> {
        #[cfg(feature = "mutants")]
        if self.mutant == Some(crate::Mutant::SkipTokenCheck) {
            return Ok(());
        }
        if self.is_current(claim) {
            Ok(())
        } else {
            Err(StoreError::Fenced {
                host: claim.host.clone(),
            })
        }
    }

    fn is_current(&self, claim: &Claim) -> bool {
        let lease = self.leases.get(&claim.host);
        lease.is_some_and(|lease| lease.is(claim) && lease.lasts())
    }

    /// Saves an operation; says whether that changed anything.
    pub(super) fn save(&mut self, claim: &Claim, operation: &Operation) -> Result<bool, StoreError> {
        let row = index(operation.id.0).and_then(|index| self.operations.get_mut(index));
        // The claim speaks for one host only.
        let row = row.filter(|row| row.operation.host == claim.host);
        let row =
            row.ok_or_else(|| refused("save an operation that was never opened, or that is another host's"))?;
        let changed = row.operation != *operation;
        row.operation = operation.clone();
        row.token = claim.token;
        Ok(changed)
    }

    pub(super) fn row(&self, id: OperationId) -> Option<&Row> {
        self.operations.get(index(id.0)?)
    }

    pub(super) fn row_mut(&mut self, id: OperationId) -> Option<&mut Row> {
        self.operations.get_mut(index(id.0)?)
    }

    /// Whether a caller's operation was left behind by whoever ran it.
    pub(super) fn is_abandoned(&self, row: &Row) -> bool {
        let manual = matches!(
            row.operation.kind,
            OperationKind::ManualStart | OperationKind::ManualEnd
        );
        let lease = self.leases.get(&row.operation.host);
        let held = lease.is_some_and(|lease| lease.token == row.token.0 && lease.lasts());
        manual && !row.operation.state.is_final() && !held
    }
}

impl Lease {
    pub(super) fn is(&self, claim: &Claim) -> bool {
        self.token == claim.token.0 && self.holder == claim.holder
    }

    pub(super) fn lasts(&self) -> bool {
        Instant::now() < self.until
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

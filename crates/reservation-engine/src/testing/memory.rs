//! The store port over a mutex, with fencing as strict as a database's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use tokio::time::Instant;

use crate::operation::{NewOperation, Operation, OperationId, OperationKind, Step};
use crate::ports::{
    AttemptId, AttemptOutcome, Claim, ClaimInfo, FencingToken, HistoryRow, Store, StoreError, WorkItem,
};
use crate::reason::Reason;
use crate::reservation::{Reservation, ReservationStatus};

/// Keeps everything in memory; clones share it. Leases are judged by tokio's clock, which tests can pause.
///
/// It honours every promise of [`Store`], fencing included, so that what runs on it runs on a database.
/// It never forgets a row, so a long-lived program should use a store with retention.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    rows: Arc<Mutex<Rows>>,
}

/// One try of a step as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Of which operation.
    pub operation: OperationId,
    /// Which step.
    pub step: Step,
    /// Which try.
    pub attempt: u32,
    /// Under which token it was begun.
    pub token: FencingToken,
    /// How it ended, once that is known.
    pub outcome: Option<AttemptOutcome>,
}

#[derive(Debug, Default)]
struct Rows {
    reservations: HashMap<ReservationId, Reservation>,
    operations: Vec<(String, Operation)>,
    attempts: Vec<Attempt>,
    history: Vec<HistoryRow>,
    leases: HashMap<HostName, Lease>,
}

#[derive(Debug)]
struct Lease {
    holder: String,
    token: i64,
    until: Instant,
}

impl MemoryStore {
    /// Adds a reservation, or replaces the one with its id.
    pub fn put(&self, reservation: Reservation) {
        self.rows()
            .reservations
            .insert(reservation.id.clone(), reservation);
    }

    /// Changes a reservation as its owner would: cancelled, moved, extended.
    pub fn change(&self, id: &ReservationId, change: impl FnOnce(&mut Reservation)) {
        if let Some(reservation) = self.rows().reservations.get_mut(id) {
            change(reservation);
        }
    }

    /// Gives a reservation as it is now.
    #[must_use]
    pub fn find_reservation(&self, id: &ReservationId) -> Option<Reservation> {
        self.rows().reservations.get(id).cloned()
    }

    /// Gives all operations, oldest first.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.rows()
            .operations
            .iter()
            .map(|(_, operation)| operation.clone())
            .collect()
    }

    /// Gives all tries of steps, oldest first.
    #[must_use]
    pub fn attempts(&self) -> Vec<Attempt> {
        self.rows().attempts.clone()
    }

    /// Gives all rows of the history, oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryRow> {
        self.rows().history.clone()
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows {
    fn item(&self, reservation: &Reservation) -> WorkItem {
        let find = |kind| {
            let mut operations = self.operations.iter().map(|(_, operation)| operation);
            operations
                .find(|operation| operation.kind == kind && operation.reservation == reservation.id)
                .cloned()
        };
        WorkItem {
            reservation: reservation.clone(),
            start: find(OperationKind::Start),
            end: find(OperationKind::End),
        }
    }

    /// Refuses a write under a claim that is not the newest, or whose lease is over.
    fn check(&self, claim: &Claim) -> Result<(), StoreError> {
        let current = self
            .leases
            .get(&claim.host)
            .is_some_and(|lease| lease.is(claim) && lease.lasts());
        if current {
            Ok(())
        } else {
            Err(StoreError::Fenced {
                host: claim.host.clone(),
            })
        }
    }

    fn save(&mut self, operation: &Operation) -> Result<(), StoreError> {
        let stored = self
            .operations
            .iter_mut()
            .find(|(_, stored)| stored.id == operation.id);
        let (_, stored) = stored.ok_or_else(|| refused("save an operation that was never opened"))?;
        *stored = operation.clone();
        Ok(())
    }
}

impl Lease {
    fn is(&self, claim: &Claim) -> bool {
        self.token == claim.token.0 && self.holder == claim.holder
    }

    fn lasts(&self) -> bool {
        Instant::now() < self.until
    }
}

fn refused(what: &'static str) -> StoreError {
    StoreError::Refused {
        action: what,
        source: "no such row".into(),
    }
}

/// Whether a reservation may need something before `horizon`. See [`Store::work`].
fn may_need_something(item: &WorkItem, horizon: DateTime<Utc>) -> bool {
    let settled = |operation: &Option<Operation>| operation.as_ref().is_some_and(|row| row.state.is_final());
    let open = |operation: &Option<Operation>| operation.as_ref().is_some_and(|row| !row.state.is_final());
    let prepared = item
        .start
        .as_ref()
        .is_some_and(|start| start.prepare_began_at.is_some());
    let to_release = prepared && !settled(&item.end);
    let by_status = match item.reservation.status {
        ReservationStatus::Confirmed => {
            item.reservation.starts_at < horizon && (!settled(&item.start) || to_release)
        }
        ReservationStatus::Active => !settled(&item.end),
        ReservationStatus::Cancelled => to_release,
        ReservationStatus::Pending | ReservationStatus::Completed => false,
    };
    by_status || open(&item.start) || open(&item.end)
}

impl Store for MemoryStore {
    async fn work(
        &self,
        _: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        let rows = self.rows();
        let items = rows
            .reservations
            .values()
            .map(|reservation| rows.item(reservation));
        let mut items: Vec<WorkItem> = items.filter(|item| may_need_something(item, horizon)).collect();
        items.sort_by(|a, b| {
            let key = |item: &WorkItem| (item.reservation.starts_at, item.reservation.id.clone());
            key(a).cmp(&key(b))
        });
        items.truncate(limit as usize);
        Ok(items)
    }

    async fn find_work(&self, reservation: &ReservationId) -> Result<Option<WorkItem>, StoreError> {
        let rows = self.rows();
        Ok(rows
            .reservations
            .get(reservation)
            .map(|reservation| rows.item(reservation)))
    }

    async fn change_status(
        &self,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        _: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let Some(row) = rows
            .reservations
            .get_mut(reservation)
            .filter(|row| row.status == from)
        else {
            return Ok(false);
        };
        row.status = to;
        Ok(true)
    }

    async fn claim_host(
        &self,
        host: &HostName,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let mut rows = self.rows();
        let former = rows.leases.get(host);
        if former.is_some_and(Lease::lasts) {
            return Ok(None);
        }
        let token = former.map_or(0, |lease| lease.token) + 1;
        let until = Instant::now() + lease;
        rows.leases.insert(
            host.clone(),
            Lease {
                holder: holder.to_owned(),
                token,
                until,
            },
        );
        Ok(Some(Claim {
            host: host.clone(),
            holder: holder.to_owned(),
            token: FencingToken(token),
        }))
    }

    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        let held = rows
            .leases
            .get_mut(&claim.host)
            .filter(|held| held.is(claim) && held.lasts());
        let Some(held) = held else { return Ok(false) };
        held.until = Instant::now() + lease;
        Ok(true)
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut rows = self.rows();
        if let Some(held) = rows.leases.get_mut(&claim.host).filter(|held| held.is(claim)) {
            held.until = Instant::now();
        }
        Ok(())
    }

    async fn find_claim(&self, host: &HostName) -> Result<Option<ClaimInfo>, StoreError> {
        let rows = self.rows();
        let lease = rows.leases.get(host).filter(|lease| lease.lasts());
        Ok(lease.map(|lease| ClaimInfo {
            holder: lease.holder.clone(),
            left: lease.until.saturating_duration_since(Instant::now()),
        }))
    }

    async fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        if let Some((_, stored)) = rows.operations.iter().find(|(key, _)| *key == new.key) {
            return Ok(stored.clone());
        }
        let id = i64::try_from(rows.operations.len())
            .unwrap_or(i64::MAX)
            .saturating_add(1);
        let operation = Operation {
            id: OperationId(id),
            kind: new.kind,
            reservation: new.reservation,
            lab: new.lab,
            host: new.host,
            state: new.state,
            prepare_began_at: None,
            due_at: new.due_at,
            created_at: now,
        };
        rows.operations.push((new.key, operation.clone()));
        Ok(operation)
    }

    async fn begin_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        step: Step,
        attempt: u32,
        _: DateTime<Utc>,
    ) -> Result<AttemptId, StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        rows.save(operation)?;
        rows.attempts.push(Attempt {
            operation: operation.id,
            step,
            attempt,
            token: claim.token,
            outcome: None,
        });
        Ok(AttemptId(i64::try_from(rows.attempts.len()).unwrap_or(i64::MAX)))
    }

    async fn finish_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        attempt: AttemptId,
        outcome: AttemptOutcome,
        _: Option<&Reason>,
        history: &[HistoryRow],
        _: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        rows.save(operation)?;
        let index =
            usize::try_from(attempt.0 - 1).map_err(|_| refused("finish a try that was never begun"))?;
        let row = rows
            .attempts
            .get_mut(index)
            .ok_or_else(|| refused("finish a try that was never begun"))?;
        row.outcome = Some(outcome);
        rows.history.extend_from_slice(history);
        Ok(())
    }

    async fn save_operation(
        &self,
        claim: &Claim,
        operation: &Operation,
        history: &[HistoryRow],
        _: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        rows.save(operation)?;
        rows.history.extend_from_slice(history);
        Ok(())
    }

    async fn add_history(&self, row: &HistoryRow) -> Result<(), StoreError> {
        self.rows().history.push(row.clone());
        Ok(())
    }
}

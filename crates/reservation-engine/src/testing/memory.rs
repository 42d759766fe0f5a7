//! The store port over a mutex, with fencing as strict as a database's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};

use super::rows::{Rows, index, refused};
use crate::maintenance::Maintenance;
use crate::operation::{NewOperation, Operation, OperationId, Step};
use crate::ports::{
    AttemptEnd, AttemptId, AttemptOutcome, Claim, ClaimInfo, FencingToken, HistoryRow, Store, StoreError,
    TimingSample, Timings, WorkItem,
};
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

impl MemoryStore {
    /// Makes a store with a fault planted in it.
    #[cfg(feature = "mutants")]
    #[must_use]
    pub fn with_mutant(mutant: crate::Mutant) -> Self {
        let store = Self::default();
        store.rows().mutant = Some(mutant);
        store
    }

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

    /// Takes a reservation out, as another service may do; its operations stay.
    pub fn remove(&self, id: &ReservationId) {
        self.rows().reservations.remove(id);
    }

    /// Gives all operations, oldest first.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        let rows = self.rows();
        rows.operations.iter().map(|row| row.operation.clone()).collect()
    }

    /// Puts a host into maintenance, or takes it out.
    pub fn set_maintenance(&self, host: &HostName, maintenance: Option<Maintenance>) {
        let mut rows = self.rows();
        match maintenance {
            Some(one) => rows.maintenance.insert(host.clone(), one),
            None => rows.maintenance.remove(host),
        };
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
        Ok(WorkItem::pick(items, horizon, limit))
    }

    async fn find_work(&self, reservations: &[ReservationId]) -> Result<Vec<WorkItem>, StoreError> {
        let rows = self.rows();
        let found = reservations.iter().filter_map(|id| rows.reservations.get(id));
        Ok(found.map(|reservation| rows.item(reservation)).collect())
    }

    async fn change_status(
        &self,
        claim: &Claim,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        _: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        let row = rows.reservations.get_mut(reservation);
        let Some(row) = row.filter(|row| row.status == from) else {
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
        Ok(self.rows().claims.take(host, holder, lease))
    }

    async fn find_own_claim(&self, host: &HostName, holder: &str) -> Result<Option<Claim>, StoreError> {
        Ok(self.rows().claims.find_own(host, holder))
    }

    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Result<bool, StoreError> {
        Ok(self.rows().claims.renew(claim, lease))
    }

    async fn find_claim(&self, host: &HostName) -> Result<Option<ClaimInfo>, StoreError> {
        Ok(self.rows().claims.find(host))
    }

    async fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        if let Some(stored) = rows.by_key(&new.key) {
            return Ok(stored.clone());
        }
        let key = new.key.clone();
        let operation = new.open(rows.next_id(), now);
        rows.add(key, operation.clone(), claim.token, now);
        Ok(operation)
    }

    async fn begin_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        step: Step,
        attempt: u32,
        now: DateTime<Utc>,
    ) -> Result<AttemptId, StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        rows.save(claim, operation, now)?;
        let row = Attempt {
            operation: operation.id,
            step,
            attempt,
            token: claim.token,
            outcome: None,
        };
        let known = rows.row(operation.id).into_iter().flat_map(|row| &row.attempts);
        let same = |old: &Attempt| (old.step, old.attempt, old.token) == (step, attempt, claim.token);
        let known = known
            .copied()
            .find(|index| rows.attempts.get(*index).is_some_and(same));
        let index = known.unwrap_or_else(|| {
            let index = rows.attempts.len();
            rows.attempts.push(row);
            if let Some(row) = rows.row_mut(operation.id) {
                row.attempts.push(index);
            }
            index
        });
        Ok(AttemptId(
            i64::try_from(index).unwrap_or(i64::MAX).saturating_add(1),
        ))
    }

    async fn finish_attempt(&self, claim: &Claim, end: AttemptEnd<'_>) -> Result<(), StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        let row = index(end.attempt.0).and_then(|index| rows.attempts.get_mut(index));
        let row = row.filter(|row| row.operation == end.operation.id);
        let row = row.ok_or_else(|| refused("finish a try that was never begun"))?;
        if row.outcome.is_some() {
            return Ok(());
        }
        row.outcome = Some(end.outcome);
        rows.save(claim, end.operation, end.now)?;
        rows.history.extend_from_slice(end.history);
        Ok(())
    }

    async fn save_operation(
        &self,
        claim: &Claim,
        operation: &Operation,
        history: &[HistoryRow],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut rows = self.rows();
        // Asked again after a hand-over whose answer was lost.
        let done = rows
            .row(operation.id)
            .is_some_and(|row| row.operation == *operation);
        rows.check(claim)?;
        if !done && rows.save(claim, operation, now)? {
            rows.history.extend_from_slice(history);
        }
        Ok(())
    }

    async fn abandoned_manual(&self, limit: u32) -> Result<Vec<Operation>, StoreError> {
        let rows = self.rows();
        let left = rows.operations.iter().filter(|row| rows.is_abandoned(row));
        Ok(left
            .take(limit as usize)
            .map(|row| row.operation.clone())
            .collect())
    }

    async fn orphaned(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Operation>, StoreError> {
        let rows = self.rows();
        let left = rows.operations.iter().filter(|row| rows.is_orphaned(row, before));
        Ok(left
            .take(limit as usize)
            .map(|row| row.operation.clone())
            .collect())
    }

    async fn maintenance(&self, now: DateTime<Utc>) -> Result<HashMap<HostName, Maintenance>, StoreError> {
        let rows = self.rows();
        let known = rows.maintenance.iter().filter(|(_, one)| one.is_in_force(now));
        Ok(known.map(|(host, one)| (host.clone(), one.clone())).collect())
    }

    async fn host_timings(&self, hosts: &[HostName]) -> Result<HashMap<HostName, Timings>, StoreError> {
        let rows = self.rows();
        let known = hosts.iter().filter_map(|host| rows.timings.get_key_value(host));
        Ok(known
            .map(|(host, timings)| (host.clone(), timings.clone()))
            .collect())
    }

    async fn record_timing(
        &self,
        claim: &Claim,
        samples: &[TimingSample],
        lead: Duration,
        _: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let mut rows = self.rows();
        rows.check(claim)?;
        let timings = rows.timings.entry(claim.host.clone()).or_default();
        for sample in samples {
            timings.add(*sample);
        }
        timings.lead = Some(lead);
        Ok(())
    }
}

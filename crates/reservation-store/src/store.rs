//! The engine's port, call by call.

use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use reservation_engine::{
    AttemptId, AttemptOutcome, Claim, ClaimInfo, HistoryRow, NewOperation, Operation, Reason,
    ReservationStatus, Step, Store, StoreError, WorkItem,
};
use store_support::{Database, DbErr, transaction};

use crate::fault::Fault;
use crate::operations::{self, Ending};
use crate::{claims, history, reservations, work};

/// Reservations, claims and the journal in a database that was migrated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReservationStore {
    pub(crate) db: Database,
}

impl ReservationStore {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self { db }
    }
}

impl Store for ReservationStore {
    async fn work(
        &self,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        work::read(&self.db, now, horizon, limit)
            .await
            .map_err(Fault::during("read the reservations due"))
    }

    async fn find_work(&self, reservation: &ReservationId) -> Result<Option<WorkItem>, StoreError> {
        work::find(&self.db, reservation)
            .await
            .map_err(Fault::during("read a reservation"))
    }

    async fn change_status(
        &self,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        reservations::change_status(&self.db, reservation, from, to, now)
            .await
            .map_err(|error| Fault::during("change a reservation's status")(error.into()))
    }

    async fn claim_host(
        &self,
        host: &HostName,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        claims::take(&self.db, host, holder, lease)
            .await
            .map_err(Fault::during("claim a host"))
    }

    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Result<bool, StoreError> {
        claims::renew(&self.db, claim, lease)
            .await
            .map_err(Fault::during("renew a claim"))
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        claims::give_back(&self.db, claim)
            .await
            .map_err(Fault::during("give a claim back"))
    }

    async fn find_claim(&self, host: &HostName) -> Result<Option<ClaimInfo>, StoreError> {
        claims::find(&self.db, host)
            .await
            .map_err(Fault::during("read a claim"))
    }

    async fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        operations::open(&self.db, claim, &new, now)
            .await
            .map_err(Fault::during("open an operation"))
    }

    async fn begin_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        step: Step,
        attempt: u32,
        now: DateTime<Utc>,
    ) -> Result<AttemptId, StoreError> {
        operations::begin_attempt(&self.db, claim, operation, step, attempt, now)
            .await
            .map_err(Fault::during("commit the intent of a step"))
    }

    async fn finish_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        attempt: AttemptId,
        outcome: AttemptOutcome,
        reason: Option<&Reason>,
        history: &[HistoryRow],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let ending = Some(Ending {
            attempt,
            outcome,
            reason,
        });
        operations::finish(&self.db, claim, operation, ending, history, now)
            .await
            .map_err(Fault::during("commit the outcome of a step"))
    }

    async fn save_operation(
        &self,
        claim: &Claim,
        operation: &Operation,
        history: &[HistoryRow],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        operations::finish(&self.db, claim, operation, None, history, now)
            .await
            .map_err(Fault::during("save an operation"))
    }

    async fn add_history(&self, row: &HistoryRow) -> Result<(), StoreError> {
        let added: Result<(), DbErr> = transaction(&self.db, |tx| {
            Box::pin(async move { history::add(&**tx, std::slice::from_ref(row)).await })
        })
        .await;
        added.map_err(|error| Fault::during("add to the history")(error.into()))
    }
}

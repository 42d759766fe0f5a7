//! The engine's port, call by call.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use reservation_engine::{
    AttemptEnd, AttemptId, Claim, ClaimInfo, HistoryRow, Maintenance, NewOperation, Operation,
    ReservationStatus, Step, Store, StoreError, TimingSample, Timings, WorkItem,
};
use store_support::Database;

use crate::fault::Fault;
use crate::work::Reader;
use crate::{abandoned, claims, maintenance, operations, orphans, reservations, timings};

/// Reservations, claims and the journal in a database that was migrated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReservationStore {
    pub(crate) db: Database,
    pub(crate) reader: Reader,
}

impl ReservationStore {
    /// Works on a database that was migrated.
    #[must_use]
    pub fn new(db: Database) -> Self {
        Self {
            db,
            reader: Reader::default(),
        }
    }
}

impl Store for ReservationStore {
    async fn work(
        &self,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        self.reader
            .read(&self.db, now, horizon, limit)
            .await
            .map_err(Fault::during("read the reservations due"))
    }

    async fn find_work(&self, reservations: &[ReservationId]) -> Result<Vec<WorkItem>, StoreError> {
        self.reader
            .find(&self.db, reservations)
            .await
            .map_err(Fault::during("read reservations"))
    }

    async fn change_status(
        &self,
        claim: &Claim,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        reservations::change_status(&self.db, claim, reservation, from, to, now)
            .await
            .map_err(Fault::during("change a reservation's status"))
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

    async fn find_own_claim(&self, host: &HostName, holder: &str) -> Result<Option<Claim>, StoreError> {
        claims::find_own(&self.db, host, holder)
            .await
            .map_err(Fault::during("read a claim"))
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

    async fn finish_attempt(&self, claim: &Claim, end: AttemptEnd<'_>) -> Result<(), StoreError> {
        operations::finish_attempt(&self.db, claim, &end)
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
        operations::save(&self.db, claim, operation, history, now)
            .await
            .map_err(Fault::during("save an operation"))
    }

    async fn abandoned_manual(&self, limit: u32) -> Result<Vec<Operation>, StoreError> {
        abandoned::read(&self.db, &self.reader.told, limit)
            .await
            .map_err(Fault::during("read abandoned operations"))
    }

    async fn orphaned(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Operation>, StoreError> {
        orphans::read(&self.db, &self.reader.told, before, limit)
            .await
            .map_err(Fault::during("read operations without a reservation"))
    }

    async fn maintenance(&self, now: DateTime<Utc>) -> Result<HashMap<HostName, Maintenance>, StoreError> {
        maintenance::read(&self.db, now)
            .await
            .map_err(Fault::during("read which hosts are in maintenance"))
    }

    async fn host_timings(&self, hosts: &[HostName]) -> Result<HashMap<HostName, Timings>, StoreError> {
        timings::read(&self.db, hosts)
            .await
            .map_err(Fault::during("read how long hosts take"))
    }

    async fn record_timing(
        &self,
        claim: &Claim,
        samples: &[TimingSample],
        lead: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        timings::record(&self.db, claim, samples, lead, now)
            .await
            .map_err(Fault::during("keep how long a host took"))
    }
}

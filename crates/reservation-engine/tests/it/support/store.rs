//! A store over the one in memory that can be down, and at which a process can die at a chosen moment.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use reservation_engine::testing::MemoryStore;
use reservation_engine::{
    AttemptId, AttemptOutcome, Claim, ClaimInfo, HistoryRow, NewOperation, Operation, Reason,
    ReservationStatus, Step, Store, StoreError, WorkItem,
};
use tokio_util::sync::CancellationToken;

/// Where in a step the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    BeforeIntent,
    AfterIntent,
    BeforeOutcome,
    AfterOutcome,
}

impl Moment {
    pub(crate) const ALL: [Self; 4] = [
        Self::BeforeIntent,
        Self::AfterIntent,
        Self::BeforeOutcome,
        Self::AfterOutcome,
    ];
}

#[derive(Clone)]
pub(crate) struct ShakyStore {
    memory: MemoryStore,
    down: Arc<AtomicBool>,
    lying: Arc<AtomicBool>,
    death: Arc<Mutex<Option<(Step, Moment)>>>,
    running: Arc<Mutex<Option<Step>>>,
    /// Cancelled at the moment of death; the call that was under way never answers.
    pub(crate) died: CancellationToken,
}

impl ShakyStore {
    pub(crate) fn new(memory: MemoryStore) -> Self {
        Self {
            memory,
            down: Arc::default(),
            lying: Arc::default(),
            death: Arc::default(),
            running: Arc::default(),
            died: CancellationToken::new(),
        }
    }

    /// The process that uses this store dies at this moment of this step.
    pub(crate) fn dying_at(memory: MemoryStore, step: Step, moment: Moment) -> Self {
        let store = Self::new(memory);
        *store.death.lock().unwrap() = Some((step, moment));
        store
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Renewals seem to succeed from now on: their holder becomes one that does not know that it lost its claim.
    pub(crate) fn lie_about_renewals(&self) {
        self.lying.store(true, Ordering::SeqCst);
    }

    fn answer(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("down".into()))
        } else {
            Ok(())
        }
    }

    async fn pass(&self, step: Option<Step>, moment: Moment) {
        let here = step.is_some_and(|step| *self.death.lock().unwrap() == Some((step, moment)));
        if here {
            self.died.cancel();
            pending::<()>().await;
        }
    }
}

impl Store for ShakyStore {
    async fn work(
        &self,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        self.answer()?;
        self.memory.work(now, horizon, limit).await
    }

    async fn find_work(&self, reservation: &ReservationId) -> Result<Option<WorkItem>, StoreError> {
        self.answer()?;
        self.memory.find_work(reservation).await
    }

    async fn change_status(
        &self,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.answer()?;
        self.memory.change_status(reservation, from, to, now).await
    }

    async fn claim_host(
        &self,
        host: &HostName,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        self.answer()?;
        self.memory.claim_host(host, holder, lease).await
    }

    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Result<bool, StoreError> {
        self.answer()?;
        if self.lying.load(Ordering::SeqCst) {
            return Ok(true);
        }
        self.memory.renew_claim(claim, lease).await
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        self.answer()?;
        self.memory.give_back(claim).await
    }

    async fn find_claim(&self, host: &HostName) -> Result<Option<ClaimInfo>, StoreError> {
        self.answer()?;
        self.memory.find_claim(host).await
    }

    async fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        self.answer()?;
        self.memory.open_operation(claim, new, now).await
    }

    async fn begin_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        step: Step,
        attempt: u32,
        now: DateTime<Utc>,
    ) -> Result<AttemptId, StoreError> {
        self.answer()?;
        self.pass(Some(step), Moment::BeforeIntent).await;
        let id = self
            .memory
            .begin_attempt(claim, operation, step, attempt, now)
            .await?;
        *self.running.lock().unwrap() = Some(step);
        self.pass(Some(step), Moment::AfterIntent).await;
        Ok(id)
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
        self.answer()?;
        let step = *self.running.lock().unwrap();
        self.pass(step, Moment::BeforeOutcome).await;
        self.memory
            .finish_attempt(claim, operation, attempt, outcome, reason, history, now)
            .await?;
        self.pass(step, Moment::AfterOutcome).await;
        Ok(())
    }

    async fn save_operation(
        &self,
        claim: &Claim,
        operation: &Operation,
        history: &[HistoryRow],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.answer()?;
        self.memory.save_operation(claim, operation, history, now).await
    }

    async fn add_history(&self, row: &HistoryRow) -> Result<(), StoreError> {
        self.answer()?;
        self.memory.add_history(row).await
    }
}

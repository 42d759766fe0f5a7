//! A store over the one in memory that can be down, and at which a process can die at a chosen moment.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use reservation_engine::testing::MemoryStore;
use reservation_engine::{
    AttemptEnd, AttemptId, Claim, ClaimInfo, HistoryRow, Maintenance, NewOperation, Operation,
    ReservationStatus, Step, Store, StoreError, TimingSample, Timings, WorkItem,
};
use tokio::time::sleep;
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

/// How the next change of a status goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatusFault {
    /// The process dies before it is written.
    DieBefore,
    /// The process dies when it is written.
    DieAfter,
    /// It is not written, and the store does not answer.
    LostBefore,
    /// It is written, and the answer is lost.
    LostAfter,
}

#[derive(Clone)]
pub(crate) struct ShakyStore {
    memory: MemoryStore,
    down: Arc<AtomicBool>,
    lying: Arc<AtomicBool>,
    losing: Arc<AtomicBool>,
    latency: Arc<Mutex<Duration>>,
    hanging: Arc<AtomicBool>,
    slow_claim: Arc<Mutex<Option<(HostName, Duration)>>>,
    unanswered: Arc<Mutex<BTreeSet<&'static str>>>,
    calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    death: Arc<Mutex<Option<(Step, Moment)>>>,
    running: Arc<Mutex<Option<Step>>>,
    status_fault: Arc<Mutex<Option<(ReservationStatus, StatusFault)>>>,
    /// Cancelled at the moment of death; the call that was under way never answers.
    pub(crate) died: CancellationToken,
}

impl ShakyStore {
    pub(crate) fn new(memory: MemoryStore) -> Self {
        Self {
            memory,
            down: Arc::default(),
            lying: Arc::default(),
            losing: Arc::default(),
            latency: Arc::default(),
            hanging: Arc::default(),
            slow_claim: Arc::default(),
            unanswered: Arc::default(),
            calls: Arc::default(),
            death: Arc::default(),
            running: Arc::default(),
            status_fault: Arc::default(),
            died: CancellationToken::new(),
        }
    }

    /// The process that uses this store dies at this moment of this step.
    pub(crate) fn dying_at(memory: MemoryStore, step: Step, moment: Moment) -> Self {
        let store = Self::new(memory);
        *store.death.lock().unwrap() = Some((step, moment));
        store
    }

    /// The next change to this status goes wrong, once.
    pub(crate) fn break_status(&self, to: ReservationStatus, fault: StatusFault) {
        *self.status_fault.lock().unwrap() = Some((to, fault));
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Renewals seem to succeed from now on: their holder becomes one that does not know that it lost its claim.
    pub(crate) fn lie_about_renewals(&self) {
        self.lying.store(true, Ordering::SeqCst);
    }

    /// Renewals say from now on that the claim is somebody else's.
    pub(crate) fn lose_claims(&self) {
        self.losing.store(true, Ordering::SeqCst);
    }

    /// The next renewal is never answered.
    pub(crate) fn hang_next_renewal(&self) {
        self.hanging.store(true, Ordering::SeqCst);
    }

    /// The next one of these calls takes effect, and its answer is lost.
    pub(crate) fn lose_answer_of(&self, call: &'static str) {
        self.unanswered.lock().unwrap().insert(call);
    }

    fn commit(&self, call: &'static str) -> Result<(), StoreError> {
        if self.unanswered.lock().unwrap().remove(call) {
            return Err(StoreError::Unavailable(
                "the connection broke at the commit".into(),
            ));
        }
        Ok(())
    }

    /// Each call takes so long from now on.
    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap() = latency;
    }

    /// A claim on this host takes so long from now on.
    pub(crate) fn slow_down_claims_of(&self, host: HostName, wait: Duration) {
        *self.slow_claim.lock().unwrap() = Some((host, wait));
    }

    /// How often each call was made.
    pub(crate) fn calls(&self) -> BTreeMap<&'static str, usize> {
        self.calls.lock().unwrap().clone()
    }

    async fn answer(&self, call: &'static str) -> Result<(), StoreError> {
        *self.calls.lock().unwrap().entry(call).or_insert(0) += 1;
        let latency = *self.latency.lock().unwrap();
        if !latency.is_zero() {
            sleep(latency).await;
        }
        if self.down.load(Ordering::SeqCst) {
            Err(StoreError::Unavailable("down".into()))
        } else {
            Ok(())
        }
    }

    async fn pass(&self, step: Option<Step>, moment: Moment) {
        let here = step.is_some_and(|step| *self.death.lock().unwrap() == Some((step, moment)));
        if here {
            self.die().await;
        }
    }

    async fn die(&self) {
        self.died.cancel();
        pending::<()>().await;
    }
}

impl Store for ShakyStore {
    async fn work(
        &self,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        self.answer("work").await?;
        self.memory.work(now, horizon, limit).await
    }

    async fn find_work(&self, reservations: &[ReservationId]) -> Result<Vec<WorkItem>, StoreError> {
        self.answer("find_work").await?;
        self.memory.find_work(reservations).await
    }

    async fn change_status(
        &self,
        claim: &Claim,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        self.answer("change_status").await?;
        let fault = self.status_fault.lock().unwrap().take_if(|(of, _)| *of == to);
        let fault = fault.map(|(_, fault)| fault);
        let unavailable = || Err(StoreError::Unavailable("the connection broke".into()));
        match fault {
            Some(StatusFault::DieBefore) => self.die().await,
            Some(StatusFault::LostBefore) => return unavailable(),
            Some(StatusFault::DieAfter | StatusFault::LostAfter) | None => {}
        }
        let moved = self
            .memory
            .change_status(claim, reservation, from, to, now)
            .await?;
        match fault {
            Some(StatusFault::DieAfter) => self.die().await,
            Some(StatusFault::LostAfter) => return unavailable(),
            _ => {}
        }
        Ok(moved)
    }

    async fn claim_host(
        &self,
        host: &HostName,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        self.answer("claim_host").await?;
        let slow = self.slow_claim.lock().unwrap().clone();
        if let Some((_, wait)) = slow.filter(|(slow, _)| slow == host) {
            sleep(wait).await;
        }
        let claim = self.memory.claim_host(host, holder, lease).await?;
        self.commit("claim_host")?;
        Ok(claim)
    }

    async fn find_own_claim(&self, host: &HostName, holder: &str) -> Result<Option<Claim>, StoreError> {
        self.answer("find_own_claim").await?;
        self.memory.find_own_claim(host, holder).await
    }

    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Result<bool, StoreError> {
        self.answer("renew_claim").await?;
        if self.hanging.swap(false, Ordering::SeqCst) {
            pending::<()>().await;
        }
        if self.lying.load(Ordering::SeqCst) {
            return Ok(true);
        }
        if self.losing.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.memory.renew_claim(claim, lease).await
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        self.answer("give_back").await?;
        self.memory.give_back(claim).await
    }

    async fn find_claim(&self, host: &HostName) -> Result<Option<ClaimInfo>, StoreError> {
        self.answer("find_claim").await?;
        self.memory.find_claim(host).await
    }

    async fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        self.answer("open_operation").await?;
        let operation = self.memory.open_operation(claim, new, now).await?;
        self.commit("open_operation")?;
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
        self.answer("begin_attempt").await?;
        self.pass(Some(step), Moment::BeforeIntent).await;
        let id = self
            .memory
            .begin_attempt(claim, operation, step, attempt, now)
            .await?;
        self.commit("begin_attempt")?;
        *self.running.lock().unwrap() = Some(step);
        self.pass(Some(step), Moment::AfterIntent).await;
        Ok(id)
    }

    async fn finish_attempt(&self, claim: &Claim, end: AttemptEnd<'_>) -> Result<(), StoreError> {
        self.answer("finish_attempt").await?;
        let step = *self.running.lock().unwrap();
        self.pass(step, Moment::BeforeOutcome).await;
        self.memory.finish_attempt(claim, end).await?;
        self.commit("finish_attempt")?;
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
        self.answer("save_operation").await?;
        self.memory.save_operation(claim, operation, history, now).await?;
        self.commit("save_operation")
    }

    async fn abandoned_manual(&self, limit: u32) -> Result<Vec<Operation>, StoreError> {
        self.answer("abandoned_manual").await?;
        self.memory.abandoned_manual(limit).await
    }

    async fn orphaned(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Operation>, StoreError> {
        self.answer("orphaned").await?;
        self.memory.orphaned(before, limit).await
    }

    async fn maintenance(&self, now: DateTime<Utc>) -> Result<HashMap<HostName, Maintenance>, StoreError> {
        self.answer("maintenance").await?;
        self.memory.maintenance(now).await
    }

    async fn host_timings(&self, hosts: &[HostName]) -> Result<HashMap<HostName, Timings>, StoreError> {
        self.answer("host_timings").await?;
        self.memory.host_timings(hosts).await
    }

    async fn record_timing(
        &self,
        claim: &Claim,
        samples: &[TimingSample],
        lead: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        self.answer("record_timing").await?;
        self.memory.record_timing(claim, samples, lead, now).await
    }
}

//! The same rows for everybody, and for each process a connection of its own to them.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use rand::RngExt;
use reservation_engine::testing::MemoryStore;
use reservation_engine::{
    AttemptEnd, AttemptId, Claim, ClaimInfo, HistoryRow, Maintenance, NewOperation, Operation,
    ReservationStatus, Step, Store, StoreError, TimingSample, Timings, WorkItem,
};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::faults::FaultKind;
use crate::log::{Intent, What, Write};
use crate::world::{Point, Process};

/// A process's connection to the store.
#[derive(Debug, Clone)]
pub(crate) struct SimStore {
    process: Arc<Process>,
}

/// What a write is, as far as faults are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It commits the intent of a step.
    Intent,
    /// It writes rows under a claim.
    Rows,
    /// It is about a claim itself, or needs none.
    Other,
}

/// How long a call travels when that matters.
const TRAVELS: Duration = Duration::from_millis(2);

fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(why.into())
}

impl SimStore {
    pub(crate) fn new(process: Arc<Process>) -> Self {
        Self { process }
    }

    fn memory(&self) -> &MemoryStore {
        self.process.world.memory()
    }

    /// Gets through to the store, or fails to.
    async fn reach_store(&self) -> Result<(), StoreError> {
        let process = &self.process;
        process.gets_time().await;
        if process.has_just_woken() {
            sleep(TRAVELS).await;
        }
        let weather = process.world.weather();
        if weather.slow {
            let wait = process.rng().random_range(500..=4_000);
            sleep(Duration::from_millis(wait)).await;
            process.gets_time().await;
        }
        if weather.down || process.no_store.load(Ordering::SeqCst) {
            // Refused at once, or after the time it takes to notice that nobody answers.
            let wait = [1, 500, 3_000][process.rng().random_range(0..3)];
            sleep(Duration::from_millis(wait)).await;
            process.gets_time().await;
            return Err(unavailable("the store does not answer"));
        }
        if self.hit(FaultKind::StoreFailure, 0.008) {
            return Err(unavailable("the connection broke"));
        }
        Ok(())
    }

    fn hit(&self, kind: FaultKind, each: f64) -> bool {
        let process = &self.process;
        process.world.hit(&mut process.rng(), kind, each, &process.name)
    }

    async fn read<R>(&self, done: impl Future<Output = Result<R, StoreError>>) -> Result<R, StoreError> {
        self.reach_store().await?;
        let result = done.await;
        self.process.gets_time().await;
        result
    }

    /// One write: there, done, noted, and back; each of these may go wrong.
    async fn write<R, F>(
        &self,
        kind: Kind,
        done: F,
        note: impl FnOnce(&Self, &R) + Send + 'static,
    ) -> Result<R, StoreError>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, StoreError>> + Send + 'static,
    {
        self.process.gets_time().await;
        self.process.reach(Point::BeforeCommit).await;
        self.reach_store().await?;
        if kind != Kind::Other && self.hit(FaultKind::LateWrite, 0.004) {
            return self.late(done, note).await;
        }
        let result = done.await;
        if let Ok(result) = &result {
            note(self, result);
        }
        self.process.reach(Point::AfterCommit).await;
        if kind == Kind::Intent {
            self.process.reach(Point::AfterIntent).await;
        }
        if self.hit(FaultKind::UnknownCommit, 0.02) {
            return Err(unavailable("the connection broke at the commit"));
        }
        result
    }

    /// The write is on its way for a long time, and arrives also when nobody waits for it any more.
    async fn late<R, F>(
        &self,
        done: F,
        note: impl FnOnce(&Self, &R) + Send + 'static,
    ) -> Result<R, StoreError>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, StoreError>> + Send + 'static,
    {
        let travels = Duration::from_secs(self.process.rng().random_range(5..=60));
        let (tell, told) = oneshot::channel();
        let store = self.clone();
        tokio::spawn(async move {
            sleep(travels).await;
            let result = done.await;
            if let Ok(result) = &result {
                note(&store, result);
            }
            // Its sender may be gone.
            let _ = tell.send(result);
        });
        let result = told
            .await
            .unwrap_or_else(|_| Err(unavailable("the connection broke")));
        self.process.gets_time().await;
        result
    }

    fn wrote(&self, claim: &Claim, write: Write) {
        self.process.world.note(What::Wrote {
            process: self.process.name.clone(),
            host: claim.host.clone(),
            token: claim.token,
            write,
        });
    }
}

impl Store for SimStore {
    async fn work(
        &self,
        now: DateTime<Utc>,
        horizon: DateTime<Utc>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, StoreError> {
        self.read(self.memory().work(now, horizon, limit)).await
    }

    async fn find_work(&self, reservations: &[ReservationId]) -> Result<Vec<WorkItem>, StoreError> {
        self.read(self.memory().find_work(reservations)).await
    }

    async fn change_status(
        &self,
        claim: &Claim,
        reservation: &ReservationId,
        from: ReservationStatus,
        to: ReservationStatus,
        now: DateTime<Utc>,
    ) -> Result<bool, StoreError> {
        let (memory, claim, id) = (self.memory().clone(), claim.clone(), reservation.clone());
        let (noted, of) = (claim.clone(), reservation.clone());
        let done = async move { memory.change_status(&claim, &id, from, to, now).await };
        self.write(Kind::Rows, done, move |store, moved| {
            store.wrote(&noted, Write::Status(of.clone()));
            if *moved {
                store.process.world.note(What::Status {
                    host: noted.host,
                    reservation: of,
                    to,
                });
            }
        })
        .await
    }

    async fn claim_host(
        &self,
        host: &HostName,
        holder: &str,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let (memory, host, holder) = (self.memory().clone(), host.clone(), holder.to_owned());
        let done = async move { memory.claim_host(&host, &holder, lease).await };
        self.write(Kind::Other, done, |store, claim| {
            if let Some(claim) = claim {
                store.process.world.note(What::Granted {
                    process: store.process.name.clone(),
                    host: claim.host.clone(),
                    token: claim.token,
                });
            }
        })
        .await
    }

    async fn find_own_claim(&self, host: &HostName, holder: &str) -> Result<Option<Claim>, StoreError> {
        self.read(self.memory().find_own_claim(host, holder)).await
    }

    async fn renew_claim(&self, claim: &Claim, lease: Duration) -> Result<bool, StoreError> {
        let (memory, claim, noted) = (self.memory().clone(), claim.clone(), claim.clone());
        let done = async move { memory.renew_claim(&claim, lease).await };
        self.write(Kind::Other, done, move |store, renewed| {
            if *renewed {
                store.process.world.note(What::Renewed {
                    host: noted.host,
                    token: noted.token,
                });
            }
        })
        .await
    }

    async fn give_back(&self, claim: &Claim) -> Result<(), StoreError> {
        let (memory, claim, noted) = (self.memory().clone(), claim.clone(), claim.clone());
        let done = async move { memory.give_back(&claim).await };
        self.write(Kind::Other, done, move |store, ()| {
            store.process.world.note(What::Returned {
                host: noted.host,
                token: noted.token,
            });
        })
        .await
    }

    async fn find_claim(&self, host: &HostName) -> Result<Option<ClaimInfo>, StoreError> {
        self.read(self.memory().find_claim(host)).await
    }

    async fn open_operation(
        &self,
        claim: &Claim,
        new: NewOperation,
        now: DateTime<Utc>,
    ) -> Result<Operation, StoreError> {
        let (memory, claim, noted) = (self.memory().clone(), claim.clone(), claim.clone());
        let done = async move { memory.open_operation(&claim, new, now).await };
        self.write(Kind::Rows, done, move |store, operation: &Operation| {
            store.wrote(&noted, Write::Opened(operation.id));
        })
        .await
    }

    async fn begin_attempt(
        &self,
        claim: &Claim,
        operation: &Operation,
        step: Step,
        attempt: u32,
        now: DateTime<Utc>,
    ) -> Result<AttemptId, StoreError> {
        let (memory, claim, operation) = (self.memory().clone(), claim.clone(), operation.clone());
        let (noted, of) = (claim.clone(), operation.clone());
        let done = async move { memory.begin_attempt(&claim, &operation, step, attempt, now).await };
        self.write(Kind::Intent, done, move |store, id| {
            store.wrote(&noted, Write::Intent(*id));
            let intent = Intent {
                operation: of.id,
                kind: of.kind,
                reservation: of.reservation,
                step,
                attempt: *id,
                token: noted.token,
            };
            store.process.set_intent(&noted.host, intent);
        })
        .await
    }

    async fn finish_attempt(&self, claim: &Claim, end: AttemptEnd<'_>) -> Result<(), StoreError> {
        let (memory, claim, noted) = (self.memory().clone(), claim.clone(), claim.clone());
        let (operation, reason, history) = (end.operation.clone(), end.reason.cloned(), end.history.to_vec());
        let (attempt, outcome, now) = (end.attempt, end.outcome, end.now);
        let done = async move {
            let end = AttemptEnd {
                operation: &operation,
                attempt,
                outcome,
                reason: reason.as_ref(),
                history: &history,
                now,
            };
            memory.finish_attempt(&claim, end).await
        };
        self.write(Kind::Rows, done, move |store, ()| {
            store.wrote(&noted, Write::Outcome(attempt, outcome));
        })
        .await
    }

    async fn save_operation(
        &self,
        claim: &Claim,
        operation: &Operation,
        history: &[HistoryRow],
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (memory, claim, noted) = (self.memory().clone(), claim.clone(), claim.clone());
        let (operation, history) = (operation.clone(), history.to_vec());
        let id = operation.id;
        let done = async move { memory.save_operation(&claim, &operation, &history, now).await };
        self.write(Kind::Rows, done, move |store, ()| {
            store.wrote(&noted, Write::Saved(id));
        })
        .await
    }

    async fn abandoned_manual(&self, limit: u32) -> Result<Vec<Operation>, StoreError> {
        self.read(self.memory().abandoned_manual(limit)).await
    }

    async fn orphaned(&self, before: DateTime<Utc>, limit: u32) -> Result<Vec<Operation>, StoreError> {
        self.read(self.memory().orphaned(before, limit)).await
    }

    async fn maintenance(&self, now: DateTime<Utc>) -> Result<HashMap<HostName, Maintenance>, StoreError> {
        let read = self.memory().maintenance(now);
        if self
            .process
            .world
            .layout()
            .swarm
            .intensity(FaultKind::Maintenance)
            == 0
        {
            return read.await;
        }
        self.read(read).await
    }

    async fn host_timings(&self, hosts: &[HostName]) -> Result<HashMap<HostName, Timings>, StoreError> {
        self.read(self.memory().host_timings(hosts)).await
    }

    async fn record_timing(
        &self,
        claim: &Claim,
        samples: &[TimingSample],
        lead: Duration,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        let (memory, claim, noted) = (self.memory().clone(), claim.clone(), claim.clone());
        let samples = samples.to_vec();
        let done = async move { memory.record_timing(&claim, &samples, lead, now).await };
        self.write(Kind::Rows, done, move |store, ()| {
            store.wrote(&noted, Write::Timing)
        })
        .await
    }
}

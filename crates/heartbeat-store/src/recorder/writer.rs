//! Writing each batch until it is stored or cannot be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{NaiveDateTime, TimeDelta};
use rand::RngExt as _;
use sea_orm::ConnectionTrait as _;
use store_support::DbErr;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::blame::{is_cut, is_late};
use super::figures::{Count, Counters};
use super::gather::Gathering;
use super::not_written;
use super::queue::Job;
use crate::batch::{self, Batch, BatchError, Care, Mark};
use crate::prepared::Prepared;
use crate::report::{Keep, Recorded};
use crate::settle::is_refusal;
use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// The longest wait before a database that is away is tried again.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// After so many tries at which the connection was cut, or of a large batch no answer came in time, while the database
/// answers other questions, the batch is to blame: a server cuts off whoever sends more than it takes.
const TRIES_OF_MANY: u32 = 3;
const TRIES_OF_ONE: u32 = 8;
/// A recorder that has written nothing for so long has ended; if it did not, it makes its mark anew.
const OLD_MARK: TimeDelta = TimeDelta::days(7);

pub(super) struct Writer {
    store: HeartbeatStore,
    keep: Keep,
    gathering: Gathering,
    /// Until when everything has to be written, once that is known.
    closing: watch::Receiver<Option<Instant>>,
    figures: Arc<Counters>,
    mark: Mark,
    has_cleared: bool,
    /// The outcome of the last try that came as far as its commit, by the jobs' numbers.
    tried: HashMap<u64, Recorded>,
    /// Jobs that turned out to be stored.
    stored: HashMap<u64, Recorded>,
}

/// Some jobs that are written together, and how.
struct Part {
    jobs: Vec<Job>,
    care: Care,
    tries: u32,
    /// The hosts' ids were read anew after a refusal.
    is_fresh: bool,
    first_refusal: Option<DbErr>,
}

impl Part {
    fn of(jobs: Vec<Job>) -> Self {
        Self {
            jobs,
            care: Care::Plain,
            tries: 0,
            is_fresh: false,
            first_refusal: None,
        }
    }
}

impl Writer {
    pub(super) fn new(
        store: HeartbeatStore,
        keep: Keep,
        gathering: Gathering,
        closing: watch::Receiver<Option<Instant>>,
        figures: Arc<Counters>,
    ) -> Self {
        Self {
            store,
            keep,
            gathering,
            closing,
            figures,
            mark: Mark {
                writer: uuid::Uuid::new_v4().to_string(),
                batch: 1,
            },
            has_cleared: false,
            tried: HashMap::new(),
            stored: HashMap::new(),
        }
    }

    /// Writes until all is written or the time is over; gives whether all was written.
    pub(super) async fn run(mut self) -> bool {
        let mut is_all_written = true;
        while let Some(jobs) = self.gathering.next().await {
            let at = jobs.first().map(|job| job.report.at);
            let began = Instant::now();
            is_all_written &= self.write_all(jobs).await;
            self.gathering.settled(began.elapsed());
            self.stored.clear();
            if let Some(at) = at.filter(|_| !self.has_cleared) {
                self.clear_old_marks(at).await;
            }
        }
        self.leave().await;
        is_all_written
    }

    /// Writes these jobs in one transaction; where the database refuses it, in halves, so that the one that is to blame
    /// ends alone. `false` when the time was over before that.
    async fn write_all(&mut self, jobs: Vec<Job>) -> bool {
        let mut parts = vec![Part::of(jobs)];
        while let Some(mut part) = parts.pop() {
            self.settle_stored(&mut part.jobs);
            if part.jobs.is_empty() {
                continue;
            }
            match self.write(&part).await {
                Ok(recorded) => {
                    self.figures.add(Count::Batches, 1);
                    self.mark.batch += 1;
                    self.tried.clear();
                    for (job, recorded) in part.jobs.into_iter().zip(recorded) {
                        job.settle(Ok(recorded));
                    }
                }
                Err(Stop::Stored) => {
                    self.take_stored();
                    parts.push(part);
                }
                Err(Stop::Late) => {
                    parts.push(part);
                    give_up(parts);
                    return false;
                }
                Err(Stop::Database(error)) => self.after(error, part, &mut parts).await,
            }
        }
        true
    }

    /// What to do with a part that was not written.
    async fn after(&mut self, error: DbErr, mut part: Part, parts: &mut Vec<Part>) {
        part.tries += 1;
        let is_refused = is_refusal(&error);
        let are_many = part.jobs.len() > 1;
        let patience = if are_many { TRIES_OF_MANY } else { TRIES_OF_ONE };
        let is_too_much = is_cut(&error) || (are_many && is_late(&error));
        let is_to_blame = is_refused || (part.tries >= patience && is_too_much && self.answers().await);
        if !is_to_blame {
            self.figures.add(Count::Retries, 1);
            if part.tries.is_power_of_two() {
                tracing::warn!(%error, reports = part.jobs.len(), "heartbeats wait for the database");
            }
            self.pause(part.tries).await;
            return parts.push(part);
        }
        self.store.ids.forget();
        part.tries = 0;
        if are_many {
            tracing::debug!(%error, reports = part.jobs.len(), "a batch was refused and is written in halves");
            let later = part.jobs.split_off(part.jobs.len() / 2);
            parts.push(Part::of(later));
            return parts.push(Part::of(part.jobs));
        }
        // The host may have been deleted since its id was read.
        if !part.is_fresh {
            part.is_fresh = true;
            return parts.push(part);
        }
        match part.care.next(&error) {
            Some(care) => {
                tracing::warn!(%error, host.name = %part.jobs[0].report.host.name, "a report was refused and is tried differently");
                part.care = care;
                part.first_refusal.get_or_insert(error);
                parts.push(part);
            }
            None => {
                let error = part.first_refusal.unwrap_or(error);
                tracing::error!(%error, "a report was refused and is not recorded");
                let failure = |job: Job, source| {
                    job.settle(Err(HeartbeatStoreError::Refused {
                        action: "record a report",
                        source,
                    }))
                };
                part.jobs.into_iter().for_each(|job| failure(job, error.clone()));
            }
        }
    }

    async fn write(&mut self, part: &Part) -> Result<Vec<Recorded>, Stop> {
        let reports: Vec<&Prepared> = part.jobs.iter().map(|job| &job.report).collect();
        let outcome = Mutex::new(None);
        let batch = Batch {
            reports: &reports,
            keep: self.keep,
            care: &part.care,
            mark: Some(&self.mark),
            outcome: &outcome,
        };
        let written = tokio::select! {
            biased;
            written = batch::write(&self.store, &batch) => written.map_err(Stop::from),
            () = too_late(self.closing.clone()) => Err(Stop::Late),
        };
        // Only a try that came as far as its commit may have been stored.
        let tried = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(tried) = tried {
            self.tried = part.jobs.iter().map(|job| job.number).zip(tried).collect();
        }
        written
    }

    /// The last try with this mark was stored although its answer was lost.
    fn take_stored(&mut self) {
        self.figures.add(Count::Batches, 1);
        self.mark.batch += 1;
        self.stored.extend(self.tried.drain());
    }

    fn settle_stored(&mut self, jobs: &mut Vec<Job>) {
        if self.stored.is_empty() {
            return;
        }
        for job in std::mem::take(jobs) {
            match self.stored.remove(&job.number) {
                Some(recorded) => job.settle(Ok(recorded)),
                None => jobs.push(job),
            }
        }
    }

    /// Whether the database answers a question that has nothing to do with the batch.
    async fn answers(&self) -> bool {
        let db = &self.store.db;
        let sql = format!("SELECT writer FROM {} LIMIT 1", self.store.tables.writers);
        let answer = db
            .bounded(db.connection().query_one_raw(db.statement(&sql, [])))
            .await;
        answer.is_ok_and(|_| true)
    }

    /// Doubles from 100 ms, jittered, so that processes do not come back all at once.
    async fn pause(&self, tries: u32) {
        let full = Duration::from_millis(50 << tries.min(8)).min(MAX_WAIT);
        let pause = full.mul_f64(rand::rng().random_range(0.5..1.0));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = too_late(self.closing.clone()) => {}
        }
    }

    /// Takes marks away whose recorders ended without doing so, once.
    async fn clear_old_marks(&mut self, now: NaiveDateTime) {
        self.has_cleared = true;
        let db = &self.store.db;
        let sql = format!("DELETE FROM {} WHERE updated_at < ?", self.store.tables.writers);
        let delete = db.statement(&sql, [(now - OLD_MARK).into()]);
        if let Err(error) = db.bounded(db.connection().execute_raw(delete)).await {
            tracing::debug!(%error, "the marks of old recorders stay");
        }
    }

    /// Takes its own mark away.
    async fn leave(self) {
        let db = &self.store.db;
        let sql = format!("DELETE FROM {} WHERE writer = ?", self.store.tables.writers);
        let delete = db.statement(&sql, [self.mark.writer.as_str().into()]);
        let until = self.closing.borrow().unwrap_or_else(|| Instant::now() + MAX_WAIT);
        match timeout_at(until, db.bounded(db.connection().execute_raw(delete))).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the recorder's mark stays"),
            Err(_) => tracing::debug!("the recorder's mark stays"),
        }
    }
}

/// What stopped a try.
enum Stop {
    Stored,
    Late,
    Database(DbErr),
}

impl From<BatchError> for Stop {
    fn from(error: BatchError) -> Self {
        match error {
            BatchError::Stored => Self::Stored,
            BatchError::Database(error) => Self::Database(error),
        }
    }
}

/// Is done when everything had to be written; never while nobody closes the recorder.
async fn too_late(mut closing: watch::Receiver<Option<Instant>>) {
    match closing.wait_for(Option::is_some).await.map(|until| *until) {
        Ok(Some(until)) => sleep_until(until).await,
        _ => std::future::pending().await,
    }
}

fn give_up(parts: Vec<Part>) {
    for job in parts.into_iter().flat_map(|part| part.jobs) {
        job.settle(Err(not_written(
            "the recorder was closed before the database took the report",
        )));
    }
}

//! What waits to be written: bounded in reports and in bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tokio::time::Instant;

use super::figures::{Count, Counters};
use super::{Receipt, RecordError, RecorderFigures, RecorderSettings};
use crate::prepared::Prepared;
use crate::report::{PollOutcome, PollReport, Recorded};
use crate::store::HeartbeatStoreError;

/// The unit in which bytes are counted.
const PIECE: usize = 1 << 10;

/// A report that was taken.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) report: Prepared,
    /// Tells it from the others that are being written.
    pub(super) number: u64,
    pub(super) taken_at: Instant,
    receipt: oneshot::Sender<Result<Recorded, HeartbeatStoreError>>,
    figures: Arc<Counters>,
    _room: OwnedSemaphorePermit,
}

impl Job {
    /// Tells what became of it.
    pub(super) fn settle(self, outcome: Result<Recorded, HeartbeatStoreError>) {
        match &outcome {
            Ok(recorded) => self.figures.recorded(recorded),
            Err(_) => self.figures.add(Count::Lost, 1),
        }
        self.figures.left();
        // Whoever does not want to know has dropped the receipt.
        let _ = self.receipt.send(outcome);
    }
}

/// Where reports are taken.
#[derive(Debug, Clone)]
pub(super) struct Intake {
    jobs: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    pieces: u32,
    figures: Arc<Counters>,
}

pub(super) fn intake(settings: &RecorderSettings, figures: Arc<Counters>) -> (Intake, mpsc::Receiver<Job>) {
    let (jobs, queue) = mpsc::channel(settings.queue.clamp(1, 1_000_000));
    let pieces = (settings.queue_bytes / PIECE).clamp(64, 4 << 20);
    let intake = Intake {
        jobs,
        room: Arc::new(Semaphore::new(pieces)),
        pieces: u32::try_from(pieces).unwrap_or(u32::MAX),
        figures,
    };
    (intake, queue)
}

impl Intake {
    pub(super) async fn take(&self, report: PollReport) -> Result<Receipt, RecordError> {
        let (job, receipt) = self
            .waiting(report, async |pieces| {
                Arc::clone(&self.room)
                    .acquire_many_owned(pieces)
                    .await
                    .map_err(|_| RecordError::Closed)
            })
            .await?;
        let place = self.jobs.reserve().await.map_err(|_| RecordError::Closed)?;
        self.figures.add(Count::Waiting, 1);
        place.send(job);
        Ok(receipt)
    }

    pub(super) fn try_take(&self, report: PollReport) -> Result<Receipt, RecordError> {
        let place = self.jobs.try_reserve().map_err(|error| match error {
            mpsc::error::TrySendError::Full(()) => RecordError::Full,
            mpsc::error::TrySendError::Closed(()) => RecordError::Closed,
        })?;
        let resyncs = is_resync(&report);
        let report = Prepared::of(report);
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.pieces_of(&report));
        let room = room.map_err(|error| match error {
            TryAcquireError::NoPermits => RecordError::Full,
            TryAcquireError::Closed => RecordError::Closed,
        })?;
        let (job, receipt) = self.job(report, resyncs, room);
        self.figures.add(Count::Waiting, 1);
        place.send(job);
        Ok(receipt)
    }

    async fn waiting(
        &self,
        report: PollReport,
        room: impl AsyncFnOnce(u32) -> Result<OwnedSemaphorePermit, RecordError>,
    ) -> Result<(Job, Receipt), RecordError> {
        let resyncs = is_resync(&report);
        let report = Prepared::of(report);
        let room = room(self.pieces_of(&report)).await?;
        Ok(self.job(report, resyncs, room))
    }

    fn job(&self, report: Prepared, resyncs: bool, room: OwnedSemaphorePermit) -> (Job, Receipt) {
        let (receipt, receiver) = oneshot::channel();
        self.figures.add(Count::Resyncs, u64::from(resyncs));
        let job = Job {
            report,
            number: 0,
            taken_at: Instant::now(),
            receipt,
            figures: Arc::clone(&self.figures),
            _room: room,
        };
        (job, Receipt(receiver))
    }

    fn pieces_of(&self, report: &Prepared) -> u32 {
        let pieces = report.bytes().div_ceil(PIECE);
        u32::try_from(pieces).unwrap_or(u32::MAX).min(self.pieces)
    }

    pub(super) fn figures(&self) -> RecorderFigures {
        self.figures.read()
    }
}

fn is_resync(report: &PollReport) -> bool {
    match &report.outcome {
        PollOutcome::Heard(heard) => heard
            .events
            .as_ref()
            .is_some_and(|events| events.resync.is_some()),
        _ => false,
    }
}

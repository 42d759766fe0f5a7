//! The one task of a process that writes what all its polls bring, many reports in one transaction.

mod blame;
mod figures;
mod gather;
mod queue;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sea_orm::RuntimeErr;
use store_support::DbErr;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::figures::RecorderFigures;
use self::gather::Gathering;
use self::queue::{Intake, intake};
use self::writer::Writer;
use crate::report::{Keep, PollReport, Recorded};
use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// How a [`Recorder`] gathers and what it keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecorderSettings {
    /// Which reports become a row.
    pub keep: Keep,
    /// So many reports are written together as soon as they are there. 1 to 1,000.
    pub batch_rows: usize,
    /// How many reports one transaction holds at most, where more than `batch_rows` came in while the one before was
    /// written, and that one was quick: of a host's reports only the last is then its state, so that a backlog costs the
    /// database less a report. `batch_rows` to 4,000, and about 8 MiB.
    pub backlog_rows: usize,
    /// How long a report waits for others before it is written.
    pub batch_wait: Duration,
    /// How many reports wait at most; whoever has one more, waits. 1 to 1,000,000.
    pub queue: usize,
    /// About how many bytes the reports that wait have at most, those that are being written included. At least 64 KiB; a
    /// report that is larger waits until it is alone.
    pub queue_bytes: usize,
}

impl Default for RecorderSettings {
    fn default() -> Self {
        Self {
            keep: Keep::default(),
            batch_rows: 500,
            backlog_rows: 2_000,
            batch_wait: Duration::from_millis(250),
            queue: 2_048,
            queue_bytes: 48 << 20,
        }
    }
}

/// Why a report was not taken. It was not stored and will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// As many wait as may; only said where nobody wants to wait.
    #[error("too many reports wait to be recorded")]
    Full,
    /// The recorder was closed, or its task has ended.
    #[error("the recorder is closed")]
    Closed,
}

/// Takes reports of polls and has them written in batches. Cheap to clone.
///
/// Reports of one host are written in the order in which they were taken.
#[derive(Debug, Clone)]
pub struct Recorder {
    intake: Intake,
    /// Does not keep the task from ending with the last recorder.
    closing: Arc<watch::Sender<Option<Instant>>>,
    ended: watch::Receiver<Option<bool>>,
}

impl Recorder {
    /// Starts the task that writes. Must be called within a tokio runtime.
    #[must_use]
    pub fn start(store: HeartbeatStore, settings: RecorderSettings) -> (Self, RecorderTask) {
        let (closing, closed) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let figures = Arc::default();
        let (intake, queue) = intake(&settings, Arc::clone(&figures));
        let gathering = Gathering::new(&settings, queue, closed.clone());
        let writer = Writer::new(store, settings.keep, gathering, closed, figures);
        let task = tokio::spawn(async move {
            let is_all_written = writer.run().await;
            end.send_replace(Some(is_all_written));
        });
        let recorder = Self {
            intake,
            closing: Arc::new(closing),
            ended,
        };
        let task = RecorderTask {
            closing: Arc::clone(&recorder.closing),
            ended: recorder.ended.clone(),
            task,
        };
        (recorder, task)
    }

    /// Takes a report, once there is room for it: callers feel how fast the database is.
    ///
    /// # Errors
    /// [`RecordError::Closed`].
    ///
    /// # Cancel safety
    /// Dropped before it is done, the report was not taken.
    pub async fn record(&self, report: PollReport) -> Result<Receipt, RecordError> {
        self.intake.take(report).await
    }

    /// Takes a report if there is room for it now.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn try_record(&self, report: PollReport) -> Result<Receipt, RecordError> {
        self.intake.try_take(report)
    }

    /// Closes the recorder for everybody, as [`RecorderTask::close`] does.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the task still ends at its time.
    pub async fn close(&self, within: Duration) -> bool {
        close(&self.closing, self.ended.clone(), within).await
    }

    /// What it did since it was started, and how many reports wait.
    #[must_use]
    pub fn figures(&self) -> RecorderFigures {
        self.intake.figures()
    }
}

/// Owns the task of a [`Recorder`]. Dropped without [`RecorderTask::close`], the task goes on until every recorder is
/// dropped and everything that was taken is written.
#[derive(Debug)]
pub struct RecorderTask {
    closing: Arc<watch::Sender<Option<Instant>>>,
    ended: watch::Receiver<Option<bool>>,
    task: JoinHandle<()>,
}

impl RecorderTask {
    /// Takes no more reports, and writes those that were taken, at most for `within`; the receipts of the others say that
    /// they were not written. Returns whether everything was written.
    ///
    /// # Cancel safety
    /// Dropped before it is done, the task still ends at its time.
    pub async fn close(self, within: Duration) -> bool {
        let is_all_written = close(&self.closing, self.ended, within).await;
        if let Err(ended) = self.task.await {
            tracing::error!(error = %ended, "the task that records heartbeats has failed");
        }
        is_all_written
    }
}

async fn close(
    closing: &watch::Sender<Option<Instant>>,
    mut ended: watch::Receiver<Option<bool>>,
    within: Duration,
) -> bool {
    let until = Instant::now() + within;
    // Whoever wants it sooner is heeded, whoever wants it later is not.
    closing.send_if_modified(|known| {
        let is_sooner = known.is_none_or(|known| until < known);
        if is_sooner {
            *known = Some(until);
        }
        is_sooner
    });
    let is_all_written = ended.wait_for(Option::is_some).await.map(|end| *end);
    matches!(is_all_written, Ok(Some(true)))
}

/// Says what became of a report that was taken, once that is committed.
///
/// Dropping it changes nothing: the report is written all the same.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Recorded, HeartbeatStoreError>>);

impl Future for Receipt {
    type Output = Result<Recorded, HeartbeatStoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.unwrap_or_else(|_| Err(not_written("the recorder has ended"))))
    }
}

/// The error of a report that was taken and not written.
fn not_written(why: &str) -> HeartbeatStoreError {
    HeartbeatStoreError::Unavailable(DbErr::Conn(RuntimeErr::Internal(why.to_owned())))
}

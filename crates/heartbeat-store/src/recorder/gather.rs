//! Gathering reports into batches: as many as are there, or as come in while the first of them may wait.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::RecorderSettings;
use super::queue::Job;

/// A batch that took longer is followed by a small one: locks are held as long as it takes.
const QUICK: Duration = Duration::from_secs(1);
/// Reports beyond the usual number come to so many bytes at most, together with those before them.
const BACKLOG_BYTES: usize = 8 << 20;

pub(super) struct Gathering {
    queue: mpsc::Receiver<Job>,
    /// Until when everything has to be written, once that is known.
    closing: watch::Receiver<Option<Instant>>,
    rows: usize,
    backlog_rows: usize,
    wait: Duration,
    taken: u64,
    is_quick: bool,
}

impl Gathering {
    pub(super) fn new(
        settings: &RecorderSettings,
        queue: mpsc::Receiver<Job>,
        closing: watch::Receiver<Option<Instant>>,
    ) -> Self {
        let rows = settings.batch_rows.clamp(1, 1_000);
        Self {
            queue,
            closing,
            rows,
            backlog_rows: settings.backlog_rows.clamp(rows, 4_000),
            wait: settings.batch_wait,
            taken: 0,
            is_quick: false,
        }
    }

    /// Waits for the first report, and then for others as long as it may wait; `None` when all is done.
    pub(super) async fn next(&mut self) -> Option<Vec<Job>> {
        let mut jobs = Vec::new();
        self.receive(&mut jobs, self.rows, None).await;
        let until = jobs.first()?.taken_at + self.wait;
        while jobs.len() < self.rows && !self.queue.is_closed() {
            let room = self.rows - jobs.len();
            if !self.receive(&mut jobs, room, Some(until)).await {
                break;
            }
        }
        self.add_waiting(&mut jobs);
        for job in &mut jobs {
            self.taken += 1;
            job.number = self.taken;
        }
        Some(jobs)
    }

    /// The last batch was settled after this time.
    pub(super) fn settled(&mut self, took: Duration) {
        self.is_quick = took <= QUICK;
    }

    /// What came in while the batch before was written.
    fn add_waiting(&mut self, jobs: &mut Vec<Job>) {
        let most = if self.is_quick {
            self.backlog_rows
        } else {
            self.rows
        };
        let mut bytes: usize = jobs.iter().map(|job| job.report.bytes()).sum();
        while jobs.len() < self.rows || (jobs.len() < most && bytes < BACKLOG_BYTES) {
            let Ok(job) = self.queue.try_recv() else { break };
            bytes += job.report.bytes();
            jobs.push(job);
        }
    }

    /// Receives some; `false` when there were none in time, or there will be none.
    async fn receive(&mut self, jobs: &mut Vec<Job>, room: usize, until: Option<Instant>) -> bool {
        loop {
            let is_open = self.closing.borrow_and_update().is_none();
            if !is_open {
                self.queue.close();
            }
            let in_time = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                received = self.queue.recv_many(jobs, room) => return received > 0,
                changed = self.closing.changed(), if is_open => {
                    if changed.is_err() {
                        // Nobody will close it: it ends with the last recorder.
                        let received = self.without_owner(jobs, room, until).await;
                        return received > 0;
                    }
                }
                () = in_time => return false,
            }
        }
    }

    async fn without_owner(&mut self, jobs: &mut Vec<Job>, room: usize, until: Option<Instant>) -> usize {
        let receiving = self.queue.recv_many(jobs, room);
        match until {
            Some(until) => timeout_at(until, receiving).await.unwrap_or(0),
            None => receiving.await,
        }
    }
}

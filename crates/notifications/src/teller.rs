//! The way into the outbox for those who must not wait: a bounded queue, and one task behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::alerts::{AlertRules, Failure};
use crate::error::OutboxError;
use crate::notice::{Notice, NoticeKind};
use crate::outbox::Outbox;
use crate::silence::Silence;

/// What waits for the database at most; more is dropped and counted.
const QUEUE: usize = 512;
/// How often a notice is put in before it is dropped; the waits between double from one second.
const TRIES: u32 = 6;
/// How often old notices are forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(600);
/// How long settled notices are kept.
const RETENTION: Duration = Duration::from_secs(14 * 24 * 3600);
/// How many notices are kept at most.
const MAX_ROWS: u32 = 10_000;

/// What is told.
#[derive(Debug, Clone)]
pub enum Told {
    /// Put this in; a failed step counts for its host's alert.
    Notice(Notice),
    /// Nothing is heard of these hosts.
    Silent {
        /// Which hosts, and why.
        hosts: Vec<Silence>,
        /// When that was seen.
        at: DateTime<Utc>,
    },
    /// These hosts, of whose silence was told, are heard again.
    Back {
        /// Which hosts.
        hosts: Vec<HostName>,
        /// When that was seen.
        at: DateTime<Utc>,
    },
    /// A host answered, which closes an alert of it.
    HostAnswers {
        /// Which host.
        host: HostName,
        /// When.
        at: DateTime<Utc>,
    },
}

/// Takes what is told without ever waiting. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Teller {
    queue: mpsc::Sender<Order>,
    counts: Arc<Counts>,
}

/// What stands in the queue.
#[derive(Debug)]
enum Order {
    Told(Box<Told>),
    /// Whoever waits for all before it.
    Mark(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    alerts: AtomicU64,
    silences: AtomicU64,
    returns: AtomicU64,
}

impl Teller {
    /// Starts the task that puts into `outbox` what is told, until `stop`.
    #[must_use]
    pub fn start(outbox: Outbox, rules: AlertRules, stop: CancellationToken) -> Self {
        let (queue, orders) = mpsc::channel(QUEUE);
        let counts = Arc::new(Counts::default());
        let keeping = keep(outbox, rules, orders, Arc::clone(&counts));
        tokio::spawn(async move { stop.run_until_cancelled(keeping).await });
        Self { queue, counts }
    }

    /// Tells. When more is told than the database takes, it is dropped and counted.
    pub fn tell(&self, told: Told) {
        if self.queue.try_send(Order::Told(Box::new(told))).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until what was told before is in the outbox, or was dropped.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn settled(&self) {
        let (mark, reached) = oneshot::channel();
        if self.queue.send(Order::Mark(mark)).await.is_ok() {
            // An error means that the task has ended: nothing is put in any more.
            let _ = reached.await;
        }
    }

    /// How much was dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// How many alerts this process raised since the start.
    #[must_use]
    pub fn alerts(&self) -> u64 {
        self.counts.alerts.load(Ordering::Relaxed)
    }

    /// How many notices of silent hosts this process wrote since the start.
    #[must_use]
    pub fn silences(&self) -> u64 {
        self.counts.silences.load(Ordering::Relaxed)
    }

    /// How many notices of hosts that are back this process wrote since the start.
    #[must_use]
    pub fn returns(&self) -> u64 {
        self.counts.returns.load(Ordering::Relaxed)
    }
}

async fn keep(outbox: Outbox, rules: AlertRules, mut orders: mpsc::Receiver<Order>, counts: Arc<Counts>) {
    let mut prune = interval(PRUNE_EVERY);
    loop {
        tokio::select! {
            next = orders.recv() => match next {
                Some(Order::Mark(reached)) => {
                    // Whoever waited may have gone.
                    let _ = reached.send(());
                }
                Some(Order::Told(told)) => insist(&outbox, &rules, &told, &counts).await,
                None => return,
            },
            _ = prune.tick() => {
                if let Err(error) = outbox.prune(RETENTION, MAX_ROWS).await {
                    tracing::debug!(%error, "old notices could not be forgotten");
                }
            }
        }
    }
}

/// Tries again while the database is away, for about a minute.
async fn insist(outbox: &Outbox, rules: &AlertRules, told: &Told, counts: &Counts) {
    let mut wait = Duration::from_secs(1);
    for _ in 1..TRIES {
        match put(outbox, rules, told, counts).await {
            Ok(()) => return,
            Err(OutboxError::Unavailable(source)) => {
                tracing::debug!(error = %source, "a notice waits for the database");
            }
            Err(error) => return lose(told, &error, counts),
        }
        sleep(wait).await;
        wait *= 2;
    }
    if let Err(error) = put(outbox, rules, told, counts).await {
        lose(told, &error, counts);
    }
}

fn lose(told: &Told, error: &OutboxError, counts: &Counts) {
    counts.dropped.fetch_add(1, Ordering::Relaxed);
    tracing::warn!(%error, ?told, "a notice could not be kept");
}

async fn put(outbox: &Outbox, rules: &AlertRules, told: &Told, counts: &Counts) -> Result<(), OutboxError> {
    let notice = match told {
        Told::HostAnswers { host, at } => {
            let back = outbox.host_answers(host, *at).await?;
            counts.returns.fetch_add(back.into(), Ordering::Relaxed);
            return Ok(());
        }
        Told::Silent { hosts, at } => {
            let told = outbox.tell_silent(hosts, *at).await?;
            counts.silences.fetch_add(told, Ordering::Relaxed);
            return Ok(());
        }
        Told::Back { hosts, at } => {
            let told = outbox.tell_back(hosts, *at).await?;
            counts.returns.fetch_add(told, Ordering::Relaxed);
            return Ok(());
        }
        Told::Notice(notice) => notice,
    };
    outbox.put(notice).await?;
    let (NoticeKind::StepFailed, Some(host)) = (notice.kind, &notice.host) else {
        return Ok(());
    };
    let failure = Failure {
        host: host.clone(),
        reservation: notice.reservation.clone(),
        lab: notice.lab.clone(),
        at: notice.at,
    };
    if let Some(failures) = outbox.alert(&failure, rules).await? {
        counts.alerts.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(host.name = %host, failures, "the host fails repeatedly");
    }
    Ok(())
}

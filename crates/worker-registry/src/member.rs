//! One worker's life: it registers, says that it lives, holds its share of the shards, and leaves.

mod round;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use rand::RngExt as _;
use store_support::{Database, DbErr, DbFault, classify};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::RegisterError;
use crate::ownership::{Holdings, Ownership, publish};
use crate::progress::Progress;
use crate::registry::Registry;
use crate::shard::{Duty, Shard};
use crate::worker::{Incumbent, Registration, Status, holder};

/// A loop that has not moved for this long is worth a line in the log.
const STUCK: Duration = Duration::from_secs(30);
/// A worker that holds no shards looks at the others only every so many rounds, in case nobody else marks the silent.
const IDLE_LOOK: u32 = 6;
/// How long leaving may take; leases end by themselves if it does not come to that.
const FAREWELL: Duration = Duration::from_secs(2);
/// Most looks in a hurry before a worker that waits for its share settles for the ordinary pace.
const MAX_HURRY: u32 = 30;

/// How a worker keeps its place. The leases are the same for everybody, whatever settings an operator has.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a lease lasts.
    pub lease: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
    /// How long before the end of a lease its holder stops to act on it.
    pub margin: Duration,
    /// How soon a worker looks again that has not its share yet.
    pub hurry: Duration,
    /// How long the database may take for one round trip of the registry.
    pub patience: Duration,
    /// The most shards that are given back in one round.
    pub give_back_at_once: usize,
}

impl Default for Settings {
    /// 15 s, renewed every 5 s, no longer acted on after 12 s.
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            margin: Duration::from_secs(3),
            hurry: Duration::from_secs(1),
            patience: Duration::from_secs(4),
            give_back_at_once: 16,
        }
    }
}

/// Why a worker's membership ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Departure {
    /// It was asked to leave.
    #[error("left the registry")]
    Left,
    /// A living process has its name.
    #[error("the worker name is in use: {0}; give this process another OPS_WORKER_NAME")]
    NameTaken(Box<Incumbent>),
    /// Another process registered under its name while it was silent.
    #[error("replaced while silent: {0}")]
    Replaced(Box<Incumbent>),
    /// Its registration cannot be stored.
    #[error("cannot register: {0}")]
    Unfit(String),
}

/// A worker that is to be run.
#[derive(Debug)]
pub struct Member {
    who: Registration,
    settings: Settings,
    progress: Progress,
    sender: watch::Sender<Holdings>,
}

/// A worker that runs.
struct Life {
    registry: Registry,
    who: Registration,
    settings: Settings,
    progress: Progress,
    running: Box<dyn Fn() -> usize + Send + Sync>,
    sender: watch::Sender<Holdings>,
    state: State,
}

/// What lasts from one round to the next.
#[derive(Debug, Default)]
struct State {
    id: i64,
    /// The names of the leases that are renewed.
    held: BTreeSet<String>,
    /// Since when a shard was seen free.
    free_since: HashMap<(Duty, Shard), Instant>,
    draining: bool,
    rounds: u32,
    hurried: u32,
    failing: bool,
    stuck: bool,
    status: Option<Status>,
}

/// How a round ended.
enum Round {
    /// All is well; look again after this time.
    Again(Duration),
    Gone(Departure),
}

impl Member {
    /// Makes a worker, and a view on what it holds: nothing, before it runs.
    #[must_use]
    pub fn new(who: Registration, settings: Settings, progress: Progress) -> (Self, Ownership) {
        let (sender, ownership) = Ownership::new();
        let member = Self {
            who,
            settings,
            progress,
            sender,
        };
        (member, ownership)
    }

    /// Registers and keeps the place until `leave`, and says why it ended. From `drain` on it holds no shards.
    /// `running` says on how many hosts it is at work. A database that does not answer is waited for, while nothing
    /// is ours.
    ///
    /// # Cancel safety
    /// Dropped, the worker falls silent: its leases end by themselves.
    pub async fn run(
        self,
        db: Database,
        running: Box<dyn Fn() -> usize + Send + Sync>,
        drain: CancellationToken,
        leave: CancellationToken,
    ) -> Departure {
        let life = Life {
            registry: Registry::new(db),
            who: self.who,
            settings: self.settings,
            progress: self.progress,
            running,
            sender: self.sender,
            state: State::default(),
        };
        life.run(drain, leave).await
    }
}

impl Life {
    async fn run(mut self, drain: CancellationToken, leave: CancellationToken) -> Departure {
        let registered = tokio::select! {
            registered = self.register() => registered,
            () = soon_after(&leave) => {
                self.farewell().await;
                return Departure::Left;
            }
        };
        match registered {
            Ok(id) => self.state.id = id,
            Err(departure) => return departure,
        }
        tracing::info!(worker.id = self.state.id, worker.name = %self.who.name, "registered");
        loop {
            let began = Instant::now();
            let round = tokio::select! {
                round = self.round(drain.is_cancelled()) => round,
                () = soon_after(&leave) => break,
            };
            let wait = match round {
                Ok(Round::Again(wait)) => {
                    self.recovered();
                    wait
                }
                Ok(Round::Gone(departure)) => {
                    publish(&self.sender, Holdings::nothing());
                    return departure;
                }
                Err(error) => self.failed(&error),
            };
            tokio::select! {
                biased;
                () = leave.cancelled() => break,
                () = drain.cancelled(), if !self.state.draining => {}
                () = sleep_until(began + wait) => {}
            }
        }
        self.farewell().await;
        Departure::Left
    }

    async fn farewell(&self) {
        publish(&self.sender, Holdings::nothing());
        let leaving = self.registry.leave(self.state.id, &self.who);
        match timeout(FAREWELL, leaving).await {
            Ok(Ok(())) => tracing::info!(worker.name = %self.who.name, "left the registry"),
            Ok(Err(error)) => {
                tracing::warn!(%error, "could not leave the registry, the leases end by themselves")
            }
            Err(_) => tracing::warn!("no time to leave the registry, the leases end by themselves"),
        }
    }

    /// Waits for a database that is away, and for the lease of a dead predecessor; a living one shows itself by its
    /// next heartbeat.
    async fn register(&self) -> Result<i64, Departure> {
        let mut seen: Option<Incumbent> = None;
        let mut wait = self.settings.hurry;
        loop {
            let asking = self.registry.register(&self.who, self.settings.lease);
            match timeout(self.settings.patience, asking).await {
                Ok(Ok(id)) => return Ok(id),
                Ok(Err(RegisterError::Taken(incumbent))) => {
                    match &seen {
                        Some(before) if *before != *incumbent => return Err(Departure::NameTaken(incumbent)),
                        Some(_) => {}
                        None => {
                            tracing::info!("waiting for a heartbeat or for the end of a lease: {incumbent}")
                        }
                    }
                    seen = Some(*incumbent);
                    wait = self.settings.hurry;
                }
                Ok(Err(error @ RegisterError::TooLong { .. })) => {
                    return Err(Departure::Unfit(error.to_string()));
                }
                Ok(Err(RegisterError::Registry(error))) => {
                    tracing::warn!(%error, cause = %cause(&error), "cannot register now");
                    wait = (wait * 2).min(self.settings.renew_every);
                }
                Err(_) => {
                    tracing::warn!("cannot register now: the database does not answer");
                    wait = (wait * 2).min(self.settings.renew_every);
                }
            }
            sleep(jittered(wait)).await;
        }
    }

    fn holder(&self) -> String {
        holder(self.state.id, &self.who.instance.to_string())
    }

    fn pace(&self) -> Duration {
        self.settings
            .renew_every
            .mul_f64(rand::rng().random_range(0.9..1.0))
    }

    async fn bounded<T>(&self, call: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let patience = self.settings.patience;
        timeout(patience, call).await.unwrap_or_else(|_| {
            let late = sea_orm::RuntimeErr::Internal(format!("no answer within {patience:?}"));
            Err(DbErr::Conn(late))
        })
    }

    fn failed(&mut self, error: &DbErr) -> Duration {
        if !self.state.failing {
            let kind = match classify(error) {
                DbFault::Unavailable | DbFault::Conflict => "the database does not answer",
                DbFault::Unique | DbFault::Refused => "the database refuses",
            };
            tracing::warn!(%error, "{kind}: leases are not renewed, work stops before they end");
        }
        self.state.failing = true;
        jittered(self.settings.hurry)
    }

    fn recovered(&mut self) {
        if self.state.failing {
            self.state.failing = false;
            tracing::info!("leases are renewed again");
        }
    }
}

/// What was sent is not cut off at once: a heartbeat that still arrives after the farewell would undo it.
async fn soon_after(leave: &CancellationToken) {
    leave.cancelled().await;
    sleep(FAREWELL / 2).await;
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(ToString::to_string).unwrap_or_default()
}

fn jittered(around: Duration) -> Duration {
    around.mul_f64(rand::rng().random_range(0.75..1.25))
}

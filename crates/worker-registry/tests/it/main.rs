//! Workers that come, go and fall silent, on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod names;
mod sharing;
mod wishes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use store_support::Database;
use store_support::test_support::TestDatabase;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker_registry::{
    Capabilities, Departure, Duty, Member, Ownership, Progress, Registration, Registry, Settings, Status,
    WorkerRecord,
};

/// Only a test that fails waits for it.
const LIMIT: Duration = Duration::from_secs(60);

/// A site in a hurry, whose leases do not end while a machine is busy with other things: what is looked at here is never
/// that they do.
fn settings() -> Settings {
    Settings {
        lease: Duration::from_secs(60),
        margin: Duration::from_secs(10),
        patience: Duration::from_secs(30),
        ..mortal()
    }
}

/// A site whose dead are soon buried.
fn mortal() -> Settings {
    Settings {
        lease: Duration::from_secs(3),
        renew_every: Duration::from_secs(1),
        margin: Duration::from_millis(600),
        hurry: Duration::from_millis(200),
        patience: Duration::from_secs(4),
        give_back_at_once: 16,
    }
}

/// A running worker, as a process of its own would be: with connections of its own.
struct Worker {
    who: Registration,
    db: Database,
    ownership: Ownership,
    progress: Progress,
    /// How many heartbeats it has sent.
    beats: Arc<AtomicUsize>,
    drain: CancellationToken,
    leave: CancellationToken,
    task: JoinHandle<Departure>,
}

impl Worker {
    async fn start(test: &TestDatabase, name: &str, duties: &[Duty]) -> Self {
        Self::start_with(test, name, duties, settings()).await
    }

    async fn start_with(test: &TestDatabase, name: &str, duties: &[Duty], settings: Settings) -> Self {
        let capabilities = Capabilities::new(duties.iter().copied());
        let who = Registration::new("scheduler", name, capabilities, "1.2.3");
        let db = test.reopen().await;
        let progress = Progress::default();
        let beats = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&beats);
        let load = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            2
        };
        let (member, ownership) = Member::new(who.clone(), settings, progress.clone());
        let (drain, leave) = (CancellationToken::new(), CancellationToken::new());
        let running = member.run(db.clone(), Box::new(load), drain.clone(), leave.clone());
        Self {
            who,
            db,
            ownership,
            progress,
            beats,
            drain,
            leave,
            task: tokio::spawn(running),
        }
    }

    fn polls(&self) -> usize {
        self.ownership.shards(Duty::Polls).len()
    }

    async fn leave(self) {
        self.leave.cancel();
        assert_eq!(self.task.await.unwrap(), Departure::Left);
        self.db.close().await;
    }

    /// Falls silent where it stands.
    async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.db.close().await;
    }

    async fn departed(self) -> Departure {
        let departure = tokio::time::timeout(LIMIT, self.task).await.unwrap().unwrap();
        self.db.close().await;
        departure
    }
}

async fn a_registry(test: &TestDatabase) -> Registry {
    migrations::run(test.database().connection()).await.unwrap();
    Registry::new(test.database().clone())
}

async fn until<F>(what: &str, mut is_so: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(LIMIT, waiting).await.is_err() {
        panic!("waited {LIMIT:?} in vain until {what}");
    }
}

async fn has_status(registry: &Registry, name: &str, status: Status) -> WorkerRecord {
    until(&format!("{name} is {status}"), || async {
        registry
            .find(name)
            .await
            .unwrap()
            .is_some_and(|row| row.status == status)
    })
    .await;
    registry.find(name).await.unwrap().unwrap()
}

async fn run(db: &Database, sql: &str) -> u64 {
    db.connection()
        .execute_unprepared(sql)
        .await
        .unwrap()
        .rows_affected()
}

async fn number(db: &Database, sql: &str) -> i64 {
    let row = db
        .connection()
        .query_one_raw(db.statement(sql, []))
        .await
        .unwrap();
    row.unwrap().try_get_by_index(0).unwrap()
}

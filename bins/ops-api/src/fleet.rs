//! All hosts as operators see them: a snapshot that is made at most once a second, by one task for all callers.
//!
//! While the database is away the catalog is still answered, with what was last known of each host, `database: false`
//! and no verdict: at three in the morning something that says how old it is beats an empty page.

mod gather;
mod snapshot;
mod view;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lab_model::{Catalog, Clock as _, SystemClock};
use ops_runtime::{Chain, SiteHandle};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use gather::{Facts, gather};
pub(crate) use snapshot::{Filter, HostEntry, Snapshot, UNKNOWN};
pub(crate) use view::{ClaimView, HostView, MaintenanceView, instant, millis};

/// A snapshot younger than this is made anew for nobody.
const FRESH: Duration = Duration::from_secs(1);
/// One younger than this is good enough while the next is being made: nobody waits for the database in the steady
/// state.
const USABLE: Duration = Duration::from_secs(3);
/// A database that hangs is as good as one that is down. Less than any question may take, so that whoever asks still gets
/// what was last known.
const PATIENCE: Duration = Duration::from_secs(3);

/// Makes and keeps the snapshot. Clones share it.
#[derive(Clone)]
pub(crate) struct Fleet(Arc<Inner>);

struct Inner {
    handle: SiteHandle,
    shelf: Mutex<Shelf>,
    away: AtomicBool,
}

#[derive(Default)]
struct Shelf {
    current: Option<Arc<Snapshot>>,
    /// Ends when the snapshot that is being made is there, or its task is gone.
    making: Option<watch::Receiver<()>>,
    /// What was last read.
    facts: Option<Arc<Facts>>,
}

impl Fleet {
    /// Nothing is read before somebody asks.
    pub(crate) fn new(handle: SiteHandle) -> Self {
        Self(Arc::new(Inner {
            handle,
            shelf: Mutex::default(),
            away: AtomicBool::new(false),
        }))
    }

    /// The hosts as they were a second ago or later; up to three while the database is slow. After a reload only the new
    /// ones are shown.
    ///
    /// # Cancel safety
    /// Cancel safe: a caller who hangs up takes nothing from the others.
    pub(crate) async fn snapshot(&self) -> Arc<Snapshot> {
        loop {
            let mut making = {
                let catalog = self.0.handle.catalog().current();
                let mut shelf = self.0.shelf();
                let standing = shelf
                    .current
                    .clone()
                    .filter(|standing| Arc::ptr_eq(&standing.catalog, &catalog))
                    .map(|standing| (standing.made.elapsed(), standing));
                if let Some((age, standing)) = &standing
                    && *age < FRESH
                {
                    return Arc::clone(standing);
                }
                let making = self.making(&mut shelf, catalog);
                match standing {
                    Some((age, standing)) if age < USABLE => return standing,
                    _ => making,
                }
            };
            // Its end is told by the sender's, also if the task panicked: then another is begun.
            let _ = making.changed().await;
        }
    }

    /// Joins the task that makes a snapshot, or begins one.
    fn making(&self, shelf: &mut Shelf, catalog: Arc<Catalog>) -> watch::Receiver<()> {
        if let Some(making) = &shelf.making
            && making.has_changed().is_ok()
        {
            return making.clone();
        }
        let (done, making) = watch::channel(());
        shelf.making = Some(making.clone());
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            inner.make(catalog).await;
            drop(done);
        });
        making
    }
}

impl Inner {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, catalog: Arc<Catalog>) {
        let site = self.handle.current();
        let limit = self.handle.settings().api.access.limits.read_timeout;
        let patience = PATIENCE.min(limit * 3 / 5);
        let read = match &site {
            Some(site) if site.database.is_away() => Err("the database does not answer".to_owned()),
            Some(site) => match timeout(patience, gather(site, &catalog)).await {
                Ok(Ok(facts)) => Ok(Arc::new(facts)),
                Ok(Err(error)) => Err(Chain(&error).to_string()),
                Err(_) => {
                    site.database.miss();
                    Err(format!("no answer within {patience:?}"))
                }
            },
            None => Err("not reached yet".to_owned()),
        };
        self.tell(read.as_ref().err());
        let now = site.map_or_else(|| SystemClock.now(), |site| site.clock.now());
        let (facts, database) = match read {
            Ok(facts) => (Some(facts), true),
            Err(_) => (self.shelf().facts.clone(), false),
        };
        let began = Instant::now();
        let made = Snapshot::assemble(catalog, self.handle.settings(), facts.as_deref(), database, now);
        tracing::trace!(hosts = made.hosts.len(), took = ?began.elapsed(), "a view of all hosts");
        let mut shelf = self.shelf();
        shelf.facts = facts;
        shelf.current = Some(Arc::new(made));
    }

    /// One line when the database goes away and one when it is back.
    fn tell(&self, error: Option<&String>) {
        let was_away = self.away.swap(error.is_some(), Ordering::Relaxed);
        match (was_away, error) {
            (false, Some(error)) => tracing::warn!(error, "the view of all hosts is without the database"),
            (true, None) => tracing::info!("the view of all hosts has the database again"),
            _ => {}
        }
    }
}

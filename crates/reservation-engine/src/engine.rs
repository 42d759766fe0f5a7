//! The engine: what its passes and flows share, and how it is stopped.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{Catalog, HostName, LabId, SharedClock};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::abandoned::Abandoned;
use crate::events::Listeners;
use crate::lead::{Lead, Leads};
use crate::maintenance::Watch;
use crate::pace::Pacer;
use crate::pass::PassReport;
use crate::ports::{Station, Store, StoreError};
use crate::settings::Settings;
use crate::slots::Slots;

/// How long a stop waits for dropped flows to be gone.
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// Says which host serves a lab.
pub trait HostMap: Send + Sync {
    /// The host's name, or `None` when no host serves the lab. The name `unmapped` means the same: the history
    /// has it where a host is missing.
    fn host_for(&self, lab: &LabId) -> Option<HostName>;

    /// All hosts that serve the lab and may be used now, the first choice first.
    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        self.host_for(lab).into_iter().collect()
    }

    /// Whether the host is in the catalog at all. On one that is not, nothing can be done.
    fn knows(&self, _host: &HostName) -> bool {
        true
    }

    /// Whether this process is the one that sees to the host. It only spreads the work: what keeps two processes off
    /// one host is the claim. A process that handed a reservation over to a host goes on with that host for two minutes,
    /// whoever sees to it.
    fn is_ours(&self, _host: &HostName) -> bool {
        true
    }
}

impl HostMap for Catalog {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.host_for_lab(lab).map(|host| host.name.clone())
    }

    fn hosts_for(&self, lab: &LabId) -> Vec<HostName> {
        let serving = self.hosts().iter().filter(|host| host.labs.contains(lab));
        serving.map(|host| host.name.clone()).collect()
    }

    fn knows(&self, host: &HostName) -> bool {
        self.find(host.as_str()).is_some()
    }
}

/// Runs reservations against a store and a station. Clones share everything.
pub struct Engine<S: Store, T: Station> {
    pub(crate) inner: Arc<Inner<S, T>>,
}

impl<S: Store, T: Station> Clone for Engine<S, T> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<S: Store, T: Station> std::fmt::Debug for Engine<S, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("holder", &self.inner.holder)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Inner<S, T> {
    pub(crate) store: Arc<S>,
    pub(crate) station: T,
    pub(crate) clock: SharedClock,
    pub(crate) settings: Settings,
    holder: String,
    rng: Mutex<StdRng>,
    pub(crate) slots: Slots,
    pub(crate) leads: Leads,
    pub(crate) pacer: Arc<Pacer>,
    pub(crate) abandoned: Abandoned,
    pub(crate) orphans: Abandoned,
    pub(crate) watch: Watch,
    pub(crate) listeners: Listeners,
    pub(crate) tracker: TaskTracker,
    /// No new flow and no new step.
    pub(crate) stopping: CancellationToken,
    /// Steps under way are dropped.
    pub(crate) dropped: CancellationToken,
    changed: Arc<Notify>,
}

impl<S: Store, T: Station> Engine<S, T> {
    /// Makes an engine. `holder` names this process in claims, in at most 150 characters; `seed` makes its random waits repeatable in tests.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use reservation_engine::{Engine, Observation, Settings, Station, StepOrder, StepReport, testing::MemoryStore};
    /// # struct Nothing;
    /// # impl Station for Nothing {
    /// #     async fn perform(&self, _: StepOrder) -> StepReport { unreachable!() }
    /// #     async fn observe(&self, _: &lab_model::HostName, _: Duration) -> Observation { Observation::default() }
    /// # }
    /// let clock = Arc::new(lab_model::SystemClock);
    /// let engine = Engine::new(MemoryStore::default(), Nothing, clock, Settings::default(), "worker-1", None);
    /// ```
    #[must_use]
    pub fn new(
        store: S,
        station: T,
        clock: SharedClock,
        settings: Settings,
        holder: &str,
        seed: Option<u64>,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        let pacer = Arc::new(Pacer::new(settings.wake_rate_per_minute));
        let inner = Inner {
            store: Arc::new(store),
            station,
            clock,
            settings,
            holder: holder.to_owned(),
            rng: Mutex::new(seed.map_or_else(rand::make_rng, StdRng::seed_from_u64)),
            slots: Slots::new(Arc::clone(&changed)),
            leads: Leads::default(),
            pacer,
            abandoned: Abandoned::default(),
            orphans: Abandoned::default(),
            watch: Watch::default(),
            listeners: Listeners::default(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            dropped: CancellationToken::new(),
            changed,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Waits until a flow ended, after which another pass finds out what is next. Does not miss a flow that ended
    /// since the last call.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&self) {
        self.inner.changed.notified().await;
    }

    /// Waits until another pass may find something to do: when `report` says, after a flow ended, when a host came into
    /// maintenance or left it, or after `longest`, since what is booked from outside tells nobody.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn rest(&self, report: &PassReport, longest: Duration) {
        let until = report
            .next_at
            .map(|at| (at - self.inner.now()).to_std().unwrap_or_default());
        let changed = async {
            tokio::select! {
                () = self.changed() => {}
                () = self.maintenance_changed() => {}
            }
        };
        // Over when the time is; which of them it was does not matter.
        let _ = timeout(until.map_or(longest, |until| until.min(longest)), changed).await;
    }

    /// How many hosts this process is at work on.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.slots.running()
    }

    /// Says how many schedulers share the configured rate of wakes, this one included. One until it is told.
    pub fn set_live_peers(&self, peers: u32) {
        self.inner.pacer.set_peers(peers);
    }

    /// Gives how long before a start each of these hosts is woken, and what that follows from, as stored now.
    ///
    /// # Errors
    /// [`StoreError`] when the hosts' history cannot be read.
    pub async fn leads(&self, hosts: &[HostName]) -> Result<HashMap<HostName, Lead>, StoreError> {
        let mut found = self.inner.store.host_timings(hosts).await?;
        let leads = hosts.iter().map(|host| {
            let timings = found.remove(host).unwrap_or_default();
            (host.clone(), Lead::of(&self.inner.settings, &timings))
        });
        Ok(leads.collect())
    }

    /// The settings this engine runs with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The store this engine runs on.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.inner.store
    }

    /// Stops: no new flow; flows under way finish their step within `grace` and give their hosts back, so that
    /// another copy goes on. Whatever still runs then is dropped, and its claim ends with the lease.
    /// Says whether everything ended within the grace.
    pub async fn stop(&self, grace: Duration) -> bool {
        let inner = &self.inner;
        inner.stopping.cancel();
        inner.tracker.close();
        let in_time = timeout(grace, inner.tracker.wait()).await.is_ok();
        inner.dropped.cancel();
        // What is left now only gives claims back, or asks a store that may not answer.
        let _ = timeout(AFTER_GRACE, inner.tracker.wait()).await;
        info!(in_time, "engine stopped");
        in_time
    }
}

impl<S: Store, T: Station> Inner<S, T> {
    pub(crate) fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for one flow in claims: the process and something that no other flow has.
    pub(crate) fn flow_name(&self) -> String {
        format!("{}/{:016x}", self.holder, self.rng().random::<u64>())
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Runs `work` until it ends, the claim is lost, or the engine drops what it does.
    pub(crate) async fn under<R>(
        &self,
        held: &crate::held::Held<S>,
        work: impl Future<Output = R>,
    ) -> Result<R, Interrupted> {
        tokio::select! {
            biased;
            () = held.keep() => Err(Interrupted::ClaimLost),
            () = self.dropped.cancelled() => Err(Interrupted::Dropped),
            result = work => Ok(result),
        }
    }
}

/// Why work under a claim did not run to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    ClaimLost,
    Dropped,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta};
    use lab_model::{Clock as _, HostName};
    use tokio::time::Instant;

    use super::Engine;
    use crate::pass::PassReport;
    use crate::ports::{Observation, Station, StepOrder, StepOutcome, StepReport};
    use crate::settings::Settings;
    use crate::testing::{MemoryStore, TokioClock};

    struct Idle;

    impl Station for Idle {
        async fn perform(&self, _: StepOrder) -> StepReport {
            StepReport::new(StepOutcome::Done, "done", Duration::ZERO)
        }
        async fn observe(&self, _: &HostName, _: Duration) -> Observation {
            Observation::answering()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_ends_when_the_next_pass_is_due_a_flow_ended_or_the_longest_is_over() {
        let clock = Arc::new(TokioClock::at(DateTime::UNIX_EPOCH));
        let settings = Settings::default();
        let engine = Engine::new(
            MemoryStore::default(),
            Idle,
            clock.clone(),
            settings,
            "one",
            Some(1),
        );
        let rest = async |next_at: Option<i64>| {
            let began_at = Instant::now();
            let next_at = next_at.map(|seconds| clock.now() + TimeDelta::seconds(seconds));
            let report = PassReport {
                next_at,
                ..PassReport::default()
            };
            engine.rest(&report, Duration::from_secs(30)).await;
            began_at.elapsed().as_secs()
        };
        assert_eq!(rest(None).await, 30);
        assert_eq!(rest(Some(5)).await, 5);
        assert_eq!(rest(Some(90)).await, 30);
        assert_eq!(rest(Some(-5)).await, 0);
        engine.inner.changed.notify_one();
        assert_eq!(rest(Some(5)).await, 0);
    }
}

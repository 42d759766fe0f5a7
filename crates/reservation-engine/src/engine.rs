//! The engine: one pass reads what is stored, and a flow per host does what the plan says.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::{Catalog, HostName, LabId, ReservationId, SharedClock};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::explain::{Wait, WaitCode};
use crate::instant::later;
use crate::plan::{plan_host, soonest};
use crate::ports::{Station, Store, StoreError, WorkItem};
use crate::settings::Settings;
use crate::slots::Slots;
use crate::unmapped::{Unmapped, stand_in};

/// How long a stop waits for dropped flows to be gone.
const AFTER_GRACE: Duration = Duration::from_secs(5);

/// Says which host serves a lab.
pub trait HostMap: Send + Sync {
    /// The host's name, or `None` when no host serves the lab. The name `unmapped` means the same: the history
    /// has it where a host is missing.
    fn host_for(&self, lab: &LabId) -> Option<HostName>;
}

impl HostMap for Catalog {
    fn host_for(&self, lab: &LabId) -> Option<HostName> {
        self.host_for_lab(lab).map(|host| host.name.clone())
    }
}

/// What one pass found and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PassReport {
    /// How many reservations were looked at.
    pub considered: usize,
    /// The hosts for which a flow was started.
    pub started: Vec<HostName>,
    /// When the next pass is needed, if neither [`Engine::changed`] nor anybody else asks for one before.
    pub next_at: Option<DateTime<Utc>>,
    /// What each reservation that waits waits for.
    pub waits: Vec<(ReservationId, Wait)>,
    /// The reservations whose lab no host serves.
    pub unmapped: Vec<ReservationId>,
    /// Whether there were more reservations than one pass reads.
    pub truncated: bool,
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
    unmapped: Mutex<Unmapped>,
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
        let inner = Inner {
            store: Arc::new(store),
            station,
            clock,
            settings,
            holder: holder.to_owned(),
            rng: Mutex::new(seed.map_or_else(rand::make_rng, StdRng::seed_from_u64)),
            slots: Slots::new(Arc::clone(&changed)),
            unmapped: Mutex::default(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            dropped: CancellationToken::new(),
            changed,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Looks at all stored reservations once and starts a flow for each host for which something is due.
    /// It does not wait for the flows. One pass at a time is enough; several do no harm.
    ///
    /// # Errors
    /// [`StoreError`] when the reservations cannot be read; nothing was started then.
    ///
    /// # Cancel safety
    /// Cancel safe; `cancel` ends it early with what was done so far.
    pub async fn pass(
        &self,
        hosts: &dyn HostMap,
        cancel: &CancellationToken,
    ) -> Result<PassReport, StoreError> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let horizon = later(later(now, inner.settings.lead), inner.settings.horizon_extra);
        let limit = inner.settings.max_read;
        let items = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(PassReport::default()),
            items = inner.store.work(now, horizon, limit) => items?,
        };
        let truncated = u32::try_from(items.len()).is_ok_and(|read| read >= limit);
        let mut report = PassReport {
            considered: items.len(),
            truncated,
            ..PassReport::default()
        };
        let (by_host, without_host) = group(items, hosts);
        inner.slots.remember(&by_host);
        for (host, items) in by_urgency(by_host) {
            if cancel.is_cancelled() {
                return Ok(report);
            }
            self.consider(&host, &items, now, &mut report);
        }
        self.report_unmapped(without_host, now, &mut report).await;
        Ok(report)
    }

    fn consider(&self, host: &HostName, items: &[WorkItem], now: DateTime<Utc>, report: &mut PassReport) {
        let inner = &self.inner;
        let plan = plan_host(now, &inner.settings, items);
        report.waits.extend(plan.waits);
        let Some(decision) = plan.act else {
            report.next_at = soonest(report.next_at, plan.next_at);
            return;
        };
        if inner.slots.is_running(host) {
            let wait = Wait::open(WaitCode::UnderWay, "this process is at work on the host");
            report.waits.push((decision.reservation, wait));
        } else if let Some(hold) = inner.slots.hold(host, now) {
            report.next_at = soonest(report.next_at, hold.until);
            report.waits.push((decision.reservation, hold));
        } else if report.started.len() >= inner.settings.max_batch as usize {
            report.next_at = Some(now);
        } else if !inner.stopping.is_cancelled() && inner.slots.begin(host) {
            report.started.push(host.clone());
            inner
                .tracker
                .spawn(crate::flow::run(Arc::clone(inner), host.clone()));
        }
    }

    async fn report_unmapped(&self, items: Vec<WorkItem>, now: DateTime<Utc>, report: &mut PassReport) {
        let inner = &self.inner;
        report.unmapped = items.iter().map(|item| item.reservation.id.clone()).collect();
        let due = {
            let mut unmapped = inner.unmapped.lock().unwrap_or_else(PoisonError::into_inner);
            unmapped.due(&items, now, &inner.settings, &mut *inner.rng())
        };
        for row in due.rows {
            if let Err(error) = inner.store.add_history(&row).await {
                tracing::warn!(reservation.id = %row.reservation, %error, "history row not written");
            }
        }
        report.next_at = soonest(report.next_at, due.next_at);
        report.waits.extend(due.waits);
        let Some(host) = due.host.filter(|_| !due.to_close.is_empty()) else {
            return;
        };
        if !inner.stopping.is_cancelled()
            && inner.slots.hold(&host, now).is_none()
            && inner.slots.begin(&host)
        {
            inner.slots.note(&host, &due.to_close);
            inner.tracker.spawn(crate::flow::run(Arc::clone(inner), host));
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

    /// How many hosts this process is at work on.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.slots.running()
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

type ByHost = HashMap<HostName, Vec<WorkItem>>;

/// Sorts reservations by host. What was begun stays on its host, whatever the catalog says now.
fn group(items: Vec<WorkItem>, hosts: &dyn HostMap) -> (ByHost, Vec<WorkItem>) {
    let mut by_host = ByHost::new();
    let mut without_host = Vec::new();
    for item in items {
        let begun = item
            .end
            .as_ref()
            .or(item.start.as_ref())
            .map(|operation| operation.host.clone());
        match begun.or_else(|| mapped(hosts, &item.reservation.lab)) {
            Some(host) => by_host.entry(host).or_default().push(item),
            None => without_host.push(item),
        }
    }
    (by_host, without_host)
}

fn mapped(hosts: &dyn HostMap, lab: &LabId) -> Option<HostName> {
    hosts
        .host_for(lab)
        .filter(|host| stand_in().as_ref() != Some(host))
}

/// The hosts whose reservations start earliest come first: a batch that is too large delays the least urgent.
fn by_urgency(by_host: ByHost) -> impl Iterator<Item = (HostName, Vec<WorkItem>)> {
    let mut sorted = BTreeMap::new();
    for (host, items) in by_host {
        let first = items.iter().map(|item| item.reservation.starts_at).min();
        sorted.insert((first, host), items);
    }
    sorted.into_iter().map(|((_, host), items)| (host, items))
}

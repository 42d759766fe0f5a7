//! One pass: read what is stored, plan each host, start a flow where something is due.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lab_model::{HostName, ReservationId};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::engine::{Engine, HostMap};
use crate::explain::Wait;
use crate::instant::later;
use crate::operation::{OperationKind, Step};
use crate::plan::{Act, Decision, Placed, Placement, place, plan_host, soonest, stand_in};
use crate::ports::{Station, Store, StoreError, WorkItem};

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

impl<S: Store, T: Station> Engine<S, T> {
    /// Looks at all stored reservations once and starts a flow for each host for which something is due, those with
    /// the earliest deadline first. It does not wait for the flows. One pass at a time is enough; several do no harm.
    ///
    /// # Errors
    /// [`StoreError`] when the reservations cannot be read; nothing was started then.
    ///
    /// # Cancel safety
    /// Cancel safe: whatever was started goes on. `cancel` ends it early, with an empty report.
    pub async fn pass(
        &self,
        hosts: &dyn HostMap,
        cancel: &CancellationToken,
    ) -> Result<PassReport, StoreError> {
        let work = self.pass_to_end(hosts, cancel);
        cancel
            .run_until_cancelled(work)
            .await
            .unwrap_or_else(|| Ok(PassReport::default()))
    }

    async fn pass_to_end(
        &self,
        hosts: &dyn HostMap,
        cancel: &CancellationToken,
    ) -> Result<PassReport, StoreError> {
        let inner = &self.inner;
        let settings = &inner.settings;
        let limit = settings.max_read;
        let now = inner.now();
        let horizon = later(later(now, settings.longest_lead()), settings.view_ahead());
        let maintained = inner.maintained_for_pass().await?;
        let items = inner.store.work(now, horizon, limit).await?;
        let mut report = PassReport {
            considered: items.len(),
            truncated: u32::try_from(items.len()).is_ok_and(|read| read >= limit),
            ..PassReport::default()
        };
        let mut placement = place(now, settings, items, hosts, &maintained);
        placement.retain(|host, _| hosts.is_ours(host) || inner.slots.follows(host));
        self.take_leads(&mut placement).await;
        report.unmapped = without_host(&placement);
        // The reads may have taken a while; what became due meanwhile is due.
        let now = inner.now();
        inner.slots.remember(&placement, now, settings);
        let mut due: Vec<Due> = placement
            .iter()
            .filter_map(|(host, placed)| self.consider(host, placed, now, &mut report))
            .collect();
        due.sort_unstable();
        self.start(due, cancel, &mut report).await;
        self.settle_abandoned(hosts).await;
        self.close_orphans(hosts).await;
        Ok(report)
    }

    /// Raises each host's lead to what its own history asks for. A host whose history cannot be read keeps what is
    /// remembered of it, at least the configured lead.
    async fn take_leads(&self, placement: &mut Placement) {
        let inner = &self.inner;
        let stale = inner.leads.stale(placement.keys());
        if !stale.is_empty() {
            match inner.store.host_timings(&stale).await {
                Ok(found) => inner.leads.learn(&inner.settings, stale, found),
                Err(error) => warn!(%error, hosts = stale.len(), "how long hosts take could not be read"),
            }
        }
        for (host, placed) in placement {
            placed.facts.lead = inner.leads.of(&inner.settings, host);
        }
    }

    fn consider(
        &self,
        host: &HostName,
        placed: &Placed,
        now: DateTime<Utc>,
        report: &mut PassReport,
    ) -> Option<Due> {
        let slots = &self.inner.slots;
        let plan = plan_host(now, &self.inner.settings, &placed.facts, &placed.items);
        report.waits.extend(plan.waits);
        let Some(decision) = plan.act else {
            report.next_at = soonest(report.next_at, plan.next_at);
            return None;
        };
        if let Some(wait) = slots.under_way(host) {
            report.waits.push((decision.reservation, wait));
            return None;
        }
        if let Some(hold) = slots.hold(host, now) {
            // Many hosts that are left alone for a moment must not cost a pass each.
            let soon = later(now, self.inner.settings.busy_retry / 4);
            report.next_at = soonest(report.next_at, hold.until.map(|until| until.max(soon)));
            report.waits.push((decision.reservation, hold));
            return None;
        }
        let deadline = deadline(&placed.items, &decision);
        Some(Due {
            deadline,
            wakes_for: deadline.filter(|_| matches!(decision.act, Act::Run { step: Step::Wake, .. })),
            host: host.clone(),
        })
    }

    /// Starts flows. After each batch those that were started go first, so that a large number of them does not wait
    /// for its own last one. Each takes its place in the queue of wakes here, for claims may come in any order.
    async fn start(&self, due: Vec<Due>, cancel: &CancellationToken, report: &mut PassReport) {
        let inner = &self.inner;
        let batch = (inner.settings.max_batch as usize).max(1);
        for (index, Due { host, wakes_for, .. }) in due.into_iter().enumerate() {
            if index % batch == batch - 1 {
                tokio::task::yield_now().await;
            }
            if cancel.is_cancelled() || inner.stopping.is_cancelled() {
                return;
            }
            if inner.slots.begin(&host) {
                report.started.push(host.clone());
                let place = wakes_for.and_then(|starts_at| inner.pacer.place(starts_at));
                inner
                    .tracker
                    .spawn(crate::flow::run(Arc::clone(inner), host, place));
            }
        }
    }
}

/// A host for which something is due. They are served in this order.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    deadline: Option<DateTime<Utc>>,
    host: HostName,
    /// When the reservation starts for which the host is to be woken first, if that is what is due.
    wakes_for: Option<DateTime<Utc>>,
}

/// By when what is decided should be over: a student comes, or has to have gone.
fn deadline(items: &[WorkItem], decision: &Decision) -> Option<DateTime<Utc>> {
    let item = items
        .iter()
        .find(|item| item.reservation.id == decision.reservation)?;
    Some(match decision.kind {
        OperationKind::Start | OperationKind::ManualStart => item.reservation.starts_at,
        OperationKind::End | OperationKind::ManualEnd => item.reservation.ends_at,
    })
}

/// The reservations whose lab no host serves.
fn without_host(placement: &Placement) -> Vec<ReservationId> {
    let nowhere = stand_in().and_then(|host| placement.get(&host));
    let ids = nowhere.into_iter().flat_map(|placed| &placed.items);
    ids.map(|item| item.reservation.id.clone()).collect()
}

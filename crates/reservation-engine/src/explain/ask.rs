//! Where an explanation's parts come from: the same reads as a pass, and who has the host.

use std::time::Duration;

use lab_model::{HostName, ReservationId};

use super::Wait;
use super::answer::{Explanation, HostExplanation};
use super::say::{Scene, explain, explain_host, under_way};
use crate::engine::{Engine, HostMap, Inner};
use crate::instant::later;
use crate::lead::Lead;
use crate::operation::{Operation, OperationKind};
use crate::plan::{HostFacts, Placed, Placement, place, presence, stand_in};
use crate::ports::{ClaimInfo, Station, Store, StoreError, Timings, WorkItem};
use crate::state::State;

/// How far ahead the reservations of a host are shown.
const HOST_VIEW: Duration = Duration::from_hours(24);

impl<S: Store, T: Station> Engine<S, T> {
    /// Says what happens next for a reservation, when, what that waits for, and why the last try failed. `None` for
    /// an unknown one. It costs about as much as a pass, and changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn explain_reservation(
        &self,
        id: &ReservationId,
        hosts: &dyn HostMap,
    ) -> Result<Option<Explanation>, StoreError> {
        let found = self.inner.store.find_work(std::slice::from_ref(id)).await?;
        let Some(item) = found.into_iter().next() else {
            return Ok(None);
        };
        let placement = self.placement(Some(item), hosts, Duration::ZERO).await?;
        let with = |placed: &Placed| {
            placed
                .items
                .iter()
                .find(|item| item.reservation.id == *id)
                .cloned()
        };
        let Some((host, mut placed, item)) = placement
            .into_iter()
            .find_map(|(host, placed)| with(&placed).map(|item| (host, placed, item)))
        else {
            return Ok(None);
        };
        let (claim, lead) = self.look_up(&host, &mut placed).await?;
        let scene = self.scene(&host, &placed, claim.as_ref(), lead);
        Ok(Some(explain(&scene, &item)))
    }

    /// Says which step is under way for a reservation at this moment, since when and by whom, and why the try before
    /// failed; `None` when none is. It reads the one reservation only, so it may be asked often.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn under_way(&self, id: &ReservationId) -> Result<Option<Wait>, StoreError> {
        let store = &self.inner.store;
        let found = store.find_work(std::slice::from_ref(id)).await?;
        let Some(operation) = found.into_iter().find_map(begun) else {
            return Ok(None);
        };
        let claim = store.find_claim(&operation.host).await?;
        Ok(claim
            .and_then(|claim| under_way(&operation, &claim))
            .map(|(_, wait)| wait))
    }

    /// Says what happens next on a host, for whom, who acts on it now, and what each of its reservations of the next
    /// 24 hours waits for.
    /// `None` for a host that is neither in the catalog nor has reservations left. It costs about as much as a pass,
    /// and changes nothing.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn explain_host(
        &self,
        host: &HostName,
        hosts: &dyn HostMap,
    ) -> Result<Option<HostExplanation>, StoreError> {
        let mut placement = self.placement(None, hosts, HOST_VIEW).await?;
        let known = hosts.knows(host) && stand_in().as_ref() != Some(host);
        let Some(mut placed) = placement.remove(host).or_else(|| known.then(Placed::default)) else {
            return Ok(None);
        };
        placed.facts.presence = presence(host, hosts);
        placed.facts.maintenance = self.inner.maintenance_of(host).await?;
        let (claim, lead) = self.look_up(host, &mut placed).await?;
        Ok(Some(explain_host(&self.scene(
            host,
            &placed,
            claim.as_ref(),
            lead,
        ))))
    }

    async fn placement(
        &self,
        asked: Option<WorkItem>,
        hosts: &dyn HostMap,
        at_least: Duration,
    ) -> Result<Placement, StoreError> {
        let inner = &self.inner;
        let settings = &inner.settings;
        let now = inner.now();
        let horizon = later(
            later(now, settings.longest_lead()),
            settings.view_ahead().max(at_least),
        );
        let maintained = inner.maintained(Duration::ZERO).await?;
        let mut items = inner.store.work(now, horizon, settings.max_read).await?;
        if let Some(asked) = asked {
            items.retain(|item| item.reservation.id != asked.reservation.id);
            items.push(asked);
        }
        Ok(place(now, settings, items, hosts, &maintained))
    }

    /// Who has the host, and how early it is woken.
    async fn look_up(
        &self,
        host: &HostName,
        placed: &mut Placed,
    ) -> Result<(Option<ClaimInfo>, Lead), StoreError> {
        let store = &self.inner.store;
        let claim = store.find_claim(host).await?;
        let mut timings = store.host_timings(std::slice::from_ref(host)).await?;
        let lead = Lead::of(&self.inner.settings, &timings.remove(host).unwrap_or_default());
        placed.facts.lead = lead.effective;
        Ok((claim, lead))
    }

    fn scene<'a>(
        &'a self,
        host: &'a HostName,
        placed: &'a Placed,
        claim: Option<&'a ClaimInfo>,
        lead: Lead,
    ) -> Scene<'a> {
        let now = self.inner.now();
        let slots = &self.inner.slots;
        let local = slots.under_way(host).or_else(|| slots.hold(host, now));
        Scene {
            now,
            settings: &self.inner.settings,
            host,
            placed,
            claim,
            local,
            lead,
        }
    }
}

/// The operation with a step that is under way, or was when somebody died.
fn begun(item: WorkItem) -> Option<Operation> {
    let is_begun = |state: &State| matches!(state, State::Running { .. } | State::Checking { .. });
    let mut operations = item.end.into_iter().chain(item.start);
    operations.find(|operation| is_begun(&operation.state))
}

impl<S: Store, T: Station> Inner<S, T> {
    /// What there is to say about an operation that was given up, in one line for the log.
    pub(crate) fn last_word(&self, item: &WorkItem, operation: &Operation) -> String {
        let mut item = item.clone();
        let kept = match operation.kind {
            OperationKind::Start | OperationKind::ManualStart => &mut item.start,
            OperationKind::End | OperationKind::ManualEnd => &mut item.end,
        };
        *kept = Some(operation.clone());
        let placed = Placed {
            items: vec![item.clone()],
            facts: HostFacts::with_lead(self.settings.lead),
        };
        let scene = Scene {
            now: self.now(),
            settings: &self.settings,
            host: &operation.host,
            placed: &placed,
            claim: None,
            local: None,
            lead: Lead::of(&self.settings, &Timings::default()),
        };
        explain(&scene, &item).summary
    }
}

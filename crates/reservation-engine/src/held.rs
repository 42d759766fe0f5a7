//! A claim on a host while it is held: renewed in time, given up in time, given back in the end.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lab_model::HostName;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::engine::Inner;
use crate::operation::{Repetition, Step};
use crate::ports::{Claim, Station, Store, StoreError};

/// How long giving back may take; an abandoned claim ends by itself anyway.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(2);
/// How often a call to a store that does not answer is repeated, unless the claim is lost before.
const INSIST_TRIES: u32 = 100;
const INSIST_LONGEST: Duration = Duration::from_secs(1);
/// The first wait of these.
const FIRST_WAIT: Duration = Duration::from_millis(50);

pub(crate) struct Held<S: Store> {
    store: Arc<S>,
    claim: Claim,
    lease: Duration,
    renew_every: Duration,
    /// Until when we may act: the lease, counted from before it was asked for, less a margin.
    safe_until: Mutex<Instant>,
    #[cfg(feature = "mutants")]
    wall: Option<crate::mutant::Wall>,
    /// Where the giving back of a dropped claim runs; `None` once it is given back or abandoned.
    on_drop: Option<TaskTracker>,
}

impl<S: Store> Held<S> {
    /// Takes the claim, or gives `None` while somebody else has it.
    pub(crate) async fn take<T: Station>(
        inner: &Inner<S, T>,
        host: &HostName,
    ) -> Result<Option<Self>, StoreError> {
        let settings = &inner.settings;
        let asked_at = Instant::now();
        let taken = timeout(settings.lease, ask(inner, host)).await;
        let Some(claim) = taken.map_err(|late| StoreError::Unavailable(Box::new(late)))?? else {
            return Ok(None);
        };
        Ok(Some(Self {
            store: Arc::clone(&inner.store),
            claim,
            lease: settings.lease,
            renew_every: settings.renew_every.min(settings.lease / 3),
            safe_until: Mutex::new(asked_at + safe(settings.lease)),
            #[cfg(feature = "mutants")]
            wall: crate::mutant::Wall::planted(settings, &inner.clock),
            on_drop: Some(inner.tracker.clone()),
        }))
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What a loss of this claim is to whoever acted under it.
    pub(crate) fn fenced(&self) -> StoreError {
        StoreError::Fenced {
            host: self.claim.host.clone(),
        }
    }

    /// Whether `step` may go out right now, asked right before it does: a process that was stopped for a while must
    /// not go on where it was. What must not be repeated, and what would leave in the last moments of the lease,
    /// waits for the store to say once more that the claim is ours.
    pub(crate) async fn may_act(&self, step: Step) -> bool {
        let left = self.safe_until().saturating_duration_since(self.now());
        if left.is_zero() {
            return false;
        }
        let certain = step.repetition() != Repetition::Fenced && left >= enough(self.lease);
        certain || (matches!(self.renew().await, Ok(true)) && self.now() < self.safe_until())
    }

    /// Renews the claim; ends only when it is lost, and before the lease is over.
    pub(crate) async fn keep(&self) {
        let mut next = self.now() + self.renew_every;
        loop {
            sleep_until(self.by_tokio(next.min(self.safe_until()))).await;
            let asked_at = self.now();
            if asked_at >= self.safe_until() {
                return warn!(host.name = %self.claim.host, "claim could not be renewed in time");
            }
            match self.renew().await {
                Ok(true) => next = asked_at + self.renew_every,
                Ok(false) | Err(StoreError::Fenced { .. }) => {
                    return warn!(host.name = %self.claim.host, "claim was lost");
                }
                Err(error) => {
                    debug!(host.name = %self.claim.host, %error, "claim not renewed, trying again");
                    next = self.now() + self.renew_every / 5;
                }
            }
        }
    }

    /// Asks the store once. A question that is lost, as with a node that vanished, must leave time for another one.
    async fn renew(&self) -> Result<bool, StoreError> {
        let asked_at = self.now();
        let limit = self.by_tokio(self.safe_until().min(asked_at + self.lease / 5));
        let renewed = timeout_at(limit, self.store.renew_claim(&self.claim, self.lease)).await;
        let ours = renewed.map_err(|late| StoreError::Unavailable(Box::new(late)))??;
        if ours {
            let mut safe_until = self.safe_until.lock().unwrap_or_else(PoisonError::into_inner);
            *safe_until = (asked_at + safe(self.lease)).max(*safe_until);
        }
        Ok(ours)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the planted fault has a clock of its own")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "the planted fault has a clock of its own")]
    fn by_tokio(&self, at: Instant) -> Instant {
        at
    }

    #[cfg(feature = "mutants")]
    fn now(&self) -> Instant {
        self.wall
            .as_ref()
            .map_or_else(Instant::now, crate::mutant::Wall::now)
    }

    #[cfg(feature = "mutants")]
    fn by_tokio(&self, at: Instant) -> Instant {
        self.wall.as_ref().map_or(at, |wall| wall.by_tokio(at))
    }

    /// Gives the claim back, so that the next flow need not wait for the lease to end.
    pub(crate) async fn give_back(mut self) {
        self.on_drop = None;
        give_back(&*self.store, &self.claim).await;
    }

    /// Leaves the claim to end by itself: something may still be under way on the host.
    pub(crate) fn abandon(mut self) {
        self.on_drop = None;
    }

    fn safe_until(&self) -> Instant {
        *self.safe_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for the claim, and once more for a short while when the answer is lost. Each time under a name that nobody had
/// before: what is held under it was granted to one of these questions, and is ours.
async fn ask<S: Store, T: Station>(
    inner: &Inner<S, T>,
    host: &HostName,
) -> Result<Option<Claim>, StoreError> {
    let (holder, lease) = (inner.flow_name(), inner.settings.lease);
    let asked_at = Instant::now();
    let mut wait = FIRST_WAIT;
    let mut answer = inner.store.claim_host(host, &holder, lease).await;
    let mut lost = false;
    // Most of the lease has to be left for whoever finds that he has had it from the first question on.
    while let Err(StoreError::Unavailable(source)) = &answer {
        if asked_at.elapsed() + wait > lease / 5 {
            return answer;
        }
        debug!(host.name = %host, error = %source, "the claim was not answered, asking again");
        lost = true;
        sleep(wait).await;
        wait = (wait * 2).min(INSIST_LONGEST);
        answer = inner.store.claim_host(host, &holder, lease).await;
        if let Ok(None) = &answer {
            answer = inner.store.find_own_claim(host, &holder).await;
        }
    }
    if let (true, Ok(Some(claim))) = (lost, &answer) {
        debug!(host.name = %host, claim.token = claim.token.0, "the claim is ours");
    }
    answer
}

impl<S: Store> Drop for Held<S> {
    fn drop(&mut self) {
        let Some(tracker) = self.on_drop.take() else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (store, claim) = (Arc::clone(&self.store), self.claim.clone());
        tracker.spawn_on(async move { give_back(&*store, &claim).await }, &runtime);
    }
}

async fn give_back<S: Store>(store: &S, claim: &Claim) {
    match timeout(GIVE_BACK_LIMIT, store.give_back(claim)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(host.name = %claim.host, %error, "claim not given back; it ends by itself"),
        Err(_) => debug!(host.name = %claim.host, "claim not given back in time; it ends by itself"),
    }
}

/// The part of a lease in which we act. The rest is for what was sent just before, and for clocks that drift.
fn safe(lease: Duration) -> Duration {
    lease - lease / 5
}

/// How much of that part has to be left for what is sent to arrive within it.
fn enough(lease: Duration) -> Duration {
    lease / 5
}

/// Repeats a store call while the store does not answer, so that an outcome that is known is not lost to a short
/// outage. The flow around it ends when the claim does, which ends this as well.
pub(crate) async fn insist<R, F, Fut>(call: F) -> Result<R, StoreError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<R, StoreError>>,
{
    let mut wait = FIRST_WAIT;
    for _ in 1..INSIST_TRIES {
        match call().await {
            Err(StoreError::Unavailable(source)) => {
                debug!(error = %source, "store does not answer, trying again")
            }
            answer => return answer,
        }
        sleep(wait).await;
        wait = (wait * 2).min(INSIST_LONGEST);
    }
    call().await
}

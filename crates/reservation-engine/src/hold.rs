//! A host's place for a flow, and why the host is left alone for a moment after it.

use chrono::{DateTime, Utc};
use lab_model::HostName;
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::engine::Inner;
use crate::explain::{Wait, WaitCode};
use crate::flow::FlowError;
use crate::instant::later;
use crate::ports::{Station, Store, StoreError};

/// How long a host is left alone whose stored operation or store makes no sense, in multiples of `busy_retry`.
const FAULT_HOLD: u32 = 30;

/// Why a host is left alone, and until when: by the clock that waiting goes by, since the wall clock may be set.
#[derive(Debug, Clone)]
pub(crate) struct Hold {
    wait: Wait,
    ends_at: Instant,
}

impl Hold {
    /// What is waited for, with its end by the wall clock as that is now; `None` when it is over.
    pub(crate) fn at(&self, now: DateTime<Utc>) -> Option<Wait> {
        let left = self.ends_at.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| Wait {
            until: Some(later(now, left)),
            ..self.wait.clone()
        })
    }
}

/// The host's place for a flow; freed when dropped, also by a panic.
pub(crate) struct Place<'a, S: Store, T: Station> {
    inner: &'a Inner<S, T>,
    host: &'a HostName,
    /// Why the host is left alone for a moment afterwards.
    pub(crate) hold: Option<Hold>,
}

impl<'a, S: Store, T: Station> Place<'a, S, T> {
    pub(crate) fn new(inner: &'a Inner<S, T>, host: &'a HostName) -> Self {
        Self {
            inner,
            host,
            hold: None,
        }
    }
}

impl<S: Store, T: Station> Drop for Place<'_, S, T> {
    fn drop(&mut self) {
        self.inner.slots.end(self.host, self.hold.take());
    }
}

/// Leaves a host alone that somebody else acts on, and says who.
pub(crate) async fn busy<S: Store, T: Station>(inner: &Inner<S, T>, host: &HostName) -> Hold {
    let asked = timeout(inner.settings.busy_retry, inner.store.find_claim(host)).await;
    let holder = match asked {
        Ok(Ok(Some(claim))) => claim.holder,
        Ok(Ok(None) | Err(_)) | Err(_) => "somebody".to_owned(),
    };
    hold(
        inner,
        1,
        WaitCode::HostBusy,
        &format!("{holder} is at work on the host"),
    )
}

/// Leaves a host alone whose flow ended early, and says so in the log.
pub(crate) fn trouble<S: Store, T: Station>(inner: &Inner<S, T>, error: &FlowError) -> Hold {
    let detail = error.to_string();
    match error {
        FlowError::Store(StoreError::Unavailable(_) | StoreError::Fenced { .. }) => {
            warn!(error = %detail, "flow ended early");
            hold(inner, 1, WaitCode::StoreTrouble, &detail)
        }
        FlowError::Store(StoreError::Refused { source, .. }) => {
            error!(error = %detail, source = %source, "flow ended early");
            hold(inner, FAULT_HOLD, WaitCode::StoreTrouble, &detail)
        }
        FlowError::Illegal(_) => {
            error!(error = %detail, "flow ended early");
            hold(inner, FAULT_HOLD, WaitCode::StoreTrouble, &detail)
        }
    }
}

/// Leaves a host alone for so many times `busy_retry`, more or less.
pub(crate) fn hold<S: Store, T: Station>(
    inner: &Inner<S, T>,
    times: u32,
    code: WaitCode,
    detail: &str,
) -> Hold {
    let wait = crate::retry::jittered(inner.settings.busy_retry * times, &mut *inner.rng());
    Hold {
        wait: Wait::open(code, detail),
        ends_at: Instant::now() + wait,
    }
}

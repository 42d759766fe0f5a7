//! What callers ask for and may take long: one way for all of it, whether its caller waits, comes back later, or hangs
//! up.
//!
//! A handler reads and checks the whole request and makes an [`Order`] of it. [`Calls::run`] then writes the call
//! down, carries it out in a task of the service, writes its answer down, and answers: at once with 202 for those who
//! do not wait, in the end for those who do. A caller that repeats itself under an `Idempotency-Key` meets the same
//! call again, through whichever process.
//!
//! Calls without a key whose caller waits are carried out also while the database is away, as far as their work goes
//! without it; they leave no row then but a line in the log.

mod asking;
mod carry;
mod known;
mod outcome;
mod upkeep;
pub(crate) mod view;
pub(crate) mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use call_journal::{CallId, CallKind, CallState, JournalError};
use lab_model::HostName;
use ops_runtime::{Chain, SiteHandle};
use serde::Serialize;
use tokio::sync::watch as channel;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use crate::error::ApiError;
use carry::Carrier;

pub(crate) use asking::Asking;
pub(crate) use outcome::{Failure, Outcome, Work};

/// How long a call counts as under way after its process was last heard of; by the database's clock.
const LEASE: Duration = Duration::from_secs(15);
/// How long a stop waits, at the end of its grace period, for what was cut off to be marked as interrupted.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(3);
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One thing to do, read from a request and checked whole.
pub(crate) struct Order {
    /// What kind of thing.
    pub(crate) kind: CallKind,
    /// On which host.
    pub(crate) host: Option<HostName>,
    /// For which reservation.
    pub(crate) reservation: Option<String>,
    /// For which lab.
    pub(crate) lab: Option<String>,
    /// The request in one spelling, by which a repetition is told from another request.
    pub(crate) request: String,
    /// The doing.
    pub(crate) work: Work,
}

/// What a caller that does not wait is told.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// The call's id.
    #[schema(format = "uuid", example = "0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e")]
    id: String,
    /// Where it stands.
    state: view::OperationState,
    /// Where to look for what comes of it.
    #[schema(example = "/api/operations/0d0f6f0e-6c0e-4f8e-9d8a-2f0f5b1f6a3e")]
    location: String,
}

/// Where a call of this process stands.
#[derive(Debug, Clone)]
enum Stage {
    /// It is being written down.
    Opening,
    /// It was asked for before.
    Known(Box<call_journal::CallRecord>),
    /// It is ours, and under way.
    Begun(CallId),
    /// It is over.
    Ended(CallId, Arc<Outcome>),
    /// It was refused; nothing was done.
    Refused(Arc<Outcome>),
}

/// The calls of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Inner>);

struct Inner {
    worker: String,
    live: Mutex<HashMap<CallId, channel::Receiver<Stage>>>,
    tracker: TaskTracker,
    /// Nothing new is begun.
    stopping: CancellationToken,
    /// What is still under way is cut off.
    cut: CancellationToken,
    upkeep: Mutex<Option<JoinHandle<()>>>,
    watches: watch::Watches,
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls")
            .field("live", &self.0.live().len())
            .finish_non_exhaustive()
    }
}

impl Calls {
    /// Takes care of the calls that are under way from now on. Has to be called within the runtime.
    pub(crate) fn new(handle: SiteHandle) -> Self {
        let calls = Self(Arc::new(Inner {
            worker: format!("api@{}", handle.settings().worker_name),
            live: Mutex::default(),
            tracker: TaskTracker::new(),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
            upkeep: Mutex::default(),
            watches: watch::Watches::default(),
        }));
        let upkeep = tokio::spawn(upkeep::run(handle, Arc::clone(&calls.0)));
        *calls.0.upkeep.lock().unwrap_or_else(PoisonError::into_inner) = Some(upkeep);
        calls
    }

    /// Is cancelled when nothing new is begun any more.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stopping
    }

    /// Who watches which operation.
    pub(crate) fn watches(&self) -> &watch::Watches {
        &self.0.watches
    }

    /// Carries an order out, or finds the call that it repeats. The work goes on when this future is dropped.
    pub(crate) async fn run(
        &self,
        handle: &SiteHandle,
        asking: Asking,
        order: Order,
    ) -> Result<Response, ApiError> {
        // Before the look, so that a stop that comes between it and the task waits for the task.
        let _counted = self.0.tracker.token();
        if self.0.stopping.is_cancelled() {
            return Err(ApiError::stopping());
        }
        let site = handle.current().ok_or_else(ApiError::database_unavailable)?;
        let waits = !asking.wants_async;
        let (sender, mut stage) = channel::channel(Stage::Opening);
        let (carrier, work) = Carrier::new(Arc::clone(&self.0), Arc::clone(&site), asking, order, sender);
        // The task is the service's own: it goes on when the caller hangs up.
        // Under the span of whoever asked, so that it is one trace.
        let carrying = carrier.carry(work, stage.clone());
        self.0
            .tracker
            .spawn(tracing::Instrument::in_current_span(carrying));
        let decided = |stage: &Stage| match stage {
            Stage::Opening => false,
            Stage::Begun(_) => !waits,
            Stage::Known(_) | Stage::Ended(..) | Stage::Refused(_) => true,
        };
        // The task says how it ended before it drops the sender, unless it panicked.
        let stage = stage
            .wait_for(decided)
            .await
            .map_err(|_| ApiError::internal())?
            .clone();
        match stage {
            Stage::Refused(outcome) => Ok(outcome.response()),
            Stage::Ended(_, outcome) if waits => Ok(outcome.response()),
            Stage::Ended(id, outcome) => Ok(accepted(id, outcome.state)),
            Stage::Begun(id) => Ok(accepted(id, CallState::Running)),
            Stage::Known(call) => self.known(&site, *call, waits).await,
            Stage::Opening => Err(ApiError::internal()),
        }
    }

    /// Lets nothing new begin, waits for what is under way at most for `grace`, cuts the rest off and marks it.
    pub(crate) async fn stop(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.0.stopping.cancel();
        self.0.tracker.close();
        if timeout_at(deadline, self.0.tracker.wait()).await.is_err() {
            tracing::warn!(
                calls = self.0.live().len(),
                "calls are cut off: the grace period is over"
            );
            self.0.cut.cancel();
            if timeout_at(deadline + LAST_WORDS, self.0.tracker.wait())
                .await
                .is_err()
            {
                tracing::warn!(
                    "some calls could not be marked as interrupted, their leases end by themselves"
                );
            }
        }
        let upkeep = self
            .0
            .upkeep
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(upkeep) = upkeep {
            upkeep.abort();
        }
    }
}

impl Inner {
    fn live(&self) -> std::sync::MutexGuard<'_, HashMap<CallId, channel::Receiver<Stage>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to look for the answer.
fn accepted(id: CallId, state: CallState) -> Response {
    let location = format!("/api/operations/{id}");
    let body = Accepted {
        id: id.to_string(),
        state: state.into(),
        location: location.clone(),
    };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&location) {
        headers.insert(header::LOCATION, location);
    }
    let applied = HeaderName::from_static("preference-applied");
    headers.insert(applied, HeaderValue::from_static("respond-async"));
    response
}

impl From<JournalError> for ApiError {
    fn from(error: JournalError) -> Self {
        match &error {
            JournalError::Unavailable(_) => Self::database_unavailable(),
            JournalError::Refused { .. } => {
                tracing::error!(error = %Chain(&error), "the database refused a statement");
                Self::internal()
            }
        }
    }
}

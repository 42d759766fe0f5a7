//! One call, from its row to its row.

use std::sync::Arc;
use std::time::Duration;

use call_journal::{CallId, CallState, JournalError, NewCall, Opened};
use ops_runtime::{Chain, Site};
use store_support::NoAnswer;
use tokio::sync::watch as channel;
use tokio::time::sleep;
use tracing::Instrument as _;

use super::outcome::{Failure, Outcome, Work};
use super::{Asking, Inner, LEASE, Order, Stage};
use crate::error::ApiError;
use crate::limits::OperationPlace;

/// How often an answer that has to be kept is offered to the database, and after which pause: for a quarter of an hour.
const OFFERS: u32 = 450;
const OFFER_AGAIN: Duration = Duration::from_secs(2);

/// A call under way.
pub(super) struct Carrier {
    inner: Arc<Inner>,
    site: Arc<Site>,
    call: NewCall,
    /// Whether nothing may begin before the row is there: somebody will come back for the answer.
    must_be_kept: bool,
    sender: channel::Sender<Stage>,
    place: Option<OperationPlace>,
}

/// What became of writing a call down.
enum Row {
    /// It is there.
    Ours,
    /// It may be there, or come; the work may go on.
    Unsure,
    /// It is not there, but the work may go on.
    Absent,
    /// There is nothing to do.
    Elsewhere(Stage),
}

impl Carrier {
    pub(super) fn new(
        inner: Arc<Inner>,
        site: Arc<Site>,
        asking: Asking,
        order: Order,
        sender: channel::Sender<Stage>,
    ) -> (Self, Work) {
        let must_be_kept = asking.wants_async || asking.key.is_some();
        let call = NewCall {
            id: CallId::random(),
            kind: order.kind,
            host: order.host.map(|host| host.as_str().to_owned()),
            reservation: order.reservation,
            lab: order.lab,
            caller: asking.caller.to_string(),
            request_id: asking.request_id,
            key: asking.key,
            request: order.request,
            worker: inner.worker.clone(),
            at: site.clock.now(),
            begun: !must_be_kept,
        };
        let carrier = Self {
            inner,
            site,
            call,
            must_be_kept,
            sender,
            place: asking.place,
        };
        (carrier, order.work)
    }

    /// Does everything; what it waits for is bounded by the work's own limits. `stage` is what others who ask for the
    /// same call wait on.
    pub(super) async fn carry(mut self, work: Work, stage: channel::Receiver<Stage>) {
        let row = match self.row().await {
            Row::Elsewhere(stage) => {
                self.sender.send_replace(stage);
                return;
            }
            row => row,
        };
        let id = self.call.id;
        let inner = Arc::clone(&self.inner);
        let _live = Live::enter(&inner, id, stage);
        if self.must_be_kept
            && let Err((refusal, ours)) = self.begin().await
        {
            let refusal = Outcome::refused(refusal);
            self.sender
                .send_replace(Stage::Refused(Arc::new(refusal.clone())));
            if ours {
                // It may look begun, and its key used up; nothing was done.
                self.insist(&refusal.freeing_key(), &row).await;
            }
            return;
        }
        self.sender.send_replace(Stage::Begun(id));
        let span = tracing::info_span!("call", call.id = %id, call.kind = self.call.kind.as_str());
        // In a task of its own: a panic in it is an answer like any other.
        let mut working = tokio::spawn(work(id).instrument(span));
        let done = tokio::select! {
            done = &mut working => done.unwrap_or_else(|_| Err(ApiError::internal().into())),
            () = self.inner.cut.cancelled() => {
                working.abort();
                Err(Failure::interrupted(ApiError::stopping()))
            }
        };
        self.end(Outcome::of(done), &row).await;
    }

    async fn row(&mut self) -> Row {
        let opening = self.site.calls.open(&self.call, LEASE);
        if !self.must_be_kept {
            let (row, problem) = match self.site.database.spare(opening).await {
                Ok(Ok(_)) => return Row::Ours,
                Ok(Err(error @ JournalError::Unavailable(_))) => (Row::Unsure, Chain(&error).to_string()),
                Ok(Err(error @ JournalError::Refused { .. })) => (Row::Absent, Chain(&error).to_string()),
                Err(late @ NoAnswer::Late) => (Row::Unsure, late.to_string()),
                Err(away @ NoAnswer::Away) => (Row::Absent, away.to_string()),
            };
            tracing::warn!(call.id = %self.call.id, error = problem, "a call begins without a row in the database");
            return row;
        }
        if self.site.database.is_away() {
            let refusal = ApiError::database_unavailable();
            return Row::Elsewhere(Stage::Refused(Arc::new(Outcome::refused(refusal))));
        }
        match opening.await {
            Ok(Opened::New) => Row::Ours,
            Ok(Opened::Known(known)) if known.never_began() => {
                let (id, worker) = (known.id, &self.call.worker);
                match self.site.calls.reopen(id, worker, LEASE).await {
                    Ok(true) => {
                        self.call.id = id;
                        Row::Ours
                    }
                    Ok(false) => Row::Elsewhere(Stage::Known(known)),
                    Err(error) => refused(error),
                }
            }
            Ok(Opened::Known(known)) => Row::Elsewhere(Stage::Known(known)),
            Ok(Opened::Mismatch(id)) => Row::Elsewhere(mismatch(id)),
            Err(error) => refused(error),
        }
    }

    /// Otherwise why not, and whether the row is ours all the same.
    async fn begin(&self) -> Result<(), (ApiError, bool)> {
        let (id, now) = (self.call.id, self.site.clock.now());
        match self.site.calls.begin(id, &self.call.worker, LEASE, now).await {
            Ok(true) => Ok(()),
            // Somebody thought us gone, and marked the call or took it over.
            Ok(false) => Err((ApiError::database_unavailable(), false)),
            Err(error) => Err((error.into(), true)),
        }
    }

    /// Writes the answer down, and lets whoever waits have it.
    async fn end(&mut self, mut outcome: Outcome, row: &Row) {
        let id = self.call.id;
        if outcome.state == CallState::Interrupted {
            tracing::warn!(call.id = %id, "a call was cut off");
        }
        let problem = match self.site.database.spare(self.keep(&outcome, row)).await {
            Ok(kept) => kept.err().map(|error| Chain(&error).to_string()),
            Err(no_answer) => Some(no_answer.to_string()),
        };
        if let Some(error) = &problem {
            tracing::warn!(call.id = %id, error, "a call's answer is not in the database");
        }
        let kept = problem.is_none();
        let intact = outcome.clone();
        if !kept {
            outcome.not_persisted();
        }
        self.sender.send_replace(Stage::Ended(id, Arc::new(outcome)));
        // Without any row there is nothing that would say otherwise, and nobody who could ask for it.
        if !kept && (self.must_be_kept || !matches!(row, Row::Absent)) {
            self.insist(&intact, row).await;
        }
    }

    async fn keep(&self, outcome: &Outcome, row: &Row) -> Result<(), JournalError> {
        let (call, calls) = (&self.call, &self.site.calls);
        let (end, now) = (outcome.end(), self.site.clock.now());
        if matches!(row, Row::Ours) {
            calls.finish(call.id, &call.worker, &end, now).await.map(|_| ())
        } else {
            calls.record(call, &end, now).await
        }
    }

    /// There is a row, or somebody will come back for the answer: it is offered again while the database is away.
    async fn insist(&mut self, outcome: &Outcome, row: &Row) {
        // Others may work meanwhile.
        self.place = None;
        for _ in 0..OFFERS {
            let pause = sleep(OFFER_AGAIN);
            if self.inner.cut.run_until_cancelled(pause).await.is_none() {
                return;
            }
            if self.site.database.is_away() {
                continue;
            }
            match self.keep(outcome, row).await {
                Ok(()) => return,
                Err(JournalError::Unavailable(_)) => {}
                Err(JournalError::Refused { .. }) => return,
            }
        }
        tracing::error!(call.id = %self.call.id, "a call's answer is lost: the database was away for too long");
    }
}

fn refused(error: JournalError) -> Row {
    Row::Elsewhere(Stage::Refused(Arc::new(Outcome::refused(error.into()))))
}

fn mismatch(id: CallId) -> Stage {
    let text = "the Idempotency-Key was used for another request";
    let refusal = ApiError::new(
        axum::http::StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_mismatch",
        text,
    )
    .with("field", "Idempotency-Key")
    .with("id", id.to_string());
    Stage::Refused(Arc::new(Outcome::refused(refusal)))
}

/// A call's place among those under way, as long as it is.
struct Live<'a> {
    inner: &'a Inner,
    id: CallId,
}

impl<'a> Live<'a> {
    fn enter(inner: &'a Inner, id: CallId, stage: channel::Receiver<Stage>) -> Self {
        inner.live().insert(id, stage);
        Self { inner, id }
    }
}

impl Drop for Live<'_> {
    fn drop(&mut self) {
        self.inner.live().remove(&self.id);
    }
}

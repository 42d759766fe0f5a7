//! A call that was asked for before, under the same key.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use call_journal::{CallId, CallRecord, CallState};
use ops_runtime::Site;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::outcome::Outcome;
use super::{Calls, REPLAYED, Stage, accepted, view};
use crate::error::ApiError;

/// How often the database is asked for a call that another process carries out.
const ASK_EVERY: Duration = Duration::from_millis(300);
/// The longest that a repetition waits for the first; longer than any call takes.
const LONGEST: Duration = Duration::from_secs(3600);

impl Calls {
    /// The same call again: its answer, where it is over, or a place to wait for it.
    pub(super) async fn known(
        &self,
        site: &Arc<Site>,
        call: CallRecord,
        waits: bool,
    ) -> Result<Response, ApiError> {
        let mut response = if waits {
            self.answer_again(site, call).await?
        } else {
            // Also when it is over: the answer itself is where `location` says.
            accepted(call.id, call.state)
        };
        response
            .headers_mut()
            .insert(REPLAYED, HeaderValue::from_static("true"));
        Ok(response)
    }

    async fn answer_again(&self, site: &Arc<Site>, call: CallRecord) -> Result<Response, ApiError> {
        let deadline = Instant::now() + LONGEST;
        let id = call.id;
        let mut call = call;
        loop {
            if let Some(outcome) = self.ended_here(id, deadline).await {
                return Ok(outcome.response());
            }
            match (call.state, call.answer.take()) {
                (CallState::Succeeded | CallState::Failed, Some(answer)) => {
                    return Ok(Outcome::stored(call.state, answer).response());
                }
                (CallState::Queued | CallState::Running, _) if Instant::now() < deadline => {}
                _ => return interrupted(site, &call).await,
            }
            if self
                .0
                .stopping
                .run_until_cancelled(sleep(ASK_EVERY))
                .await
                .is_none()
            {
                return Err(ApiError::stopping());
            }
            let again = site.calls.find(id, site.clock.now()).await?;
            call = again.ok_or_else(ApiError::internal)?;
        }
    }

    /// Waits for a call of this process; `None` when it is not one.
    async fn ended_here(&self, id: CallId, deadline: Instant) -> Option<Arc<Outcome>> {
        let mut stage = self.0.live().get(&id).cloned()?;
        let over = stage.wait_for(|stage| matches!(stage, Stage::Ended(..) | Stage::Refused(_)));
        match timeout_at(deadline, over).await.ok()?.ok()?.clone() {
            Stage::Ended(_, outcome) | Stage::Refused(outcome) => Some(outcome),
            Stage::Opening | Stage::Known(_) | Stage::Begun(_) => None,
        }
    }
}

/// Nobody will ever know the answer; what is known is told, and nothing is done a second time.
async fn interrupted(site: &Arc<Site>, call: &CallRecord) -> Result<Response, ApiError> {
    let steps = view::steps_of_call(site, call.id).await?;
    let text = "the call was interrupted; it is not repeated by itself, look at its steps";
    let refusal = ApiError::new(StatusCode::CONFLICT, "call_interrupted", text)
        .with("id", call.id.to_string())
        .with("state", CallState::Interrupted.as_str())
        .with("location", format!("/api/operations/{}", call.id))
        .with("steps", json!(steps));
    Ok(Outcome::refused(refusal).response())
}

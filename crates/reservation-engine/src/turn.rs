//! A wake waits for its turn when so many are due that they have to queue. It waits without the claim on its host:
//! nothing is done there meanwhile, so callers may act on it, and no lease has to be renewed for a place in a queue.

use chrono::{DateTime, Utc};
use lab_model::HostName;
use tracing::info;

use crate::engine::Inner;
use crate::explain::{Wait, WaitCode};
use crate::flow::Flow;
use crate::operation::Step;
use crate::pace::Ticket;
use crate::plan::Act;
use crate::ports::{Station, Store};

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Whether an act may go out now: a wake needs its turn. One that has come and is not needed is given back.
    pub(crate) fn has_turn(&mut self, act: &Act, starts_at: DateTime<Utc>) -> bool {
        let turn = self.turn.take();
        if !matches!(act, Act::Run { step: Step::Wake, .. }) {
            return true;
        }
        match turn.or_else(|| self.inner.pacer.try_turn(starts_at)) {
            Some(turn) => {
                turn.used();
                true
            }
            None => false,
        }
    }
}

/// Waits for the turn of a wake that should be over by `starts_at`; `None` when the engine stops before it has come.
/// What was planned before has to be planned again: the reservation may have been cancelled, or be over.
pub(crate) async fn wait_for_turn<'a, S: Store, T: Station>(
    inner: &'a Inner<S, T>,
    host: &HostName,
    starts_at: DateTime<Utc>,
) -> Option<Ticket<'a>> {
    let turn = inner.pacer.turn(starts_at, |per_minute| {
        let detail = format!("the wake waits its turn, {per_minute} hosts are woken in a minute");
        info!(host.name = %host, wait = WaitCode::Paced.as_str(), "{detail}");
        inner
            .slots
            .note_wait(host, Some(Wait::open(WaitCode::Paced, detail)));
    });
    let turn = inner.stopping.run_until_cancelled(turn).await;
    inner.slots.note_wait(host, None);
    turn
}

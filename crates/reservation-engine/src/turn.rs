//! A wake waits for its turn when so many are due that they have to queue. It waits without the claim on its host:
//! nothing is done there meanwhile, so callers may act on it, and no lease has to be renewed for a place in a queue.

use chrono::{DateTime, Utc};
use lab_model::HostName;
use tracing::info;

use crate::engine::Inner;
use crate::explain::{Wait, WaitCode};
use crate::flow::Flow;
use crate::operation::Step;
use crate::pace::{Place, Ticket};
use crate::plan::Act;
use crate::ports::{Station, Store};

impl<S: Store, T: Station> Flow<'_, S, T> {
    /// Whether an act may go out now: a wake needs its turn, and gets its place in the queue if that has not come. A
    /// turn or a place that is not needed is given back.
    pub(crate) fn take_turn(&mut self, act: &Act, starts_at: DateTime<Utc>) -> Result<(), Place> {
        let (turn, place) = (self.turn.take(), self.place.take());
        if !matches!(act, Act::Run { step: Step::Wake, .. }) {
            return Ok(());
        }
        if let Some(turn) = turn {
            turn.used();
            return Ok(());
        }
        let place = place.filter(|place| place.deadline() == starts_at);
        let Some(place) = place.or_else(|| self.inner.pacer.place(starts_at)) else {
            return Ok(());
        };
        place.try_turn().ok_or(place).map(Ticket::used)
    }
}

/// Waits for the turn of a wake; `None` when the engine stops before it has come. What was planned before has to be
/// planned again: the reservation may have been cancelled, or be over.
pub(crate) async fn wait_for_turn<S: Store, T: Station>(
    inner: &Inner<S, T>,
    host: &HostName,
    place: Place,
) -> Option<Ticket> {
    let turn = place.turn(|per_minute| {
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

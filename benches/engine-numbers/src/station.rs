//! Hosts that boot in a given time and then do what they are told, and what was sent to them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use lab_model::{Clock, HostName, SharedClock};
use reservation_engine::{Observation, Station, Step, StepOrder, StepOutcome, StepReport};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// The wall clock at the beginning, and tokio's from then on: it stands still where time is virtual.
#[derive(Debug)]
pub(crate) struct TokioClock {
    from: DateTime<Utc>,
    began: Instant,
}

impl TokioClock {
    pub(crate) fn shared(from: DateTime<Utc>) -> SharedClock {
        Arc::new(Self {
            from,
            began: Instant::now(),
        })
    }
}

impl Clock for TokioClock {
    fn now(&self) -> DateTime<Utc> {
        self.from + TimeDelta::from_std(self.began.elapsed()).unwrap_or(TimeDelta::MAX)
    }
}

/// An order that reached a station.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The scheduler that gave it.
    pub(crate) by: &'static str,
    pub(crate) host: HostName,
    pub(crate) step: Step,
    pub(crate) at: DateTime<Utc>,
    /// When the station had done it, once it has.
    pub(crate) done_at: Option<DateTime<Utc>>,
}

/// All orders, in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Sent>>>);

impl Log {
    pub(crate) fn all(&self) -> Vec<Sent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many orders for this step have been carried out.
    pub(crate) fn done(&self, step: Step) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let done = all
            .iter()
            .filter(|sent| sent.step == step && sent.done_at.is_some());
        done.count()
    }

    fn add(&self, sent: Sent) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(sent);
        all.len() - 1
    }

    fn end(&self, index: usize, at: DateTime<Utc>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sent) = all.get_mut(index) {
            sent.done_at = Some(at);
        }
    }
}

/// Takes the given time for each wake and each prepare, and none for anything else.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    pub(crate) by: &'static str,
    pub(crate) clock: SharedClock,
    pub(crate) boot: Duration,
    pub(crate) prepare: Duration,
    pub(crate) log: Log,
}

impl Station for Hosts {
    async fn perform(&self, order: StepOrder) -> StepReport {
        let step = order.action.step();
        let index = self.log.add(Sent {
            by: self.by,
            host: order.host,
            step,
            at: self.clock.now(),
            done_at: None,
        });
        let takes = match step {
            Step::Wake => self.boot,
            Step::Prepare => self.prepare,
            _ => Duration::ZERO,
        };
        sleep(takes).await;
        self.log.end(index, self.clock.now());
        StepReport {
            outcome: StepOutcome::Done,
            message: "Exit code 0".to_owned(),
            response_code: Some(0),
            details: Value::Null,
            duration: takes,
            observed: Some(Observation {
                reachable: true,
                booted_at: Some(self.clock.now()),
                ready: Some(true),
                ..Observation::default()
            }),
        }
    }

    async fn observe(&self, _: &HostName, _: Duration) -> Observation {
        Observation {
            reachable: true,
            ready: Some(true),
            ..Observation::default()
        }
    }
}

/// Waits until `reached`, for five minutes at most.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) -> Result<()> {
    const EVERY: Duration = Duration::from_millis(50);
    for _ in 0..6_000 {
        if reached() {
            return Ok(());
        }
        sleep(EVERY).await;
    }
    bail!("{what} was not reached in five minutes")
}

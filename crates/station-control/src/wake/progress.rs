//! What a wake has reached so far.

use std::time::Duration;

use lab_model::HostName;
use reservation_engine::{Observation, Reason};

use super::order::Plan;
use super::report::{Rung, RungReport, RungState, WakeReport};

/// What was reached so far.
#[derive(Default)]
pub(super) struct Progress {
    marks: Vec<RungReport>,
    pub(super) packets: u32,
    pub(super) tries: u32,
    pub(super) warnings: Vec<String>,
    pub(super) already_awake: bool,
    pub(super) observed: Option<Observation>,
}

impl Progress {
    pub(super) fn has(&self, rung: Rung) -> bool {
        self.marks.iter().any(|mark| mark.rung == rung)
    }

    /// Notes a rung. The time of a rung that is reached again stays that of the first time.
    pub(super) fn mark(&mut self, rung: Rung, state: RungState, after: Duration, detail: String) {
        match self.marks.iter_mut().find(|mark| mark.rung == rung) {
            Some(mark) => (mark.state, mark.detail) = (state, detail),
            None => self.marks.push(RungReport {
                rung,
                state,
                after,
                detail,
            }),
        }
    }

    /// The host went down again: what was reached from `rung` on counts no more.
    pub(super) fn fall_below(&mut self, rung: Rung) {
        self.marks.retain(|mark| mark.rung < rung);
    }

    /// The rungs in order, up to the one that failed.
    pub(super) fn rungs(&self, failure: Option<&Reason>, after: Duration) -> Vec<RungReport> {
        let failed = failure.and_then(|reason| {
            let rung = Rung::of(reason)?;
            Some(RungReport {
                rung,
                state: RungState::Failed,
                after,
                detail: reason.detail.clone(),
            })
        });
        let below = |mark: &&RungReport| failed.as_ref().is_none_or(|failed| mark.rung < failed.rung);
        let mut rungs: Vec<_> = self.marks.iter().filter(below).cloned().collect();
        rungs.sort_by_key(|mark| mark.rung);
        rungs.extend(failed);
        rungs
    }

    pub(super) fn report(
        self,
        host: HostName,
        plan: Plan,
        duration: Duration,
        failure: Option<Reason>,
    ) -> WakeReport {
        WakeReport {
            rungs: self.rungs(failure.as_ref(), duration),
            host,
            failure,
            warnings: self.warnings,
            already_awake: self.already_awake && self.packets == 0,
            mac: plan.mac,
            ping_target: plan.ping_target,
            attempts_requested: plan.attempts,
            attempts_used: self.tries,
            wait: plan.pause,
            port: plan.target.port,
            broadcast: plan.target.broadcast,
            duration,
            observed: self.observed,
        }
    }
}

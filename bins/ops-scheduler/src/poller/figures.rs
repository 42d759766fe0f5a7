//! The poller's own gauges.

use ops_runtime::metrics::catalog as m;

use super::Poller;
use super::breaker::Standing;

impl Poller {
    pub(super) fn show_figures(&self) {
        let mut counts = [0_u64; Standing::ALL.len()];
        let mut watched = 0_u64;
        for entry in self.hosts.all() {
            let standing = entry.breaker.standing(&self.breaker);
            if let Some(at) = Standing::ALL.iter().position(|known| *known == standing) {
                counts[at] += 1;
            }
            watched += u64::from(entry.watch_delivers());
        }
        for (standing, count) in Standing::ALL.into_iter().zip(counts) {
            m::POLL_HOSTS.set(&[standing.word()], count);
        }
        m::WATCHES.set(&[], watched);
        let [prompt, slow] = self.lanes.counts();
        m::POLLS_IN_FLIGHT.set(&["prompt"], prompt as u64);
        m::POLLS_IN_FLIGHT.set(&["slow"], slow as u64);
        let stored = self.recorder.figures();
        m::RECORDER_WAITING.set(&["poller"], self.keeper.waiting() as u64);
        m::RECORDER_WAITING.set(&["queue"], stored.waiting);
        m::REPORTS_DROPPED.total(&[], self.keeper.dropped() + stored.lost);
        let kept = [
            ("row", stored.rows),
            ("unchanged", stored.unchanged),
            ("set_aside", stored.set_aside),
            ("older", stored.older),
        ];
        for (word, count) in kept {
            m::HEARTBEATS_KEPT.total(&[word], count);
        }
        m::EVENTS_STORED.total(&[], stored.events);
        m::EVENTS_STALE.total(&[], stored.stale_events);
        m::EVENT_RESYNCS.total(&[], stored.resyncs);
    }
}

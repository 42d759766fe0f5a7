//! What has to be done beside the calls: saying that we live, marking what others left behind, forgetting what is old.

use std::sync::Arc;
use std::time::Duration;

use call_journal::{CallId, JournalError};
use chrono::TimeDelta;
use ops_runtime::{Chain, Site, SiteHandle};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{Inner, LEASE};

/// Often enough that two rounds may fail before a lease ends.
const RENEW_EVERY: Duration = Duration::from_secs(4);
const SWEEP_EVERY: Duration = Duration::from_secs(30);
const FORGET_EVERY: Duration = Duration::from_secs(600);

/// Goes on until it is aborted: calls that are cut off need their leases until they are marked.
pub(super) async fn run(handle: SiteHandle, inner: Arc<Inner>) {
    let Some(site) = handle.opened().await else {
        return;
    };
    let mut ticks = interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = Rounds::new(Instant::now());
    loop {
        ticks.tick().await;
        let alive = said_that_we_live(&site, &inner).await;
        let due = rounds.next(alive, Instant::now());
        if due.sweep
            && let Ok(swept) = site
                .database
                .spare(site.calls.interrupt_lost(site.clock.now()))
                .await
            && let Some(marked @ 1..) = told("swept", swept)
        {
            tracing::warn!(marked, "calls were left behind by a process that is gone");
        }
        if due.forget {
            forget(&site).await;
        }
    }
}

/// Whether the database heard it; without any call, whether it answered whoever asked it last.
async fn said_that_we_live(site: &Site, inner: &Inner) -> bool {
    let ids: Vec<CallId> = inner.live().keys().copied().collect();
    // A database that comes back has to hear it before others take us for gone: nothing may be stuck then.
    let renewing = site.calls.renew(&ids, &inner.worker, LEASE);
    match timeout(RENEW_EVERY, renewing).await {
        Ok(renewed) => told("renewed", renewed).is_some() && !site.database.is_away(),
        Err(_) => {
            site.database.miss();
            false
        }
    }
}

/// What is due when.
struct Rounds {
    /// Since when the database has answered each time.
    answers_since: Option<Instant>,
    sweep_at: Instant,
    forget_at: Instant,
}

/// What is due now.
#[derive(Debug, Default)]
struct Due {
    sweep: bool,
    forget: bool,
}

impl Rounds {
    fn new(now: Instant) -> Self {
        Self {
            answers_since: None,
            sweep_at: now,
            forget_at: now,
        }
    }

    /// After an outage nobody could renew a lease. Who is gone is known once the database has been there for as long as
    /// one lasts.
    fn next(&mut self, answered: bool, now: Instant) -> Due {
        if !answered {
            self.answers_since = None;
            return Due::default();
        }
        let since = *self.answers_since.get_or_insert(now);
        let due = Due {
            sweep: now >= self.sweep_at && now - since >= LEASE,
            forget: now >= self.forget_at,
        };
        if due.sweep {
            self.sweep_at = now + SWEEP_EVERY;
        }
        if due.forget {
            self.forget_at = now + FORGET_EVERY;
        }
        due
    }
}

async fn forget(site: &Site) {
    let settings = &site.settings.api;
    let now = site.clock.now();
    let before = |days: u32| now - TimeDelta::days(i64::from(days));
    let forgetting = site.calls.forget(
        before(settings.call_retention_days),
        before(settings.audit_retention_days),
    );
    if let Some(forgotten) = told("cleaned up", forgetting.await)
        && (forgotten.calls, forgotten.audit) != (0, 0)
    {
        tracing::info!(
            calls = forgotten.calls,
            audit = forgotten.audit,
            "forgot what is old"
        );
    }
}

fn told<T>(what: &str, outcome: Result<T, JournalError>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "the journal of calls could not be {what}");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds after the start at which something is due, with the database away for some of them.
    fn due(until: u64, away: std::ops::Range<u64>) -> (Vec<u64>, Vec<u64>) {
        let start = Instant::now();
        let mut rounds = Rounds::new(start);
        let (mut sweeps, mut forgets) = (Vec::new(), Vec::new());
        for second in (0..=until).step_by(4) {
            let due = rounds.next(!away.contains(&second), start + Duration::from_secs(second));
            sweeps.extend(due.sweep.then_some(second));
            forgets.extend(due.forget.then_some(second));
        }
        (sweeps, forgets)
    }

    #[test]
    fn the_left_behind_are_looked_for_and_the_old_forgotten_for_as_long_as_it_runs() {
        let (sweeps, forgets) = due(3600, 0..0);
        assert_eq!(sweeps[..3], [16, 48, 80]);
        assert_eq!(forgets, [0, 600, 1200, 1800, 2400, 3000, 3600]);
    }

    #[test]
    fn after_an_outage_everybody_gets_the_time_to_say_that_they_live() {
        let (sweeps, forgets) = due(120, 40..60);
        assert_eq!(sweeps, [16, 76, 108], "one was due at 48, and again at 60");
        assert_eq!(forgets, [0]);
    }
}

//! Forgets old heartbeats, events, changes and hours. One copy does it at a time: whoever has the first shard. A second one
//! beside it, while a shard changes hands, does no harm.

use std::mem::discriminant;
use std::time::Duration;

use heartbeat_store::{Held, Retained, RetentionSettings};
use ops_runtime::{Chain, Site, SiteHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use worker_registry::{Duty, Ownership, Shard};

/// After a pass that found nothing more to do.
const EVERY: Duration = Duration::from_secs(900);
/// After one that did not come to the end.
const GOING_ON: Duration = Duration::from_secs(1);
/// How often a worker looks whether the first shard is its own.
const LOOK: Duration = Duration::from_secs(5);
/// After a failed pass, so that a database that is away is not hammered.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Makes a pass now and then, until `stop`; under the shards of `duty`, which has to be one that this worker takes.
pub(crate) async fn run(handle: SiteHandle, ownership: Ownership, duty: Duty, stop: CancellationToken) {
    let heartbeats = &handle.settings().heartbeats;
    if !heartbeats.retention_enabled {
        tracing::info!("heartbeats are kept for ever (OPS_RETENTION)");
        return;
    }
    let settings = heartbeats.retention.clone();
    let Some(Some(site)) = stop.run_until_cancelled(handle.opened()).await else {
        return;
    };
    let mut due = Instant::now();
    let mut was_ours = true;
    let mut rest = GOING_ON;
    let mut told = None;
    while stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_some() {
        let ours = is_ours(&ownership, duty);
        if was_ours && !ours {
            tracing::debug!(pass = "retention", "left to whoever has the first shard");
        }
        was_ours = ours;
        rest = LOOK;
        if !ours {
            // When it comes, it may be long since anybody did it.
            due = Instant::now();
        } else if due <= Instant::now() {
            // Not dropped when it has to stop: it ends after the batch under way, and the next pass goes on.
            let wait = pass(&site, &settings, &stop, &mut told).await;
            due = Instant::now() + wait;
            rest = wait.min(LOOK);
        }
    }
}

async fn pass(
    site: &Site,
    settings: &RetentionSettings,
    stop: &CancellationToken,
    told: &mut Option<Held>,
) -> Duration {
    tracing::debug!(pass = "retention", "looks for what is old");
    let go_on = || !stop.is_cancelled();
    let done = site
        .heartbeats
        .retain_while(settings, site.clock.now(), &go_on)
        .await;
    match done {
        Ok(done) => {
            tell(&done);
            tell_held(told, done.held);
            if done.more { GOING_ON } else { EVERY }
        }
        Err(error) => {
            tracing::warn!(pass = "retention", error = %Chain(&error), "old heartbeats could not be forgotten");
            AFTER_FAILURE
        }
    }
}

fn tell(done: &Retained) {
    if done.total() == 0 {
        return;
    }
    tracing::info!(
        pass = "retention",
        thinned = done.thinned,
        heartbeats = done.heartbeats,
        events = done.events,
        changes = done.changes,
        hours = done.hours,
        more = done.more,
        "forgot what is old"
    );
}

/// Says once why not everything that is old is forgotten, and that it is again.
fn tell_held(told: &mut Option<Held>, held: Option<Held>) {
    let before = std::mem::replace(told, held);
    if before.as_ref().map(discriminant) == held.as_ref().map(discriminant) {
        return;
    }
    match held {
        Some(Held::Apart(ahead)) => tracing::warn!(
            pass = "retention",
            ahead_secs = ahead.num_seconds(),
            "nothing is forgotten: this worker's clock and the database's are apart, so one of the two has to be set right"
        ),
        Some(Held::Jumped(by)) => tracing::warn!(
            pass = "retention",
            days = by.num_days(),
            "old heartbeats are forgotten slowly: since the last pass the clock went on by days. If it is wrong, set it right"
        ),
        None => tracing::info!(pass = "retention", "what is old is forgotten as usual again"),
    }
}

fn is_ours(ownership: &Ownership, duty: Duty) -> bool {
    let first = Shard::all().next();
    first.is_some_and(|first| ownership.shards(duty).contains(first))
}

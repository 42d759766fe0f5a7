//! Asks the database, twice in each interval while hosts rest that refused the password, whether there is reason to look at
//! one before its time; [`rest`](super::rest) judges.

use std::sync::Arc;
use std::time::Duration;

use lab_model::CredentialRef;
use ops_runtime::{Chain, Site};
use tokio::time::{Instant, timeout};

use super::Poller;
use super::breaker::Breaker;
use super::rest::{Changed, Since};

/// The longest time between two askings.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// How long is waited for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Most pages of credentials that are read.
const MAX_PAGES: usize = 40;
/// How many are asked for at once.
const PAGE: u32 = 500;

impl Poller {
    /// Asks, if anybody rests; one answer is told, unless the database gives none.
    pub(super) fn ask_of_rested(&mut self) {
        if self.hosts.resting().next().is_none() {
            return;
        }
        let (site, tell) = (Arc::clone(&self.site), self.tellers.since.clone());
        tokio::spawn(async move {
            let since = ask(&site).await;
            // There is room for the next one; and the answer before that still waits says as much.
            let _ = tell.try_send(since);
        });
    }

    /// Looks at those whose rest is over by what the database says.
    pub(super) fn wake_rested(&mut self, since: &Since) {
        let (catalog, now) = (self.site.catalog.current(), Instant::now());
        for (id, entry) in self.hosts.resting() {
            let Some(stay) = entry.stay else { continue };
            let key = entry.target.name.key();
            let named = catalog.find(key).and_then(|host| host.winrm.credential.as_ref());
            let changed = since.credentials.iter().find(|(name, _)| Some(name) == named);
            let refusals = &mut entry.refusals;
            let (why, wait) =
                if let Some(wait) = changed.and_then(|(_, at)| refusals.ends_by_change(*at, now)) {
                    ("its stored credential was changed", wait)
                } else if since
                    .state(key)
                    .is_some_and(|state| refusals.ends_by_others(state, now))
                {
                    ("it let somebody else's poll in", Duration::ZERO)
                } else {
                    continue;
                };
            entry.breaker = Breaker::default();
            self.schedule.queue(id, stay, now + wait);
            tracing::debug!(host.name = %entry.target.name, why, "the password is tried again");
        }
    }
}

async fn ask(site: &Site) -> Since {
    let states = timeout(PATIENCE, site.heartbeats.host_states()).await;
    let mut states = states.ok().and_then(Result::ok).unwrap_or_default();
    states.sort_by(|a, b| a.host.cmp(&b.host));
    let credentials = match timeout(PATIENCE, credentials(site)).await {
        Ok(Ok(credentials)) => credentials,
        Ok(Err(error)) => {
            tracing::debug!(error, "nobody knows which credentials were changed");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    Since { states, credentials }
}

async fn credentials(site: &Site) -> Result<Vec<(CredentialRef, Changed)>, String> {
    let mut all: Vec<(CredentialRef, Changed)> = Vec::new();
    let catalog = site.catalog.current();
    if !catalog.hosts().iter().any(|host| host.winrm.credential.is_some()) {
        return Ok(all);
    }
    for _ in 0..MAX_PAGES {
        let after = all.last().map(|(name, _)| name.clone());
        let page = site.credentials.store().list(after.as_ref(), PAGE).await;
        let page = page.map_err(|error| Chain(&error).to_string())?;
        if page.is_empty() {
            break;
        }
        let changed = page.into_iter().map(|row| {
            let changed = Changed {
                at: row.updated_at,
                age: row.age,
            };
            (row.reference, changed)
        });
        all.extend(changed);
    }
    Ok(all)
}

//! Hosts at which an engineer works: nothing is begun there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lab_model::HostName;
use serde::Serialize;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use crate::engine::{Engine, Inner};
use crate::explain::{Wait, WaitCode, shown};
use crate::ports::{Station, Store, StoreError};

/// How old the list may be that a pass or a step goes by: many of them in a second read it once.
const FRESH: Duration = Duration::from_secs(1);
/// How often the list is read while a pass is waited for.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Says that a host is worked at, by whom and why. No wake, no prepare and no power order is begun there meanwhile;
/// whoever is there is still released at the end of the hour, without a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// Why, in the owner's words.
    pub reason: String,
    /// Who has the host.
    pub owner: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// When it ends by itself; `None` when somebody has to end it.
    pub until: Option<DateTime<Utc>>,
}

impl Maintenance {
    /// Whether it has not ended by itself at `now`.
    #[must_use]
    pub fn is_in_force(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    pub(crate) fn wait(&self) -> Wait {
        Wait {
            code: WaitCode::Maintenance,
            detail: self.to_string(),
            until: self.until,
        }
    }
}

impl std::fmt::Display for Maintenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            reason,
            owner,
            since,
            until,
        } = self;
        write!(f, "{owner} has the host in maintenance since {}", shown(*since))?;
        if let Some(until) = until {
            write!(f, " until {}", shown(*until))?;
        }
        write!(f, ": {reason}")
    }
}

/// Every host in maintenance.
pub(crate) type Maintained = HashMap<HostName, Maintenance>;

/// What was last read of it.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// With the instant at which it was asked for. Whoever reads keeps the others from reading the same.
    last: tokio::sync::Mutex<Option<(Instant, Arc<Maintained>)>>,
    /// What the last pass went by.
    passed: Mutex<Arc<Maintained>>,
}

impl Watch {
    fn passed(&self) -> Arc<Maintained> {
        Arc::clone(&self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Store, T: Station> Inner<S, T> {
    /// The hosts in maintenance, as they were asked for at most so long ago.
    pub(crate) async fn maintained(&self, at_most: Duration) -> Result<Arc<Maintained>, StoreError> {
        let from = Instant::now().checked_sub(at_most);
        let mut last = self.watch.last.lock().await;
        let fresh = |asked_at: Instant| from.is_some_and(|from| asked_at >= from);
        if let Some((_, known)) = last.as_ref().filter(|(asked_at, _)| fresh(*asked_at)) {
            return Ok(Arc::clone(known));
        }
        let asked_at = Instant::now();
        let read = Arc::new(self.store.maintenance(self.now()).await?);
        *last = Some((asked_at, Arc::clone(&read)));
        Ok(read)
    }

    /// The hosts in maintenance, as a pass needs them.
    pub(crate) async fn maintained_for_pass(&self) -> Result<Arc<Maintained>, StoreError> {
        let read = self.maintained(FRESH).await?;
        let mut passed = self.watch.passed.lock().unwrap_or_else(PoisonError::into_inner);
        tell_changes(&passed, &read);
        *passed = Arc::clone(&read);
        drop(passed);
        Ok(read)
    }

    /// What is known of one host right before something is begun there.
    pub(crate) async fn maintenance_of(&self, host: &HostName) -> Result<Option<Maintenance>, StoreError> {
        let maintained = self.maintained(FRESH).await?;
        let found = maintained.get(host);
        Ok(found.filter(|one| one.is_in_force(self.now())).cloned())
    }
}

fn tell_changes(before: &Maintained, now: &Maintained) {
    for (host, one) in now.iter().filter(|(host, _)| !before.contains_key(host)) {
        info!(host.name = %host, owner = one.owner, reason = one.reason, "maintenance has begun");
    }
    for host in before.keys().filter(|host| !now.contains_key(host)) {
        info!(host.name = %host, "maintenance has ended");
    }
}

impl<S: Store, T: Station> Engine<S, T> {
    /// Waits until a host has come into maintenance or has left it since the last pass, which another pass should
    /// know; it looks every two seconds. While the store does not answer, it waits on.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn maintenance_changed(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            match self.inner.maintained(LOOK_EVERY / 2).await {
                Ok(read) if read != self.inner.watch.passed() => return,
                Ok(_) => {}
                Err(error) => debug!(%error, "the hosts in maintenance could not be read"),
            }
        }
    }

    /// Says whether a host is in maintenance, and since when, why and by whom; at most a second old.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn maintenance(&self, host: &HostName) -> Result<Option<Maintenance>, StoreError> {
        self.inner.maintenance_of(host).await
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_maintenance_reads_as_one_line_and_ends_by_itself() {
        let since = DateTime::UNIX_EPOCH;
        let mut one = Maintenance {
            reason: "new disk".to_owned(),
            owner: "ana".to_owned(),
            since,
            until: None,
        };
        assert!(one.is_in_force(since + TimeDelta::days(900)));
        assert_eq!(
            one.to_string(),
            "ana has the host in maintenance since 1970-01-01T00:00:00Z: new disk"
        );
        one.until = Some(since + TimeDelta::hours(1));
        assert!(one.is_in_force(since + TimeDelta::minutes(59)));
        assert!(!one.is_in_force(since + TimeDelta::hours(1)));
        assert_eq!(one.wait().until, one.until);
    }
}

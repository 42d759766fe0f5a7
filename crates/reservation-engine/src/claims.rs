//! Who holds which host, for a store that lives in one process.

use std::collections::HashMap;
use std::time::Duration;

use lab_model::HostName;
use tokio::time::Instant;

use crate::ports::{Claim, ClaimInfo, FencingToken, StoreError};

/// Keeps claims in memory as [`Store`](crate::Store) promises them, for a store to hold behind the lock that guards
/// its rows. It counts leases by tokio's clock, which tests can pause.
///
/// It is not enough for rows that outlive the process or that several processes share: tokens begin at 1 again.
///
/// ```
/// # use std::time::Duration;
/// # use lab_model::HostName;
/// # use reservation_engine::Claims;
/// let (mut claims, host) = (Claims::default(), HostName::parse("lab-ws-01")?);
/// let claim = claims.take(&host, "one", Duration::from_secs(15)).unwrap();
/// assert!(claims.take(&host, "two", Duration::from_secs(15)).is_none());
/// assert!(claims.renew(&claim, Duration::ZERO)); // given back
/// assert!(claims.check(&claim).is_err());
/// # Ok::<(), lab_model::IdError>(())
/// ```
#[derive(Debug, Default)]
pub struct Claims {
    /// The newest of each host and until when it lasts.
    newest: HashMap<HostName, (Claim, Instant)>,
}

impl Claims {
    /// Takes a host that nobody holds.
    pub fn take(&mut self, host: &HostName, holder: &str, lease: Duration) -> Option<Claim> {
        let (former, now) = (self.newest.get(host), Instant::now());
        if former.is_some_and(|(_, until)| now < *until) {
            return None;
        }
        let claim = Claim {
            host: host.clone(),
            holder: holder.to_owned(),
            token: FencingToken(former.map_or(0, |(claim, _)| claim.token.0) + 1),
        };
        self.newest.insert(host.clone(), (claim.clone(), now + lease));
        Some(claim)
    }

    /// Prolongs a claim that is held, to `lease` from now; no time at all ends it. Says whether it was held.
    pub fn renew(&mut self, claim: &Claim, lease: Duration) -> bool {
        let held = self.holds(claim);
        if held {
            let until = Instant::now() + lease;
            self.newest.insert(claim.host.clone(), (claim.clone(), until));
        }
        held
    }

    /// Refuses what is done under a claim that is not the newest of its host, or whose lease is over.
    ///
    /// # Errors
    /// [`StoreError::Fenced`].
    pub fn check(&self, claim: &Claim) -> Result<(), StoreError> {
        let host = &claim.host;
        let fenced = || StoreError::Fenced { host: host.clone() };
        self.holds(claim).then_some(()).ok_or_else(fenced)
    }

    /// Says who holds a host now.
    #[must_use]
    pub fn find(&self, host: &HostName) -> Option<ClaimInfo> {
        let (claim, left) = self.held(host)?;
        let holder = claim.holder.clone();
        Some(ClaimInfo { holder, left })
    }

    /// Gives the claim that a holder has on a host now.
    #[must_use]
    pub fn find_own(&self, host: &HostName, holder: &str) -> Option<Claim> {
        let (claim, _) = self.held(host)?;
        (claim.holder == holder).then(|| claim.clone())
    }

    /// The claim under which a host is held now, and what is left of its lease.
    pub(crate) fn held(&self, host: &HostName) -> Option<(&Claim, Duration)> {
        let (claim, until) = self.newest.get(host)?;
        let left = until.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some((claim, left))
    }

    fn holds(&self, claim: &Claim) -> bool {
        self.held(&claim.host).is_some_and(|(held, _)| held == claim)
    }
}

//! How many wrong tokens may be tried from one address, so that nobody guesses at the speed of the line.
//!
//! Beyond that, nothing that comes from there is compared any more for a while. Our own proxies are exempt, since what
//! one of their callers does must not shut out all others: they are told apart by whom the proxy calls for.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use crate::error::ApiError;

/// How long one wrong token counts.
const EACH: Duration = Duration::from_millis(200);
/// How many count at the same time before no more are looked at: a script with an old token stays far below.
const MOST: u32 = 100;
/// Addresses that are remembered; those beyond them go uncounted.
const REMEMBERED: usize = 4096;

/// Counts wrong tokens for each address; clones share the counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures(Arc<Mutex<HashMap<IpAddr, Instant>>>);

impl Failures {
    /// Notes a wrong token.
    pub(crate) fn note(&self, from: IpAddr) {
        let now = Instant::now();
        let mut forgiven_at = self.lock();
        if forgiven_at.len() >= REMEMBERED {
            forgiven_at.retain(|_, at| *at > now);
        }
        let from = network(from);
        if forgiven_at.len() < REMEMBERED || forgiven_at.contains_key(&from) {
            let at = forgiven_at.entry(from).or_insert(now);
            *at = (*at).max(now) + EACH;
        }
    }

    /// Whether tokens from there are looked at now.
    ///
    /// # Errors
    /// 429 when there were too many wrong ones.
    pub(crate) fn check(&self, from: IpAddr) -> Result<(), ApiError> {
        let all = self.lock().get(&network(from)).copied();
        let wait = all.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
        let Some(beyond) = wait.checked_sub(EACH * MOST).filter(|beyond| !beyond.is_zero()) else {
            return Ok(());
        };
        let text = "too many wrong tokens from this address";
        Err(
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", text)
                .retry_after(beyond.as_secs() + 1),
        )
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has an address of IPv6 has its whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_may_be_wrong_and_then_one_in_a_while() {
        let failures = Failures::default();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        let mut looked_at = 0;
        for _ in 0..1000 {
            if failures.check(one).is_ok() {
                looked_at += 1;
                failures.note(one);
            }
        }
        assert_eq!(looked_at, MOST + 1);
        assert_eq!(failures.check(one).unwrap_err().status(), 429);
        assert!(failures.check(other).is_ok(), "each for itself");
        tokio::time::sleep(EACH).await;
        assert!(failures.check(one).is_ok(), "nobody is shut out for long");
        failures.note(one);
        assert!(failures.check(one).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_of_ipv6_counts_as_one_and_memory_is_bounded() {
        let failures = Failures::default();
        for host in 0..=MOST {
            failures.note(address(&format!("2001:db8::{host:x}")));
        }
        assert!(failures.check(address("2001:db8::ffff")).is_err());
        assert!(failures.check(address("2001:db8:0:1::1")).is_ok());
        for at in 0..10_000_u32 {
            failures.note(IpAddr::from((0x0a00_0000 + at).to_be_bytes()));
        }
        assert_eq!(failures.lock().len(), REMEMBERED);
        assert!(
            failures.check(address("2001:db8::1")).is_err(),
            "the known ones stay"
        );
        tokio::time::sleep(EACH * (MOST + 1)).await;
        failures.note(address("192.0.2.1"));
        assert_eq!(failures.lock().len(), 1, "who is forgiven is forgotten");
    }
}

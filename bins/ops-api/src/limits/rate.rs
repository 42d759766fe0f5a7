//! How many calls a minute one token may make.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::StatusCode;
use governor::clock::{Clock as _, MonotonicClock};
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::auth::Caller;
use crate::error::ApiError;

/// Session cookies are callers of their own; those that have not called for a while are forgotten beyond so many.
const REMEMBERED: usize = 4096;

type Limiter = RateLimiter<Arc<str>, HashMapStateStore<Arc<str>>, MonotonicClock>;

/// Counts calls for each token; clones share the counts.
#[derive(Debug, Clone)]
pub(crate) struct Rate(Option<Arc<Limiter>>);

impl Rate {
    /// At most `per_minute` calls a minute, which may come all at once; 0 means any number.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self(NonZeroU32::new(per_minute).map(|calls| {
            let quota = Quota::per_minute(calls);
            Arc::new(RateLimiter::new(
                quota,
                HashMapStateStore::default(),
                MonotonicClock,
            ))
        }))
    }

    /// Counts one call, or refuses it with 429.
    pub(crate) fn count(&self, caller: &Caller) -> Result<(), ApiError> {
        let Some(limiter) = &self.0 else {
            return Ok(());
        };
        if limiter.len() > REMEMBERED {
            limiter.retain_recent();
        }
        limiter.check_key(&caller.name).map_err(|not_before| {
            let wait = not_before.wait_time_from(MonotonicClock.now());
            let text = "too many calls by this caller";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", text)
                .retry_after(wait.as_secs() + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_count_of_its_own_and_0_means_no_limit() {
        let rate = Rate::new(3);
        let [one, two] = ["one", "two"].map(Caller::for_test);
        for _ in 0..3 {
            rate.count(&one).unwrap();
        }
        assert_eq!(rate.count(&one).unwrap_err().status(), 429);
        rate.count(&two).unwrap();
        let free = Rate::new(0);
        assert!((0..1000).all(|_| free.count(&one).is_ok()));
    }
}

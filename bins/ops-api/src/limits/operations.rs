//! How many state-changing operations run at the same time, over all callers.

use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// After how many seconds whoever found no place may ask again.
const COME_BACK_SECS: u64 = 2;

/// The places for operations; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Operations(Arc<Semaphore>);

impl Operations {
    /// At most `most` at the same time.
    pub(crate) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most)))
    }

    /// A place, or 429. Nobody waits for one: a queue of callers would hold connections and grow old.
    pub(crate) fn enter(&self) -> Result<OperationPlace, ApiError> {
        match Arc::clone(&self.0).try_acquire_owned() {
            Ok(permit) => Ok(OperationPlace(Arc::new(permit))),
            Err(_) => Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_operations",
                "too many operations are under way",
            )
            .retry_after(COME_BACK_SECS)),
        }
    }
}

/// The right to run one operation; given back when its last clone is dropped. It is an extension of every
/// state-changing request: work that goes on after the answer was sent takes a clone along.
#[derive(Debug, Clone)]
pub(crate) struct OperationPlace(#[expect(dead_code, reason = "held, never read")] Arc<OwnedSemaphorePermit>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_with_its_last_clone() {
        let operations = Operations::new(1);
        let place = operations.enter().unwrap();
        let along = place.clone();
        drop(place);
        assert_eq!(operations.enter().unwrap_err().status(), 429);
        drop(along);
        assert!(operations.enter().is_ok());
    }
}

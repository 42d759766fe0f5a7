//! How many event streams are open at the same time, in all and for each caller.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use crate::auth::Caller;
use crate::error::ApiError;

/// After how many seconds whoever found no place may ask again.
const COME_BACK_SECS: u64 = 5;

/// The places for event streams; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    most_of_one: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<Arc<str>, usize>,
}

impl Streams {
    /// At most `most` in all, and `most_of_one` for one caller.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Self {
        Self(Arc::new(Inner {
            most,
            most_of_one,
            open: Mutex::default(),
        }))
    }

    /// A place for one stream of `caller`, until it is dropped: let it live in the stream itself.
    pub(crate) fn enter(&self, caller: &Caller) -> Result<StreamPlace, ApiError> {
        let mut open = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, of_one) = (open.all, open.of.get(&caller.name).copied().unwrap_or(0));
        let whose = match (all >= self.0.most, of_one >= self.0.most_of_one) {
            (true, _) => "in all",
            (_, true) => "by this caller",
            (false, false) => {
                open.all += 1;
                *open.of.entry(Arc::clone(&caller.name)).or_default() += 1;
                return Ok(StreamPlace {
                    inner: Arc::clone(&self.0),
                    caller: Arc::clone(&caller.name),
                });
            }
        };
        let text = format!("too many event streams are open {whose}");
        Err(
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", text)
                .retry_after(COME_BACK_SECS),
        )
    }

    /// How many are open now.
    pub(crate) fn open(&self) -> usize {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// The right to keep one event stream open; given back when dropped.
#[derive(Debug)]
pub(crate) struct StreamPlace {
    inner: Arc<Inner>,
    caller: Arc<str>,
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut open = self.inner.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(of_one) = open.of.get_mut(&self.caller) {
            *of_one -= 1;
            if *of_one == 0 {
                open.of.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_all_and_for_each_caller_and_given_back() {
        let streams = Streams::new(3, 2);
        let [one, two] = ["one", "two"].map(Caller::for_test);
        let first = streams.enter(&one).unwrap();
        let second = streams.enter(&one).unwrap();
        assert!(streams.enter(&one).is_err(), "two are enough for one");
        let third = streams.enter(&two).unwrap();
        assert!(streams.enter(&two).is_err(), "three are enough for all");
        assert_eq!(streams.open(), 3);
        drop(first);
        let again = streams.enter(&two).unwrap();
        drop((second, third, again));
        assert_eq!(streams.open(), 0);
        let open = streams.0.open.lock().unwrap();
        assert!(open.of.is_empty(), "nobody is remembered");
    }
}

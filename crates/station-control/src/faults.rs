//! How often calls to hosts failed since the process began, by code: what monitoring asks for, and nobody else.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Shared by the whole process, since a failed call is known before anybody knows whose it was. Codes are few.
static FAULTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

pub(crate) fn count(code: &'static str) {
    let mut faults = FAULTS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = faults.entry(code).or_default();
    *count = count.saturating_add(1);
}

/// How many calls to hosts have failed in this process so far, by the code of [`StationError`](crate::StationError).
#[must_use]
pub fn faults() -> BTreeMap<&'static str, u64> {
    FAULTS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

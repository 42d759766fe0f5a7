//! Making values fit their columns.

use chrono::{DateTime, NaiveDateTime, Timelike as _, Utc};

/// For `DATETIME(6)` columns: whole microseconds, so that what is read equals what was written on both backends.
pub(crate) fn microseconds(at: DateTime<Utc>) -> NaiveDateTime {
    let at = at.naive_utc();
    at.with_nanosecond(at.nanosecond() / 1000 * 1000).unwrap_or(at)
}

/// At most `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

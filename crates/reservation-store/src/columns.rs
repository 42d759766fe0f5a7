//! Making values fit their columns.

use chrono::{DateTime, NaiveDateTime, Timelike as _, Utc};

/// For `DATETIME` and `TIMESTAMP` columns: whole seconds, cut and not rounded, since MySQL would round and
/// MariaDB would cut.
pub(crate) fn whole_seconds(at: DateTime<Utc>) -> NaiveDateTime {
    let at = at.naive_utc();
    at.with_nanosecond(0).unwrap_or(at)
}

/// For `DATETIME(6)` columns: whole microseconds, so that what is read equals what was written on both
/// backends.
pub(crate) fn microseconds(at: DateTime<Utc>) -> NaiveDateTime {
    let at = at.naive_utc();
    at.with_nanosecond(at.nanosecond() / 1000 * 1000).unwrap_or(at)
}

/// At most `limit` characters.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    text.chars().take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_cut_not_rounded() {
        let at: DateTime<Utc> = "2026-03-01T09:00:00.999999999Z".parse().unwrap();
        assert_eq!(whole_seconds(at).to_string(), "2026-03-01 09:00:00");
        assert_eq!(microseconds(at).to_string(), "2026-03-01 09:00:00.999999");
    }
}

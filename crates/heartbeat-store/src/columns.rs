//! Making values fit their columns, so that an odd value costs its surplus and not the whole row.

use chrono::{DateTime, Datelike as _, NaiveDateTime, Timelike as _, Utc};

/// For a `DATETIME` column: whole seconds, cut and not rounded, since MySQL would round and MariaDB would
/// cut. `None` for a year that the column cannot hold; a station's clock may say anything.
pub(crate) fn whole_seconds(at: DateTime<Utc>) -> Option<NaiveDateTime> {
    fits(at).and_then(|at| at.with_nanosecond(0))
}

/// For a `DATETIME(6)` column: whole microseconds.
pub(crate) fn microseconds(at: DateTime<Utc>) -> Option<NaiveDateTime> {
    fits(at).and_then(|at| at.with_nanosecond(at.nanosecond() / 1000 * 1000))
}

fn fits(at: DateTime<Utc>) -> Option<NaiveDateTime> {
    let at = at.naive_utc();
    (1000..=9999).contains(&at.year()).then_some(at)
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
        assert_eq!(whole_seconds(at).unwrap().to_string(), "2026-03-01 09:00:00");
        assert_eq!(
            microseconds(at).unwrap().to_string(),
            "2026-03-01 09:00:00.999999"
        );
        assert_eq!(whole_seconds("0001-01-01T00:00:00Z".parse().unwrap()), None);
    }

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("äöü", 2), "äö");
    }
}

//! Making values fit their columns, so that an odd value costs its surplus and not the whole row.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, Timelike as _, Utc};
use sea_orm::QueryResult;
use store_support::{Backend, DbErr};

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

/// A stamp of a row. SQLite has it as a text, which the driver tries to read in several forms, the usual one late.
pub(crate) fn read_instant(
    row: &QueryResult,
    index: usize,
    backend: Backend,
) -> Result<Option<NaiveDateTime>, DbErr> {
    if backend == Backend::Sqlite {
        match row.try_get_by_index::<Option<String>>(index) {
            Ok(None) => return Ok(None),
            Ok(Some(text)) => {
                if let Some(at) = usual_instant(&text) {
                    return Ok(Some(at));
                }
            }
            // A number, say.
            Err(_) => {}
        }
    }
    row.try_get_by_index(index)
}

/// Reads `2026-03-01 09:00:00`, with three, six or nine digits behind a point or none.
fn usual_instant(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| {
        let digits = bytes.get(range)?;
        digits.iter().try_fold(0_u32, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if bytes.len() < 19 || marks.iter().any(|(at, mark)| bytes[*at] != *mark) {
        return None;
    }
    let nanos = match (bytes.len(), bytes.get(19)) {
        (19, _) => 0,
        (23, Some(b'.')) => number(20..23)? * 1_000_000,
        (26, Some(b'.')) => number(20..26)? * 1_000,
        (29, Some(b'.')) => number(20..29)?,
        _ => return None,
    };
    let year = i32::try_from(number(0..4)?).ok()?;
    let day = NaiveDate::from_ymd_opt(year, number(5..7)?, number(8..10)?)?;
    day.and_hms_nano_opt(number(11..13)?, number(14..16)?, number(17..19)?, nanos)
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
    fn the_usual_form_of_a_stamp_is_read_as_the_library_reads_it() {
        for text in [
            "2026-03-01 09:00:00",
            "2026-03-01 09:00:00.5",
            "2026-03-01 09:00:00.120",
            "2026-03-01 09:00:00.000001",
            "9999-12-31 23:59:59.999999999",
            "2024-02-29 00:00:00",
            "2025-02-29 00:00:00",
            "2026-03-01T09:00:00",
            "2026-03-01 24:00:00",
            "2026-03-01 09:00:0é",
            "+026-03-01 09:00:00",
            "",
        ] {
            let expected = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok();
            let usual = usual_instant(text);
            assert!(usual.is_none() || usual == expected, "{text}");
            let is_usual =
                expected.is_some() && matches!(text.len(), 19 | 23 | 26 | 29) && !text.starts_with('+');
            assert_eq!(usual.is_some(), is_usual, "{text}");
        }
    }

    #[test]
    fn texts_are_cut_by_characters() {
        assert_eq!(cut("äöü", 2), "äö");
    }
}

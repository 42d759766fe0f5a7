//! Time stamps as stations write them.

use chrono::{DateTime, Datelike, NaiveDateTime, Utc};

/// Years a real stamp can have; what lies outside is a broken clock and would not fit into a database.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9998;

/// Reads an ISO 8601 stamp with `Z`, with an offset, or with neither, which then means UTC. A blank may stand
/// for the `T`. `None` for anything else and for years outside 1970 to 9998.
pub fn parse_stamp(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    // Longer ones exist in no format; chrono need not look at megabytes.
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    let with_offset = || {
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%z"))
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%z"))
    };
    let without = || {
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
            .iter()
            .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
    };
    let stamp = with_offset()
        .map(|stamp| stamp.to_utc())
        .ok()
        .or_else(|| without().map(|stamp| stamp.and_utc()))?;
    YEARS.contains(&stamp.year()).then_some(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_with_and_without_a_zone_are_read() {
        for text in [
            "2026-03-01T09:00:00Z",
            "2026-03-01T10:00:00+01:00",
            "2026-03-01T10:00:00+0100",
            "2026-03-01T09:00:00",
            "2026-03-01 09:00:00",
            "2026-03-01 09:00:00.000Z",
            " 2026-03-01T09:00 ",
            "2026-02-28T22:30:00-10:30",
        ] {
            assert_eq!(
                parse_stamp(text).unwrap().to_rfc3339(),
                "2026-03-01T09:00:00+00:00",
                "{text}"
            );
        }
        let fraction = parse_stamp("2026-03-01T09:00:00.250").unwrap();
        assert_eq!(fraction.timestamp_subsec_millis(), 250);
    }

    #[test]
    fn anything_else_is_no_stamp() {
        for text in [
            "",
            "now",
            "2026-13-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "1767225600",
            "2026-03-01",
        ] {
            assert_eq!(parse_stamp(text), None, "{text}");
        }
        assert_eq!(parse_stamp(&"2".repeat(1 << 20)), None);
    }
}

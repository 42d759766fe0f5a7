//! Times as people write and read them: durations such as `1h30m`, instants in local time, and how long ago.

use std::time::Duration;

use chrono::{
    DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc,
};

/// No duration on the command line is longer.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// In which zone times are shown and read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Zone {
    Local,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests do not depend on the machine's zone")
    )]
    Fixed(FixedOffset),
}

/// Now, and the zone of whoever reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) now: DateTime<Utc>,
    pub(crate) zone: Zone,
}

impl Moment {
    /// This machine's.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where this program looks at the clock"
    )]
    pub(crate) fn now() -> Self {
        Self {
            now: Utc::now(),
            zone: Zone::Local,
        }
    }

    fn offset(self, at: DateTime<Utc>) -> DateTime<FixedOffset> {
        match self.zone {
            Zone::Local => at.with_timezone(&Local).fixed_offset(),
            Zone::Fixed(offset) => at.with_timezone(&offset),
        }
    }

    fn in_utc(self, local: NaiveDateTime) -> Option<DateTime<Utc>> {
        match self.zone {
            // Of an hour that comes twice, the first.
            Zone::Local => Local.from_local_datetime(&local).earliest().map(|at| at.to_utc()),
            Zone::Fixed(offset) => offset
                .from_local_datetime(&local)
                .earliest()
                .map(|at| at.to_utc()),
        }
    }

    /// `09:14:02` today, `2026-03-01 09:14` on another day.
    pub(crate) fn clock(self, at: DateTime<Utc>) -> String {
        let (at, today) = (self.offset(at), self.offset(self.now));
        if at.date_naive() == today.date_naive() {
            at.format("%H:%M:%S").to_string()
        } else {
            at.format("%Y-%m-%d %H:%M").to_string()
        }
    }

    /// `12 s ago`, `in 3 min`.
    pub(crate) fn relative(self, at: DateTime<Utc>) -> String {
        let distance = at - self.now;
        let ahead = distance > TimeDelta::zero();
        let distance = distance.abs().to_std().unwrap_or(LONGEST);
        if distance < Duration::from_secs(1) {
            return "now".into();
        }
        match ahead {
            true => format!("in {}", span(distance)),
            false => format!("{} ago", span(distance)),
        }
    }

    /// Both.
    pub(crate) fn both(self, at: DateTime<Utc>) -> String {
        format!("{} ({})", self.clock(at), self.relative(at))
    }

    /// Reads an instant: RFC 3339, `2026-03-01 09:00` or `09:00` in local time, `now`, or a distance such as `2h`,
    /// `+2h` (from now on) or `-2h` (ago).
    ///
    /// # Errors
    /// A sentence that says what can be read.
    pub(crate) fn parse(self, text: &str) -> Result<DateTime<Utc>, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(self.now);
        }
        if let Ok(at) = DateTime::parse_from_rfc3339(text) {
            return Ok(at.to_utc());
        }
        let (ahead, distance) = match text.strip_prefix('-') {
            Some(rest) => (false, rest),
            None => (true, text.strip_prefix('+').unwrap_or(text)),
        };
        if let Ok(distance) = duration(distance) {
            let distance = TimeDelta::from_std(distance).unwrap_or_default();
            return Ok(if ahead {
                self.now + distance
            } else {
                self.now - distance
            });
        }
        let today = self.offset(self.now).date_naive();
        local(text, today)
            .and_then(|local| self.in_utc(local))
            .ok_or_else(|| {
                format!(
                    "{text:?} is no time: write 2026-03-01T09:00:00Z, \"2026-03-01 09:00\", 09:00, 2h or -2h"
                )
            })
    }
}

fn local(text: &str, today: NaiveDate) -> Option<NaiveDateTime> {
    for pattern in [
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%dT%H:%M",
    ] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, pattern) {
            return Some(at);
        }
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.and_time(NaiveTime::MIN));
    }
    let time = ["%H:%M:%S", "%H:%M"].iter();
    time.flat_map(|pattern| NaiveTime::parse_from_str(text, pattern))
        .next()
        .map(|time| today.and_time(time))
}

/// Reads `90s`, `15m`, `2h`, `1h30m`, `500ms`, `2d`; a bare number means seconds.
///
/// # Errors
/// A sentence that says what can be read.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration: write 90s, 15m, 2h, 1h30m, 500ms or 2d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let letters = after
            .find(|letter: char| letter.is_ascii_digit())
            .unwrap_or(after.len());
        let unit_ms: u64 = match &after[..letters] {
            "ms" => 1,
            "" | "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number
            .checked_mul(unit_ms)
            .map(Duration::from_millis)
            .ok_or_else(wrong)?;
        whole = whole.checked_add(part).ok_or_else(wrong)?;
        rest = &after[letters..];
    }
    match whole {
        whole if whole > LONGEST => Err(format!("{text:?} is longer than a year")),
        whole => Ok(whole),
    }
}

/// A span in the one or two units that matter: `850 ms`, `12 s`, `3 min`, `2 h 05 min`, `4 d`.
pub(crate) fn span(span: Duration) -> String {
    let secs = span.as_secs();
    match secs {
        0 => format!("{} ms", span.as_millis()),
        1..=119 => format!("{secs} s"),
        120..=7_199 => format!("{} min", secs / 60),
        7_200..=172_799 => format!("{} h {:02} min", secs / 3_600, secs % 3_600 / 60),
        _ => format!("{} d", secs / 86_400),
    }
}

/// The same for a number of milliseconds.
pub(crate) fn span_ms(ms: u64) -> String {
    span(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn noon() -> Moment {
        Moment {
            now: at("2026-03-01T12:00:00Z"),
            zone: Zone::Fixed(FixedOffset::east_opt(3600).unwrap()),
        }
    }

    #[test]
    fn durations_are_read_in_all_units_and_nonsense_is_refused() {
        for (text, ms) in [
            ("90s", 90_000),
            ("90", 90_000),
            ("15m", 900_000),
            ("15min", 900_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(ms), "{text}");
        }
        for wrong in [
            "",
            "h",
            "-1s",
            "1x",
            "1.5h",
            "400d",
            "99999999999999999999s",
            "18446744073709551615d",
            "\u{663}s",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn instants_are_read_as_rfc_3339_in_local_time_and_as_distances() {
        for (text, expected) in [
            ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z"),
            ("2026-03-01T09:00:00+02:00", "2026-03-01T07:00:00Z"),
            ("2026-03-02 09:00", "2026-03-02T08:00:00Z"),
            ("2026-03-02", "2026-03-01T23:00:00Z"),
            ("14:30", "2026-03-01T13:30:00Z"),
            ("2h", "2026-03-01T14:00:00Z"),
            ("+90s", "2026-03-01T12:01:30Z"),
            ("-1d", "2026-02-28T12:00:00Z"),
            ("now", "2026-03-01T12:00:00Z"),
        ] {
            assert_eq!(noon().parse(text), Ok(at(expected)), "{text}");
        }
        assert!(noon().parse("tomorrow").unwrap_err().contains("tomorrow"));
    }

    #[test]
    fn times_are_shown_in_local_time_with_their_distance() {
        assert_eq!(noon().both(at("2026-03-01T11:59:48Z")), "12:59:48 (12 s ago)");
        assert_eq!(
            noon().both(at("2026-03-03T08:00:00Z")),
            "2026-03-03 09:00 (in 44 h 00 min)"
        );
        assert_eq!(noon().relative(at("2026-03-01T12:00:00Z")), "now");
    }

    #[test]
    fn spans_have_the_units_that_matter() {
        for (ms, shown) in [
            (850, "850 ms"),
            (12_400, "12 s"),
            (180_000, "3 min"),
            (7_500_000, "2 h 05 min"),
            (400_000_000, "4 d"),
        ] {
            assert_eq!(span_ms(ms), shown);
        }
    }
}

//! What Windows says of itself, and when it really booted.

use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, TimeZone, Utc};

/// The values of `Win32_OperatingSystem` that tell one boot from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OsFacts {
    /// The computer's name (`CSName`).
    pub computer_name: String,
    /// When it booted, by its own clock (`LastBootUpTime`).
    pub last_boot: DateTime<FixedOffset>,
    /// What its clock showed when it answered (`LocalDateTime`).
    pub local_now: DateTime<FixedOffset>,
    /// How long it has been running: the difference, in which a wrong clock cancels out.
    pub uptime: Duration,
}

/// Why the values are no facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OsFactsError {
    /// A value is no CIM time.
    #[error("{property} {text:?} is no CIM time")]
    NotATime {
        /// Name of the property.
        property: &'static str,
        /// The value, at most 64 characters of it.
        text: String,
    },
    /// The host claims to have booted after now.
    #[error("LastBootUpTime {last_boot} is after LocalDateTime {local_now}")]
    BootedInTheFuture {
        /// When it booted, by its own clock.
        last_boot: DateTime<FixedOffset>,
        /// What its clock showed.
        local_now: DateTime<FixedOffset>,
    },
}

impl OsFacts {
    /// Takes the three values as text.
    ///
    /// # Errors
    /// [`OsFactsError`] for a value that is no time, and for a boot after now. A second of the latter is let
    /// pass: the two values are not taken at one instant.
    pub fn from_values(computer_name: &str, last_boot: &str, local_now: &str) -> Result<Self, OsFactsError> {
        let time = |property, text: &str| {
            let refused = || OsFactsError::NotATime {
                property,
                text: text.chars().take(64).collect(),
            };
            parse_cim_datetime(text).ok_or_else(refused)
        };
        let last_boot = time("LastBootUpTime", last_boot)?;
        let local_now = time("LocalDateTime", local_now)?;
        let running = local_now.signed_duration_since(last_boot);
        if running < TimeDelta::seconds(-1) {
            return Err(OsFactsError::BootedInTheFuture { last_boot, local_now });
        }
        let uptime = running.to_std().unwrap_or_default();
        Ok(Self {
            computer_name: computer_name.trim().to_owned(),
            last_boot,
            local_now,
            uptime,
        })
    }

    /// When it booted, by our clock: `observed_at` is when we had the answer. Later than the truth by the
    /// time the answer took.
    pub fn booted_at(&self, observed_at: DateTime<Utc>) -> DateTime<Utc> {
        let uptime = TimeDelta::from_std(self.uptime).unwrap_or(TimeDelta::MAX);
        observed_at
            .checked_sub_signed(uptime)
            .unwrap_or(DateTime::<Utc>::MIN_UTC)
    }

    /// How far its clock is ahead of ours; negative when it is behind.
    pub fn clock_ahead(&self, observed_at: DateTime<Utc>) -> TimeDelta {
        self.local_now.to_utc().signed_duration_since(observed_at)
    }
}

/// Reads a CIM time: ISO 8601 with an offset, as WS-Management sends it, or `yyyymmddHHMMSS.ffffff+UUU` with
/// the offset in minutes. Without an offset it counts as UTC. `None` for anything else, intervals included.
///
/// Source: DSP0004, 5.2.4, for the second form.
pub fn parse_cim_datetime(text: &str) -> Option<DateTime<FixedOffset>> {
    let text = text.trim();
    if text.len() > 64 || !text.is_ascii() {
        return None;
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time);
    }
    dmtf(text).or_else(|| crate::stamp::parse_stamp(text).map(|time| time.fixed_offset()))
}

fn dmtf(text: &str) -> Option<DateTime<FixedOffset>> {
    if text.len() != 25 || text.as_bytes()[14] != b'.' {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u32> {
        let digits = &text[from..to];
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| digits.parse().ok())?
    };
    let sign = match text.as_bytes()[21] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let minutes = i32::try_from(number(22, 25)?).ok()? * sign;
    let date = NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(4, 6)?, number(6, 8)?)?;
    let micro = number(15, 21)?;
    let local = date.and_hms_micro_opt(number(8, 10)?, number(10, 12)?, number(12, 14)?, micro)?;
    FixedOffset::east_opt(minutes * 60)?
        .from_local_datetime(&local)
        .single()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn both_spellings_mean_the_same_instant() {
        let expected = utc("2026-03-01T08:00:00.500Z");
        for text in [
            "2026-03-01T09:00:00.500000+01:00",
            "20260301090000.500000+060",
            "2026-03-01T08:00:00.5Z",
            "20260301070000.500000-060",
            "2026-03-01T08:00:00.5",
        ] {
            assert_eq!(parse_cim_datetime(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "00000001132312.000000:000",
            "20260301090000.500000+xyz",
            "20261301090000.500000+060",
            "2026-03-01",
            "20260301090000.******+060",
        ] {
            assert_eq!(parse_cim_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn the_boot_is_told_by_our_clock_however_wrong_theirs_is() {
        let observed_at = utc("2026-03-01T12:00:00Z");
        for (boot, now) in [
            ("2026-03-01T12:55:00+01:00", "2026-03-01T13:00:00+01:00"),
            ("1999-12-31T23:58:00-05:00", "2000-01-01T00:03:00-05:00"),
            ("20310101000000.000000+000", "20310101000500.000000+000"),
        ] {
            let facts = OsFacts::from_values("LAB-WS-01\n", boot, now).unwrap();
            assert_eq!(facts.uptime, Duration::from_secs(300));
            assert_eq!(facts.booted_at(observed_at), utc("2026-03-01T11:55:00Z"));
            assert_eq!(facts.computer_name, "LAB-WS-01");
        }
    }

    #[test]
    fn a_wrong_clock_is_measured() {
        let facts = OsFacts::from_values("x", "2026-03-01T10:00:00Z", "2026-03-01T11:59:30Z").unwrap();
        assert_eq!(
            facts.clock_ahead(utc("2026-03-01T12:00:00Z")),
            TimeDelta::seconds(-30)
        );
    }

    #[test]
    fn values_that_are_no_facts_are_refused_by_name() {
        let error = OsFacts::from_values("x", "soon", "2026-03-01T11:59:30Z").unwrap_err();
        assert_eq!(error.to_string(), "LastBootUpTime \"soon\" is no CIM time");
        let future = OsFacts::from_values("x", "2026-03-01T12:00:00Z", "2026-03-01T11:00:00Z").unwrap_err();
        assert!(matches!(future, OsFactsError::BootedInTheFuture { .. }));
        let same = OsFacts::from_values("x", "2026-03-01T12:00:00.9Z", "2026-03-01T12:00:00Z").unwrap();
        assert_eq!(same.uptime, Duration::ZERO);
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(boot in "[0-9.+:TZ-]{0,27}", now in any::<String>()) {
            let _ = parse_cim_datetime(&boot);
            if let Ok(facts) = OsFacts::from_values(&now, &boot, "2026-03-01T11:00:00Z") {
                let _ = (facts.booted_at(DateTime::<Utc>::MIN_UTC), facts.clock_ahead(DateTime::<Utc>::MAX_UTC));
            }
            let _ = OsFacts::from_values("", &now, &boot);
        }
    }
}

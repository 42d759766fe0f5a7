//! Moments as Kerberos writes them: `YYYYMMDDHHMMSSZ`. Source: RFC 4120 section 5.2.3.

/// Days of 400 years, after which the calendar repeats itself.
const CYCLE: u64 = 146_097;
/// Days from the first of March of the year 0 to the first of January 1970.
const EPOCH: u64 = 719_468;

/// Seconds since 1970, as text.
pub(super) fn text(seconds: u64) -> String {
    let (days, left) = (seconds / 86_400 + EPOCH, seconds % 86_400);
    // Years are counted from March, so that the day that not every year has is the last one.
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = match month {
        0..=9 => (cycle * 400 + year, month + 3),
        _ => (cycle * 400 + year + 1, month - 9),
    };
    let (hour, minute, second) = (left / 3600, left / 60 % 60, left % 60);
    format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z")
}

/// The opposite; `None` for anything else, and before 1970.
pub(super) fn seconds(text: &[u8]) -> Option<u64> {
    let digits = text.strip_suffix(b"Z").filter(|digits| digits.len() == 14)?;
    let number = |from: usize, to: usize| -> Option<u64> {
        digits[from..to].iter().try_fold(0, |sum, digit| {
            digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(8, 10)?, number(10, 12)?, number(12, 14)?);
    let exists = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    // 60 is a leap second.
    (exists && hour < 24 && minute < 60 && second <= 60).then_some(())?;
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days - EPOCH) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments_are_written_and_read() {
        for (moment, written) in [
            (0, "19700101000000Z"),
            (951_782_399, "20000228235959Z"),
            (951_782_400, "20000229000000Z"),
            (1_709_164_800, "20240229000000Z"),
            (4_107_542_400, "21000301000000Z"),
            (253_402_300_799, "99991231235959Z"),
        ] {
            assert_eq!(text(moment), written);
            assert_eq!(seconds(written.as_bytes()), Some(moment));
        }
        for wrong in [
            "",
            "Z",
            "19691231235959Z",
            "20241301000000Z",
            "2024010100000Z",
            "202401010000000",
            "2024010100000aZ",
        ] {
            assert_eq!(seconds(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_comes_back(moment in 0_u64..253_402_300_800) {
            prop_assert_eq!(seconds(text(moment).as_bytes()), Some(moment));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = seconds(&bytes);
        }
    }
}

//! Stamps as SQLite keeps them: the text that the driver would make of them, made without its formatter, which takes
//! longer than the rest of a short row.

use chrono::{Datelike as _, NaiveDateTime, Timelike as _};
use sea_orm::Value;

/// A stamp as its text; any other value as it is.
pub(crate) fn as_text(value: Value) -> Value {
    match value {
        Value::ChronoDateTime(Some(at)) if (0..=9999).contains(&at.year()) => Value::from(text(&at)),
        other => other,
    }
}

/// `2026-03-01 09:00:00`, and behind a point as many of three, six or nine digits as it takes.
fn text(at: &NaiveDateTime) -> String {
    let mut text = String::with_capacity(29);
    digits(&mut text, at.year().unsigned_abs(), 4);
    for (mark, number) in [
        ('-', at.month()),
        ('-', at.day()),
        (' ', at.hour()),
        (':', at.minute()),
        (':', at.second()),
    ] {
        text.push(mark);
        digits(&mut text, number, 2);
    }
    // A leap second is counted in the nanoseconds.
    let nanos = at.nanosecond() % 1_000_000_000;
    let (fraction, width) = match nanos {
        0 => return text,
        _ if nanos.is_multiple_of(1_000_000) => (nanos / 1_000_000, 3),
        _ if nanos.is_multiple_of(1_000) => (nanos / 1_000, 6),
        _ => (nanos, 9),
    };
    text.push('.');
    digits(&mut text, fraction, width);
    text
}

fn digits(text: &mut String, number: u32, width: u32) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_drivers() {
        for stamp in [
            "2026-03-01T09:00:00",
            "2026-12-31T23:59:59.5",
            "0001-01-01T00:00:00.000001",
            "9999-12-31T23:59:59.999999999",
            "1970-01-01T00:00:00.120",
        ] {
            let at: NaiveDateTime = stamp.parse().unwrap();
            assert_eq!(text(&at), at.format("%F %T%.f").to_string());
        }
        let far = NaiveDateTime::MAX;
        assert_eq!(as_text(far.into()), Value::from(far));
        assert_eq!(as_text(7.into()), Value::from(7));
    }
}

//! Tables and figures as they are printed.

use std::time::Duration;

/// A line of a table.
pub(crate) fn line<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// The first two lines of a table.
pub(crate) fn head(cells: &[&str]) -> String {
    format!("{}{}\n", line(cells), "|---".repeat(cells.len()) + "|")
}

/// The value below which `percent` of all lie, by nearest rank.
pub(crate) fn quantile<T: Copy + PartialOrd>(all: &[T], percent: usize) -> Option<T> {
    let mut sorted = all.to_vec();
    sorted.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// `5300000` as `5,300,000`.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

//! Changes folded into steps. Pure.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, HistoryAsk, Point};

/// `heard_at`: until when anything is known.
pub(super) fn fold(
    ask: &HistoryAsk,
    before: Option<Change>,
    changes: &[Change],
    heard_at: Option<DateTime<Utc>>,
) -> Vec<Point> {
    // Checked by the caller: the window is not empty, and has a bounded number of steps.
    let step = TimeDelta::from_std(ask.step).unwrap_or(TimeDelta::MAX);
    let known_until = heard_at.unwrap_or(ask.from).min(ask.to);
    let mut value = before.and_then(|change| change.value);
    let mut left = changes;
    let mut points = Vec::new();
    let mut at = ask.from;
    while at < ask.to {
        let end = at.checked_add_signed(step).unwrap_or(ask.to).min(ask.to);
        let mut point = Point {
            at,
            known: std::time::Duration::ZERO,
            on: std::time::Duration::ZERO,
            last: None,
            changes: 0,
        };
        let mut since = at;
        while let Some((change, rest)) = left.split_first().filter(|(change, _)| change.at < end) {
            lasted(&mut point, value.as_deref(), since, change.at.min(known_until));
            since = change.at.max(since);
            value.clone_from(&change.value);
            point.changes += 1;
            left = rest;
        }
        lasted(&mut point, value.as_deref(), since, end.min(known_until));
        // A step that begins after the last report holds nothing that is known.
        if at < known_until || point.changes > 0 {
            point.last.clone_from(&value);
        }
        points.push(point);
        at = end;
    }
    points
}

fn lasted(point: &mut Point, value: Option<&str>, from: DateTime<Utc>, to: DateTime<Utc>) {
    let (Some(value), Ok(time)) = (value, (to - from).to_std()) else {
        return;
    };
    point.known += time;
    if matches!(value, "true" | "1") {
        point.on += time;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::{AskProblem, Field};

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    fn change(text: &str, value: &str) -> Change {
        Change {
            at: at(text),
            value: (!value.is_empty()).then(|| value.to_owned()),
        }
    }

    fn ask(from: &str, to: &str, step: u64) -> HistoryAsk {
        HistoryAsk {
            field: Field::Ready,
            from: at(from),
            to: at(to),
            step: Duration::from_secs(step),
        }
    }

    /// Start, known seconds, seconds on, last value, changes.
    fn shown(points: &[Point]) -> Vec<String> {
        let line = |point: &Point| {
            let last = point.last.as_deref().unwrap_or("-");
            let (known, on) = (point.known.as_secs(), point.on.as_secs());
            format!(
                "{} {known} {on} {last} {}",
                point.at.format("%H:%M"),
                point.changes
            )
        };
        points.iter().map(line).collect()
    }

    #[test]
    fn a_value_lasts_until_the_next_one_and_until_the_last_report() {
        let changes = [
            change("09:30:00", "false"),
            change("09:45:00", "true"),
            change("11:00:00", ""),
        ];
        let ask = ask("09:00:00", "13:30:00", 3600);
        let points = fold(
            &ask,
            Some(change("08:00:00", "true")),
            &changes,
            Some(at("11:10:00")),
        );
        let expected = [
            "09:00 3600 2700 true 2",
            "10:00 3600 3600 true 0",
            "11:00 0 0 - 1",
            "12:00 0 0 - 0",
            "13:00 0 0 - 0",
        ];
        assert_eq!(shown(&points), expected);
        assert_eq!(points[0].share(), Some(0.75));
        assert_eq!(points[2].share(), None);
    }

    #[test]
    fn before_the_first_report_and_without_any_nothing_is_known() {
        let asked = ask("09:00:00", "11:00:00", 3600);
        let first = [change("10:30:00", "true")];
        let points = fold(&asked, None, &first, Some(at("12:00:00")));
        assert_eq!(shown(&points), ["09:00 0 0 - 0", "10:00 1800 1800 true 1"]);
        let never = fold(&asked, None, &[], None);
        assert_eq!(shown(&never), ["09:00 0 0 - 0", "10:00 0 0 - 0"]);
    }

    #[test]
    fn a_window_is_checked_before_anything_is_read() {
        assert_eq!(
            ask("09:00:00", "09:00:00", 60).points(),
            Err(AskProblem::EmptyWindow)
        );
        assert_eq!(
            ask("09:00:00", "10:00:00", 0).points(),
            Err(AskProblem::ShortStep)
        );
        assert_eq!(ask("09:00:00", "10:00:01", 60).points(), Ok(61));
        let max = super::super::MAX_POINTS;
        assert_eq!(
            ask("09:00:00", "10:00:00", 1).points(),
            Err(AskProblem::TooManyPoints { points: 3_600, max })
        );
    }
}

//! Why: what happens next, what is waited for, what failed.

use super::{both, hosts, some, state};
use crate::client::model::{EffectiveLead, Explanation, HostExplanation, LastFailure, Next, Wait};
use crate::output::table::facts;
use crate::output::{Cell, Style, Tone, clean};
use crate::when::span;

/// One reservation.
pub(crate) fn explanation(explained: &Explanation, style: &Style) -> String {
    let mut text = summary(explained.summary.as_deref(), style);
    text.push_str(&facts(
        &[
            ("reservation", some(explained.reservation_id.as_deref())),
            ("lab", some(explained.lab_id.as_deref())),
            ("host", some(explained.host.as_deref())),
            (
                "status",
                explained.status.as_deref().map(|status| state(Some(status))),
            ),
            ("start", both(explained.starts_at, style)),
            ("end", both(explained.ends_at, style)),
            ("next", explained.next.as_ref().map(|it| next(it, style))),
            ("waits for", explained.wait.as_ref().map(|it| wait(it, style))),
            (
                "last failure",
                explained.last_failure.as_ref().map(|it| failure(it, style)),
            ),
            ("claimed", explained.claim.as_ref().map(hosts::claim)),
            ("lead", lead(explained.lead.as_ref())),
        ],
        style,
    ));
    text
}

/// One host with the reservations to come.
pub(crate) fn host_explanation(explained: &HostExplanation, style: &Style) -> String {
    let mut text = summary(explained.summary.as_deref(), style);
    text.push_str(&facts(
        &[
            ("host", some(explained.host.as_deref())),
            ("presence", some(explained.presence.as_deref())),
            ("next", explained.next.as_ref().map(|it| next(it, style))),
            ("next for", some(explained.next_for.as_deref())),
            ("claimed", explained.claim.as_ref().map(hosts::claim)),
            ("lead", lead(explained.lead.as_ref())),
        ],
        style,
    ));
    for reservation in &explained.reservations {
        text.push('\n');
        text.push_str(&explanation(reservation, style));
    }
    text
}

fn summary(text: Option<&str>, style: &Style) -> String {
    match text {
        Some(text) => format!("{}\n", Tone::Plain.paint(&clean(text), style)),
        None => String::new(),
    }
}

fn next(next: &Next, style: &Style) -> Cell {
    let what = next.what.as_deref().unwrap_or("?").replace('_', " ");
    match next.at {
        Some(at) => Cell::from(format!("{what}, {}", style.moment.both(at))),
        None => Cell::from(what),
    }
}

fn wait(wait: &Wait, style: &Style) -> Cell {
    let words = wait.detail.as_deref().or(wait.code.as_deref()).unwrap_or("?");
    match wait.until {
        Some(until) => Cell::from(format!("{words}, until {}", style.moment.both(until))),
        None => Cell::from(words),
    }
}

fn failure(failure: &LastFailure, style: &Style) -> Cell {
    let mut text = failure.code.clone().unwrap_or_else(|| "unknown".to_owned());
    if let Some(detail) = &failure.detail {
        text.push_str(&format!(": {detail}"));
    }
    let place = [
        failure.step.as_ref().map(|step| format!("step {step}")),
        failure.rung.as_ref().map(|rung| format!("rung {rung}")),
        failure.attempt.map(|attempt| format!("attempt {attempt}")),
        failure.at.map(|at| style.moment.both(at)),
    ];
    let place: Vec<String> = place.into_iter().flatten().collect();
    if !place.is_empty() {
        text.push_str(&format!(" [{}]", place.join(", ")));
    }
    if failure.gave_up == Some(true) {
        text.push_str("; given up, somebody has to look");
    }
    Cell::toned(text, Tone::Bad)
}

fn lead(lead: Option<&EffectiveLead>) -> Option<Cell> {
    let secs = lead?.effective_secs?;
    // What is no duration is not shown.
    let lead = std::time::Duration::try_from_secs_f64(secs).ok()?;
    Some(Cell::from(span(lead)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{plain, read};
    use super::*;

    #[test]
    fn an_explanation_begins_with_its_one_line() {
        let document = json!({"reservationId": "r-1", "labId": "12", "status": "CONFIRMED", "host": "h",
            "summary": "wakes h at 09:13", "next": {"what": "hand_over", "at": "2026-03-01T09:13:00Z"},
            "wait": {"code": "retry", "detail": "the next try", "until": "2026-03-01T09:01:00Z"},
            "lastFailure": {"code": "no_ping", "detail": "nothing answered", "rung": "icmp", "step": "wake", "attempt": 2, "at": null, "gaveUp": true},
            "lead": {"effectiveSecs": 150}});
        assert_eq!(
            explanation(&read(document.clone()), &plain()),
            "wakes h at 09:13\n\
             reservation   r-1\nlab           12\nhost          h\nstatus        CONFIRMED\n\
             next          hand over, 10:13:00 (in 13 min)\nwaits for     the next try, until 10:01:00 (in 60 s)\n\
             last failure  no_ping: nothing answered [step wake, rung icmp, attempt 2]; given up, somebody has to look\n\
             lead          2 min\n"
        );
        let host = json!({"host": "h", "presence": "here", "summary": "idle", "next": null, "reservations": [document]});
        let text = host_explanation(&read(host), &plain());
        assert!(
            text.starts_with("idle\nhost      h\npresence  here\n\nwakes h at 09:13\n"),
            "{text}"
        );
    }
}

//! Reservations, what was done for them, and operations.

use serde_json::Value;

use super::{both, clock, short, some, state, yes_no};
use crate::client::model::{
    Operation, OperationStep, Pagination, RecentOperations, ReservationList, Row, StepsAnswer, Timeline,
};
use crate::output::table::facts;
use crate::output::{Cell, Style, Table, Tone, clean, clean_lines};
use crate::when::span_ms;

/// A list of reservations.
pub(crate) fn reservations(list: &ReservationList, style: &Style) -> String {
    let mut table = Table::new(["reservation", "lab", "host", "status", "start", "end", "when"]);
    for booking in &list.reservations {
        table.row([
            Cell::or_dash(booking.reservation_id.as_ref()),
            Cell::or_dash(booking.lab_id.as_ref()),
            Cell::or_dash(booking.host.as_ref()),
            state(booking.status.as_deref()),
            clock(booking.start, style),
            clock(booking.end, style),
            Cell::or_dash(booking.start.map(|at| style.moment.relative(at))),
        ]);
    }
    let mut text = table.render(style, "No reservations.");
    more(&mut text, list.next.as_deref(), style);
    text
}

/// That there is more, and how to see it.
pub(super) fn more(text: &mut String, after: Option<&str>, style: &Style) {
    if let Some(after) = after {
        let line = format!("more: --after {}", clean(after));
        text.push_str(&Tone::Faint.paint(&line, style));
        text.push('\n');
    }
}

/// Everything about one reservation.
pub(crate) fn timeline(timeline: &Timeline, style: &Style) -> String {
    let booking = timeline.reservation.clone().unwrap_or_default();
    let beat = timeline.heartbeat.clone().unwrap_or_default();
    let host = timeline.host.as_ref().and_then(|host| host.name.as_deref());
    let mut text = facts(
        &[
            ("reservation", some(booking.reservation_id.as_deref())),
            ("lab", some(booking.lab_id.as_deref())),
            ("host", some(host)),
            (
                "status",
                booking.status.as_deref().map(|status| state(Some(status))),
            ),
            ("start", both(booking.start, style)),
            ("end", both(booking.end, style)),
            ("heartbeat", both(beat.timestamp, style)),
            ("ready", yes_no(beat.ready)),
            ("local mode", yes_no(beat.local_mode)),
            ("logged on", yes_no(beat.local_session)),
        ],
        style,
    );
    text.push('\n');
    let mut table = Table::new(["at", "action", "status", "took", "message"]);
    for row in &timeline.operations {
        table.row([
            clock(row.created_at, style),
            Cell::or_dash(row.action.as_ref()),
            outcome(row),
            Cell::or_dash(row.duration_ms.map(span_ms)),
            message(row),
        ]);
    }
    let none = match timeline.under_way {
        Some(_) => "Nothing was finished yet.",
        None => "Nothing was done yet.",
    };
    text.push_str(&table.render(style, none));
    if let Some(under_way) = &timeline.under_way {
        text.push_str(&format!("now: {}\n", clean(under_way)));
    }
    rows_left(&mut text, timeline.pagination.as_ref(), style);
    text
}

/// What was done lately.
pub(crate) fn recent(recent: &RecentOperations, style: &Style) -> String {
    let mut table = Table::new(["at", "host", "reservation", "action", "status", "took", "message"]);
    for row in &recent.operations {
        table.row([
            clock(row.created_at, style),
            Cell::or_dash(row.host.as_ref()),
            Cell::or_dash(row.reservation_id.as_deref().map(short)),
            Cell::or_dash(row.action.as_ref()),
            outcome(row),
            Cell::or_dash(row.duration_ms.map(span_ms)),
            message(row),
        ]);
    }
    let mut text = table.render(style, "Nothing was done yet.");
    rows_left(&mut text, recent.pagination.as_ref(), style);
    text
}

fn outcome(row: &Row) -> Cell {
    match (row.status.as_deref(), row.success) {
        (Some(status), Some(true)) => Cell::toned(status, Tone::Good),
        (Some(status), Some(false)) => Cell::toned(status, Tone::Bad),
        (status, _) => state(status),
    }
}

fn message(row: &Row) -> Cell {
    match (&row.message, row.response_code) {
        (Some(message), _) => Cell::from(message),
        (None, Some(code)) => Cell::from(format!("code {code}")),
        (None, None) => Cell::or_dash(None::<&str>),
    }
}

fn rows_left(text: &mut String, page: Option<&Pagination>, style: &Style) {
    let Some(page) = page.filter(|page| page.has_more == Some(true) || page.offset.unwrap_or(0) > 0) else {
        return;
    };
    let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let mut line = format!("{} of {} rows", number(page.returned), number(page.total));
    if let (Some(true), Some(next)) = (page.has_more, page.next_offset) {
        line.push_str(&format!("; more: --offset {next}"));
    }
    text.push_str(&Tone::Faint.paint(&line, style));
    text.push('\n');
}

/// One operation.
pub(crate) fn operation(operation: &Operation, style: &Style) -> String {
    let took = operation.started_at.zip(operation.ended_at);
    let took = took.and_then(|(from, to)| u64::try_from((to - from).num_milliseconds()).ok());
    let mut text = facts(
        &[
            ("operation", some(operation.id.as_deref())),
            ("kind", some(operation.kind.as_deref())),
            ("state", operation.state.as_deref().map(|word| state(Some(word)))),
            ("host", some(operation.host.as_deref())),
            ("reservation", some(operation.reservation_id.as_deref())),
            ("lab", some(operation.lab_id.as_deref())),
            ("caller", some(operation.caller.as_deref())),
            ("asked for", both(operation.created_at, style)),
            ("begun", both(operation.started_at, style)),
            ("ended", both(operation.ended_at, style)),
            ("took", took.map(|ms| Cell::from(span_ms(ms)))),
            (
                "said",
                error_of(operation).map(|error| Cell::toned(error, Tone::Bad)),
            ),
        ],
        style,
    );
    if operation.steps.is_empty() {
        return text;
    }
    let mut table = Table::new(["at", "step", "attempt", "state", "took", "reason"]);
    for step in &operation.steps {
        table.row([
            clock(step.started_at, style),
            Cell::or_dash(step.step.as_ref()),
            Cell::or_dash(step.attempt.map(|attempt| attempt.to_string())),
            state(step.state.as_deref()),
            Cell::or_dash(step.duration_ms.map(span_ms)),
            Cell::or_dash(reason(step)),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(style, ""));
    text
}

fn error_of(operation: &Operation) -> Option<String> {
    operation
        .answer
        .as_ref()?
        .pointer("/body/error")?
        .as_str()
        .map(str::to_owned)
}

/// A reason is a sentence, or an object that holds one.
fn reason(step: &OperationStep) -> Option<String> {
    let reason = step.reason.as_ref()?;
    match reason {
        Value::String(text) => Some(text.clone()),
        Value::Object(fields) => {
            let text = |key: &str| fields.get(key).and_then(Value::as_str);
            let sentence = text("detail").or(text("text")).or(text("message"));
            match (text("code"), sentence) {
                (Some(code), Some(sentence)) => Some(format!("{code}: {sentence}")),
                (code, sentence) => code.or(sentence).map(str::to_owned),
            }
        }
        _ => None,
    }
}

/// The steps of a start or end, with what a failed one said.
pub(crate) fn steps(answer: &StepsAnswer, style: &Style) -> String {
    let mut table = Table::new(["step", "outcome", "took", "message"]);
    let mut said = String::new();
    for step in &answer.steps {
        let name = step.action.as_deref().unwrap_or("step");
        let outcome = match (step.success, step.warnings) {
            (Some(true), Some(true)) => Cell::toned("done, with warnings", Tone::Warning),
            (Some(true), _) => Cell::toned("done", Tone::Good),
            _ => Cell::toned("failed", Tone::Bad),
        };
        let details = step.details.as_ref();
        let took = step.duration_ms.or_else(|| details?.get("durationMs")?.as_u64());
        table.row([
            Cell::from(name),
            outcome,
            Cell::or_dash(took.map(span_ms)),
            Cell::or_dash(step.message.as_ref()),
        ]);
        for stream in ["stdout", "stderr"] {
            let text = details
                .and_then(|details| details.get(stream))
                .and_then(Value::as_str);
            let shown = step.success != Some(true) || step.warnings == Some(true);
            if let Some(text) = text.filter(|text| shown && !text.trim().is_empty()) {
                said.push_str(&format!(
                    "{} {stream}:\n{}\n",
                    clean(name),
                    clean_lines(text.trim_end())
                ));
            }
        }
    }
    let mut text = table.render(style, "No steps were asked for.");
    text.push_str(&said);
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{plain, read};
    use super::*;

    #[test]
    fn reservations_are_listed_in_local_time_with_their_distance() {
        let list = json!({"reservations": [{"reservationId": "r-1", "labId": 12, "host": "h", "status": "CONFIRMED",
            "start": "2026-03-01T09:15:00Z", "end": "2026-03-01T10:00:00Z"}], "next": "77"});
        assert_eq!(
            reservations(&read(list), &plain()),
            "RESERVATION  LAB  HOST  STATUS     START     END       WHEN\n\
             r-1          12   h     CONFIRMED  10:15:00  11:00:00  in 15 min\n\
             more: --after 77\n"
        );
    }

    #[test]
    fn a_timeline_has_the_reservation_then_what_was_done() {
        let document = json!({"reservation": {"reservationId": "r-1", "labId": "12", "status": "ACTIVE",
                "start": "2026-03-01T08:30:00+00:00", "end": "2026-03-01T09:30:00+00:00"},
            "host": {"name": "h"}, "heartbeat": {"timestamp": "2026-03-01T08:59:00+00:00", "ready": 1, "localMode": null},
            "operations": [
                {"action": "wake", "status": "completed", "success": true, "message": "Host reachable", "durationMs": 41_000, "createdAt": "2026-03-01T08:28:00+00:00"},
                {"action": "prepare", "status": "failed", "success": false, "message": null, "responseCode": 2, "createdAt": "2026-03-01T08:29:00+00:00"}],
            "pagination": {"offset": 0, "returned": 2, "total": 9, "hasMore": true, "nextOffset": 2}});
        assert_eq!(
            timeline(&read(document), &plain()),
            "reservation  r-1\nlab          12\nhost         h\nstatus       ACTIVE\nstart        09:30:00 (30 min ago)\n\
             end          10:30:00 (in 30 min)\nheartbeat    09:59:00 (60 s ago)\nready        yes\n\n\
             AT        ACTION   STATUS     TOOK  MESSAGE\n\
             09:28:00  wake     completed  41 s  Host reachable\n\
             09:29:00  prepare  failed     -     code 2\n\
             2 of 9 rows; more: --offset 2\n"
        );
    }

    #[test]
    fn an_operation_is_shown_with_each_try_of_its_steps() {
        let document = json!({"id": 17, "kind": "start", "state": "failed", "host": "h", "startedAt": "2026-03-01T08:58:00Z",
            "endedAt": "2026-03-01T08:59:00Z", "answer": {"status": 502, "body": {"error": "host is off"}},
            "steps": [{"step": "wake", "attempt": 1, "state": "failed", "startedAt": "2026-03-01T08:58:00Z", "durationMs": 60_000,
                "reason": {"code": "no_ping", "detail": "nothing answered"}}]});
        assert_eq!(
            operation(&read(document), &plain()),
            "operation  17\nkind       start\nstate      failed\nhost       h\nbegun      09:58:00 (2 min ago)\n\
             ended      09:59:00 (60 s ago)\ntook       60 s\nsaid       host is off\n\n\
             AT        STEP  ATTEMPT  STATE   TOOK  REASON\n\
             09:58:00  wake  1        failed  60 s  no_ping: nothing answered\n"
        );
    }

    #[test]
    fn a_failed_step_shows_what_it_said() {
        let document = json!({"success": false, "steps": [
            {"action": "wake", "success": true, "message": "Host reachable", "durationMs": 900},
            {"action": "prepare", "success": false, "message": "Exit code 2", "details": {"exitCode": 2, "stdout": "no\r\nway\u{1b}c", "stderr": "", "durationMs": 12}}]});
        assert_eq!(
            steps(&read(document), &plain()),
            "STEP     OUTCOME  TOOK    MESSAGE\nwake     done     900 ms  Host reachable\nprepare  failed   12 ms   Exit code 2\n\
             prepare stdout:\nno\nway\\u{1b}c\n"
        );
    }
}

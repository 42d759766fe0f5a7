//! How hosts were, and what happened at them.

use serde_json::Value;

use super::history::more;
use super::{clock, state, yes_no};
use crate::client::model::{Event, History, Hours};
use crate::output::{Cell, Style, Table, Tone, clean};
use crate::when::span_ms;

/// One thing of a host, step by step.
pub(crate) fn host_history(history: &History, style: &Style) -> String {
    let mut table = Table::new(["at", "known", "share", "at the end", "changes"]);
    for point in &history.points {
        table.row([
            clock(point.at, style),
            Cell::or_dash(point.known_secs.filter(|secs| *secs > 0.0).map(secs_span)),
            Cell::or_dash(point.share.map(percent)),
            match &point.last {
                Some(Value::Bool(truth)) => yes_no(Some(*truth)).unwrap_or_else(|| Cell::from("-")),
                Some(Value::String(text)) => Cell::from(at_or_text(text, style)),
                _ => Cell::or_dash(None::<&str>),
            },
            Cell::or_dash(
                point
                    .changes
                    .filter(|changes| *changes > 0)
                    .map(|changes| changes.to_string()),
            ),
        ]);
    }
    table.render(style, "No steps.")
}

/// The instant of a boot as people write it, any other word as it is.
fn at_or_text(text: &str, style: &Style) -> String {
    match chrono::DateTime::parse_from_rfc3339(text) {
        Ok(at) => style.moment.clock(at.to_utc()),
        Err(_) => text.to_owned(),
    }
}

/// What was counted, hour by hour.
pub(crate) fn hours(list: &Hours, style: &Style) -> String {
    let mut table = Table::new([
        "hour", "polls", "failed", "boots", "known", "ready", "local", "p50", "p95", "p99",
    ]);
    for hour in &list.hours {
        let count = |number: Option<u64>| Cell::or_dash(number.map(|number| number.to_string()));
        let failed = match hour.failures {
            Some(failures) if failures > 0 => Cell::toned(failures.to_string(), Tone::Warning),
            failures => count(failures),
        };
        let took = |of: fn(&crate::client::model::Latency) -> Option<f64>| {
            let ms = hour.latency_ms.as_ref().and_then(of);
            Cell::or_dash(ms.map(|ms| format!("{ms:.1} ms")))
        };
        table.row([
            clock(hour.hour, style),
            count(hour.polls),
            failed,
            count(hour.boots),
            Cell::or_dash(hour.known_secs.map(secs_span)),
            Cell::or_dash(hour.ready_share.map(percent)),
            Cell::or_dash(hour.local_secs.filter(|secs| *secs > 0.0).map(secs_span)),
            took(|latency| latency.p50),
            took(|latency| latency.p95),
            took(|latency| latency.p99),
        ]);
    }
    table.render(style, "Nobody polled it in this time.")
}

/// What the guards did.
pub(crate) fn events(events: &[Event], next: Option<i64>, style: &Style) -> String {
    let mut table = Table::new(["id", "at", "host", "kind", "event"]);
    for event in events {
        table.row([
            Cell::or_dash(event.id.map(|id| id.to_string())),
            clock(event.at, style),
            Cell::or_dash(event.host.as_ref()),
            state(event.kind.as_deref()),
            Cell::or_dash(event.payload.as_ref().map(words)),
        ]);
    }
    let mut text = table.render(style, "No events.");
    more(&mut text, next.map(|next| next.to_string()).as_deref(), style);
    text
}

/// One of them, on a line of its own.
pub(crate) fn event(event: &Event, style: &Style) -> String {
    let at = event
        .at
        .map_or_else(|| "-".to_owned(), |at| style.moment.clock(at));
    let host = clean(event.host.as_deref().unwrap_or("?"));
    let said = event.payload.as_ref().map(words).unwrap_or_default();
    let at = Tone::Faint.paint(&at, style);
    format!("{at}  {host}  {}\n", clean(&said))
}

/// The members of what the station wrote, but for the time, which has a place of its own.
fn words(payload: &Value) -> String {
    let Value::Object(members) = payload else {
        return payload.to_string();
    };
    let word = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    let members = members.iter().filter(|(name, _)| *name != "timestamp");
    members.map(word).collect::<Vec<_>>().join(" ")
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn secs_span(secs: f64) -> String {
    let span = std::time::Duration::try_from_secs_f64(secs).unwrap_or_default();
    span_ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{plain, read};
    use super::*;

    #[test]
    fn a_history_is_a_line_for_each_step() {
        let document = json!({"host": "h", "field": "ready", "stepSecs": 3600, "points": [
            {"at": "2026-03-01T07:00:00Z", "knownSecs": 0.0, "share": null, "last": null, "changes": 0},
            {"at": "2026-03-01T08:00:00Z", "knownSecs": 3600.0, "share": 0.975, "last": true, "changes": 2}]});
        assert_eq!(
            host_history(&read(document), &plain()),
            "AT        KNOWN   SHARE   AT THE END  CHANGES\n\
             08:00:00  -       -       -           -\n\
             09:00:00  60 min  97.5 %  yes         2\n"
        );
        let boots = json!({"points": [{"at": "2026-03-01T08:00:00Z", "last": "2026-03-01T08:30:00Z"}, {"last": "shutdown\u{1b}"}]});
        let text = host_history(&read(boots), &plain());
        assert!(
            text.contains("09:30:00") && text.contains("shutdown\\u{1b}"),
            "{text}"
        );
        assert_eq!(
            host_history(&read(json!({"points": null})), &plain()),
            "No steps.\n"
        );
    }

    #[test]
    fn hours_tell_polls_and_how_long_they_took() {
        let document = json!({"hours": [{"hour": "2026-03-01T08:00:00.000Z", "polls": 60, "failures": 2, "boots": 1,
            "knownSecs": 3540.0, "readyShare": 1.0, "localSecs": 0.0, "latencyMs": {"p50": 14.5, "p95": 33.0, "p99": 190.0}},
            {"hour": "2026-03-01T09:00:00.000Z", "polls": 1, "failures": 1, "boots": 0, "knownSecs": 0.0, "readyShare": null,
            "localSecs": 0.0, "latencyMs": null}]});
        assert_eq!(
            hours(&read(document), &plain()),
            "HOUR      POLLS  FAILED  BOOTS  KNOWN   READY    LOCAL  P50      P95      P99\n\
             09:00:00  60     2       1      59 min  100.0 %  -      14.5 ms  33.0 ms  190.0 ms\n\
             10:00:00  1      1       0      0 ms    -        -      -        -        -\n"
        );
    }

    #[test]
    fn events_are_told_with_what_the_station_wrote() {
        let one = json!({"id": 7, "host": "h", "kind": "session-guard", "at": "2026-03-01T08:00:00Z",
            "payload": {"timestamp": "2026-03-01T08:00:00Z", "user": "te\u{7}st", "forced": true}});
        let list = [
            read(one.clone()),
            read(json!({"id": 8, "payload": {"value": [1]}})),
        ];
        assert_eq!(
            events(&list, Some(8), &plain()),
            "ID  AT        HOST  KIND           EVENT\n\
             7   09:00:00  h     session-guard  forced=true user=te\\u{7}st\n\
             8   -         -     -              value=[1]\n\
             more: --after 8\n"
        );
        assert_eq!(
            event(&read(one), &plain()),
            "09:00:00  h  forced=true user=te\\u{7}st\n"
        );
        assert_eq!(events(&[], None, &plain()), "No events.\n");
    }
}

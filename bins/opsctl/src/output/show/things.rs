//! Workers, the service's health, the audit, and whatever else comes as a flat document.

use serde_json::Value;

use super::{both, clock, history::more, some, state, yes_no};
use crate::client::model::{Audit, Health, Worker, WorkerList};
use crate::output::table::facts;
use crate::output::{Cell, Style, Table, Tone, clean};
use crate::when::span_ms;

/// How deep a document is shown.
const DEEPEST: usize = 6;

/// Who is at work.
pub(crate) fn workers(list: &WorkerList, style: &Style) -> String {
    let mut table = Table::new([
        "worker",
        "role",
        "machine",
        "state",
        "alive",
        "heartbeat",
        "running",
        "up since",
        "reason",
    ]);
    for worker in &list.workers {
        let alive = match worker.alive {
            Some(true) => Cell::toned("yes", Tone::Good),
            Some(false) => Cell::toned("no", Tone::Bad),
            None => Cell::or_dash(None::<&str>),
        };
        table.row([
            Cell::or_dash(worker.name.as_ref()),
            Cell::or_dash(worker.role.as_ref()),
            Cell::or_dash(worker.host.as_ref()),
            state(worker.state.as_deref()),
            alive,
            Cell::or_dash(worker.heartbeat_age_ms.map(|age| format!("{} ago", span_ms(age)))),
            Cell::or_dash(worker.running.map(|running| running.to_string())),
            clock(worker.started_at, style),
            Cell::or_dash(worker.reason.as_ref()),
        ]);
    }
    table.render(style, "No workers.")
}

/// One worker.
pub(crate) fn worker(worker: &Worker, style: &Style) -> String {
    facts(
        &[
            ("worker", some(worker.name.as_deref())),
            ("role", some(worker.role.as_deref())),
            ("version", some(worker.version.as_deref())),
            ("state", worker.state.as_deref().map(|word| state(Some(word)))),
            ("reason", some(worker.reason.as_deref())),
            ("alive", yes_no(worker.alive)),
            ("up since", both(worker.started_at, style)),
        ],
        style,
    )
}

/// The audit, as far as it was asked for.
pub(crate) fn audit(audit: &Audit, style: &Style) -> String {
    let mut table = Table::new(["at", "caller", "role", "from", "action", "subject", "outcome"]);
    for entry in &audit.entries {
        let outcome = match (entry.status, &entry.code) {
            (None, None) => Cell::toned("not known", Tone::Warning),
            (Some(status), None) => Cell::toned(
                status.to_string(),
                if status < 400 { Tone::Good } else { Tone::Bad },
            ),
            (Some(status), Some(code)) => Cell::toned(format!("{status} {code}"), Tone::Bad),
            (None, Some(code)) => Cell::toned(code, Tone::Bad),
        };
        table.row([
            clock(entry.at, style),
            Cell::or_dash(entry.caller.as_ref()),
            Cell::or_dash(entry.role.as_ref()),
            Cell::or_dash(entry.from.as_ref()),
            Cell::or_dash(entry.action.as_ref()),
            Cell::or_dash(entry.subject.as_ref()),
            outcome,
        ]);
    }
    let mut text = table.render(style, "No entries.");
    more(&mut text, audit.next.as_deref(), style);
    text
}

/// How the service is: its word, then all the details it gives.
pub(crate) fn health(health: &Health, document: &Value, style: &Style) -> String {
    let word = health.status.as_deref().unwrap_or("unknown");
    let mut rest = document.clone();
    if let Some(object) = rest.as_object_mut() {
        object.remove("status");
    }
    let shown = super::tone_of(word).paint(&clean(word), style);
    format!("{shown}\n{}", facts_of(&rest, style))
}

/// Any document as indented names and values.
pub(crate) fn facts_of(document: &Value, style: &Style) -> String {
    let mut text = String::new();
    add(&mut text, document, 0, style);
    text
}

fn add(text: &mut String, value: &Value, depth: usize, style: &Style) {
    let indent = "  ".repeat(depth);
    let named: Vec<(String, &Value)> = match value {
        Value::Object(object) => object.iter().map(|(name, value)| (clean(name), value)).collect(),
        Value::Array(list) => list.iter().map(|value| ("-".to_owned(), value)).collect(),
        other => {
            text.push_str(&format!("{indent}{}\n", scalar(other)));
            return;
        }
    };
    for (name, value) in named {
        let name = Tone::Faint.paint(&name, style);
        let nested = value.as_object().is_some_and(|object| !object.is_empty())
            || value.as_array().is_some_and(|list| !list.is_empty());
        if nested && depth < DEEPEST {
            text.push_str(&format!("{indent}{name}\n"));
            add(text, value, depth + 1, style);
        } else {
            text.push_str(&format!("{indent}{name}  {}\n", scalar(value)));
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        Value::String(text) => clean(text),
        other => clean(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::{plain, read};
    use super::*;

    #[test]
    fn workers_are_a_line_each() {
        let list = json!({"workers": [{"name": "w-1", "role": "scheduler", "host": "gw", "state": "cordoned", "reason": "update",
            "alive": true, "started_at": "2026-03-01T08:00:00.000Z", "heartbeat_age_ms": 900, "running": 3}], "shards": {}});
        assert_eq!(
            workers(&read(list), &plain()),
            "WORKER  ROLE       MACHINE  STATE     ALIVE  HEARTBEAT   RUNNING  UP SINCE  REASON\n\
             w-1     scheduler  gw       cordoned  yes    900 ms ago  3        09:00:00  update\n"
        );
    }

    #[test]
    fn health_is_a_word_and_its_details() {
        let document = json!({"status": "degraded", "hosts_loaded": 3, "db": false, "workers": {"alive": 0, "names": []}});
        let word: Health = read(document.clone());
        assert_eq!(
            health(&word, &document, &plain()),
            "degraded\ndb  no\nhosts_loaded  3\nworkers\n  alive  0\n  names  []\n"
        );
    }

    #[test]
    fn the_audit_says_who_did_what_and_how_it_went() {
        let page = json!({"entries": [{"at": "2026-03-01T08:00:00Z", "caller": "ada", "role": "operator", "from": "127.0.0.1",
            "action": "POST /api/wol", "subject": "h\n", "status": 409, "code": "host_busy"}], "next": 9});
        assert_eq!(
            audit(&read(page), &plain()),
            "AT        CALLER  ROLE      FROM       ACTION         SUBJECT  OUTCOME\n\
             09:00:00  ada     operator  127.0.0.1  POST /api/wol  h\\u{a}   409 host_busy\n\
             more: --after 9\n"
        );
    }

    #[test]
    fn a_document_without_an_end_is_cut() {
        let deep = (0..100).fold(json!(1), |inner, _| json!({"a": inner}));
        assert!(facts_of(&deep, &plain()).lines().count() < 10);
    }
}

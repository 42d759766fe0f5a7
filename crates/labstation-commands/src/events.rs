//! The guard's event file: one JSON object a line, appended while we read.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::document::{DOCUMENT_LIMIT, Node, decode, parse};

/// Somebody was logged off by the guard.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When, by the station's clock.
    pub at: Option<DateTime<Utc>>,
    /// Who.
    pub user: Option<String>,
    /// The Windows session, a number.
    pub session_id: Option<String>,
    /// What they were told.
    pub message: Option<String>,
    /// The whole line.
    pub raw: Value,
}

/// What an event file holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Events {
    /// The events, oldest first.
    pub events: Vec<Event>,
    /// The last line, when it has no end yet and is no whole object: somebody is just writing it.
    pub torn: Option<String>,
    /// Whole lines that are no JSON objects.
    pub bad_lines: usize,
    /// Bytes at the beginning that were passed over, because the file is longer than
    /// [`DOCUMENT_LIMIT`].
    pub skipped_bytes: usize,
}

/// Reads an event file, or the part of one that begins with a whole line.
///
/// A last line without an end counts only if it is a whole object, which no beginning of one can be. A byte
/// order mark is expected at the beginning only. Of a file longer than [`DOCUMENT_LIMIT`] the end is read.
pub fn parse_events(bytes: &[u8]) -> Events {
    let tail = tail_of(bytes);
    let mut found = Events {
        skipped_bytes: bytes.len() - tail.len(),
        ..Events::default()
    };
    let Some(text) = decode(tail) else {
        found.bad_lines = 1;
        return found;
    };
    let mut rest: &str = &text;
    while !rest.is_empty() {
        let (line, after) = rest
            .split_once('\n')
            .map_or((rest, None), |(line, after)| (line, Some(after)));
        match (parse_line(line), after) {
            (Line::Blank, _) => {}
            (Line::Event(event), _) => found.events.push(*event),
            (Line::Bad, Some(_)) => found.bad_lines += 1,
            (Line::Bad, None) => found.torn = Some(line.to_owned()),
        }
        rest = after.unwrap_or_default();
    }
    found
}

/// The newest event of a file. Lines that are torn or broken do not hide it.
pub fn last_event(bytes: &[u8]) -> Option<Event> {
    parse_events(bytes).events.pop()
}

pub(crate) enum Line {
    Blank,
    Event(Box<Event>),
    Bad,
}

pub(crate) fn parse_line(line: &str) -> Line {
    let line = line.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    if line.is_empty() {
        return Line::Blank;
    }
    match parse(line) {
        Ok(raw @ Value::Object(_)) => {
            let event = Node::root(&raw);
            Line::Event(Box::new(Event {
                at: event.get("timestamp").stamp(),
                user: event.get("user").text(),
                session_id: event.get("sessionId").text(),
                message: event.get("message").text(),
                raw,
            }))
        }
        _ => Line::Bad,
    }
}

/// The end of a file that is too long, from the beginning of a line.
fn tail_of(bytes: &[u8]) -> &[u8] {
    let Some(start) = bytes.len().checked_sub(DOCUMENT_LIMIT).filter(|start| *start > 0) else {
        return bytes;
    };
    let tail = &bytes[start..];
    let line = tail
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(tail.len(), |end| end + 1);
    &tail[line..]
}

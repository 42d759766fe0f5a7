//! A report in the shape in which it waits and is written: small, cut to its columns, and read once.

mod ascii;

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use labstation_commands::{DOCUMENT_LIMIT, Event, EventBatch, EventCursor, Heartbeat};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

pub(crate) use self::ascii::{ascii_json, ascii_text};
use crate::columns::{cut, microseconds, whole_seconds};
use crate::digest;
use crate::hosts::HostRecord;
use crate::report::{Heard, PollOutcome, PollReport};

/// Longest event that is stored whole, in bytes.
const EVENT_LIMIT: usize = 1 << 20;
/// MariaDB takes no JSON that is nested deeper than 32.
const EVENT_DEPTH: usize = 30;

#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    pub(crate) host: HostRecord,
    /// With microseconds.
    pub(crate) at: NaiveDateTime,
    pub(crate) took: Duration,
    pub(crate) what: What,
    pub(crate) events: Option<PreparedEvents>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Heard(Box<PreparedHeard>),
    Failed {
        code: String,
        text: String,
    },
    Off {
        text: String,
    },
    /// Nothing was polled: only the events are kept.
    EventsOnly,
}

/// Stamps of the heartbeat row have whole seconds, those of the state microseconds.
#[derive(Debug, Clone)]
pub(crate) struct PreparedHeard {
    pub(crate) stamp: NaiveDateTime,
    pub(crate) reported_at: Option<NaiveDateTime>,
    pub(crate) offset_ms: Option<i64>,
    pub(crate) ready: Option<bool>,
    pub(crate) local_mode: Option<bool>,
    pub(crate) local_session: Option<bool>,
    pub(crate) logoff_at: Option<DateTime<Utc>>,
    pub(crate) logoff_user: Option<String>,
    pub(crate) power_at: Option<DateTime<Utc>>,
    pub(crate) power_mode: Option<String>,
    pub(crate) booted_at: Option<NaiveDateTime>,
    /// Strict JSON, or why it cannot be stored.
    pub(crate) document: Result<String, String>,
    pub(crate) digest: String,
}

#[derive(Debug, Clone)]
pub(crate) struct PreparedEvents {
    /// Where they were read from, and where to go on; `None` where no cursor is kept.
    pub(crate) cursor: Option<(Option<EventCursor>, EventCursor)>,
    /// Some of them may be stored already.
    pub(crate) compare: bool,
    pub(crate) rows: Vec<PreparedEvent>,
}

#[derive(Debug, Clone)]
pub(crate) struct PreparedEvent {
    pub(crate) stamp: NaiveDateTime,
    /// Whether the stamp is the event's own.
    pub(crate) has_own_stamp: bool,
    /// JSON.
    pub(crate) payload: String,
}

impl Prepared {
    pub(crate) fn of(report: PollReport) -> Self {
        let PollReport {
            host,
            observed_at,
            took,
            outcome,
        } = report;
        let (what, events) = match outcome {
            PollOutcome::Heard(heard) => {
                let Heard {
                    heartbeat,
                    document,
                    events,
                    booted_at,
                } = *heard;
                let fallback = heartbeat.reported_at.unwrap_or(observed_at);
                let events = events.map(|batch| PreparedEvents::of(batch, fallback, observed_at));
                let mut row = PreparedHeard::of(&heartbeat, document, observed_at);
                row.booted_at = booted_at.and_then(microseconds);
                (What::Heard(Box::new(row)), events)
            }
            PollOutcome::Failed { code, text } => {
                let (code, text) = (cut(&code, 64), cut(&text, 512));
                (What::Failed { code, text }, None)
            }
            PollOutcome::Off { text } => (
                What::Off {
                    text: cut(&text, 512),
                },
                None,
            ),
        };
        Self {
            host: host.cut(),
            at: microseconds(observed_at).unwrap_or_default(),
            took,
            what,
            events,
        }
    }

    /// One event that was read without a cursor.
    pub(crate) fn of_event(
        host: &HostRecord,
        event: &Event,
        fallback: DateTime<Utc>,
        observed_at: DateTime<Utc>,
    ) -> Self {
        Self {
            host: host.clone().cut(),
            at: microseconds(observed_at).unwrap_or_default(),
            took: Duration::ZERO,
            what: What::EventsOnly,
            events: Some(PreparedEvents {
                cursor: None,
                compare: true,
                rows: vec![PreparedEvent::of(event, fallback, observed_at)],
            }),
        }
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let document = match &self.what {
            What::Heard(heard) => heard.document.as_ref().map_or(0, String::len),
            _ => 0,
        };
        let events = self.events.iter().flat_map(|events| &events.rows);
        1_024 + document + events.map(|event| 64 + event.payload.len()).sum::<usize>()
    }
}

impl PreparedHeard {
    fn of(heartbeat: &Heartbeat, document: String, observed_at: DateTime<Utc>) -> Self {
        let logoff = heartbeat.last_forced_logoff.as_ref();
        let power = heartbeat.last_power_action.as_ref();
        let now = whole_seconds(observed_at).unwrap_or_default();
        let (document, digest) = strict(document, &heartbeat.raw);
        Self {
            stamp: heartbeat.reported_at.and_then(whole_seconds).unwrap_or(now),
            reported_at: heartbeat.reported_at.and_then(microseconds),
            offset_ms: heartbeat
                .reported_at
                .map(|reported| (reported - observed_at).num_milliseconds()),
            ready: heartbeat.ready,
            local_mode: heartbeat.local_mode,
            local_session: heartbeat.local_session,
            logoff_at: logoff.and_then(|logoff| logoff.at),
            logoff_user: logoff
                .and_then(|logoff| logoff.user.as_deref())
                .map(|user| cut(user, 128)),
            power_at: power.and_then(|power| power.at),
            power_mode: power
                .and_then(|power| power.mode.as_deref())
                .map(|mode| cut(mode, 32)),
            booted_at: None,
            digest,
            document: within_limit(document),
        }
    }
}

/// The text where it is JSON that everybody reads, else the parsed form as text; and its digest.
fn strict(text: String, parsed: &Value) -> (String, String) {
    let trimmed = text.trim_start_matches('\u{feff}');
    if let Some(digest) = digest::of_document(trimmed) {
        let text = match trimmed.len() == text.len() {
            true => text,
            false => trimmed.to_owned(),
        };
        return (text, digest);
    }
    let parsed = parsed.to_string();
    let digest = digest::of_document(&parsed).unwrap_or_else(|| digest::of_text(&parsed));
    // Half a surrogate pair is passed over by the quick check, and stops other readers.
    let has_surrogates = trimmed.contains("\\ud") || trimmed.contains("\\uD");
    let is_strict = !has_surrogates && serde_json::from_str::<IgnoredAny>(trimmed).is_ok();
    let text = match is_strict {
        true => trimmed.to_owned(),
        false => parsed,
    };
    (text, digest)
}

fn within_limit(text: String) -> Result<String, String> {
    if text.len() > DOCUMENT_LIMIT {
        return Err(format!(
            "the document has {} bytes, more than {DOCUMENT_LIMIT}",
            text.len()
        ));
    }
    Ok(text)
}

impl PreparedEvents {
    fn of(batch: EventBatch, fallback: DateTime<Utc>, observed_at: DateTime<Utc>) -> Self {
        let EventBatch {
            from,
            to,
            events,
            resync,
            ..
        } = batch;
        Self {
            // Of a host never read from, an older version or another worker may have stored the last events.
            compare: resync.is_some() || from.is_none(),
            cursor: Some((from, to)),
            rows: events
                .iter()
                .map(|event| PreparedEvent::of(event, fallback, observed_at))
                .collect(),
        }
    }
}

impl PreparedEvent {
    fn of(event: &Event, fallback: DateTime<Utc>, observed_at: DateTime<Utc>) -> Self {
        let own = event.at.and_then(whole_seconds);
        let stamp = own.or_else(|| whole_seconds(fallback));
        let payload = event.raw.to_string();
        let payload = if payload.len() > EVENT_LIMIT {
            let reason = format!("the event has {} bytes, more than {EVENT_LIMIT}", payload.len());
            json!({"setAside": reason, "begins": cut(&payload, 1_000)}).to_string()
        } else if depth(&event.raw, EVENT_DEPTH).is_none() {
            json!({"setAside": "the event is nested too deeply", "text": payload}).to_string()
        } else {
            payload
        };
        Self {
            stamp: stamp.or_else(|| whole_seconds(observed_at)).unwrap_or_default(),
            has_own_stamp: own.is_some(),
            payload,
        }
    }
}

/// How deep a value is nested; `None` when deeper than `limit`.
fn depth(value: &Value, limit: usize) -> Option<usize> {
    let below = limit.checked_sub(1)?;
    let deepest = match value {
        Value::Array(items) => items
            .iter()
            .try_fold(0, |deep, item| Some(deep.max(depth(item, below)?))),
        Value::Object(map) => map
            .values()
            .try_fold(0, |deep, item| Some(deep.max(depth(item, below)?))),
        _ => Some(0),
    };
    deepest.map(|deepest: usize| deepest + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_up_to_its_limit() {
        let mut value = json!(1);
        for _ in 0..5 {
            value = json!([value]);
        }
        assert_eq!(depth(&value, 6), Some(6));
        assert_eq!(depth(&value, 5), None);
    }
}

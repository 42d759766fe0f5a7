//! What viewers are sent, written out once for all of them.

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use heartbeat_store::{HostState, ReportDocument};
use lab_model::HostName;
use serde::Serialize;
use serde_json::Value;
use station_control::HeartbeatReading;
use utoipa::ToSchema;

use crate::fleet::{instant, millis};

/// What `POST /api/heartbeat/poll` answers, and the event `heartbeat` carries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct HeartbeatAnswer {
    /// The document as the station wrote it. In an event of a report that somebody else read, the document as it is stored:
    /// its own stamps may be as old as the keep-alive, the rest is what was reported at `observed_at`.
    #[schema(value_type = Object)]
    pub(crate) heartbeat: Value,
    /// When it was read, by our clock.
    #[schema(example = "2026-03-01T09:01:35.000Z")]
    pub(crate) observed_at: String,
    /// When the station wrote it, by the station's clock; null when it did not say.
    #[schema(example = "2026-03-01T09:01:31.000Z")]
    pub(crate) reported_at: Option<String>,
    /// The last event of the station's session guard; null when there is none, or it was not asked for.
    #[schema(value_type = Option<Object>)]
    pub(crate) last_event: Option<Value>,
    /// How long reading took; null in an event when somebody else had read it.
    #[schema(example = 38)]
    pub(crate) duration_ms: Option<u64>,
    /// The host; in the answer to a poll as it was sent.
    #[schema(example = "lab-ws-01")]
    pub(crate) host: String,
    /// Whether the database took it, as a row of its own or as one more report of the document it has already.
    pub(crate) persisted: bool,
    /// What is odd about the document.
    #[schema(example = json!(["timestamp has no zone"]))]
    pub(crate) warnings: Vec<String>,
}

impl HeartbeatAnswer {
    /// Of a poll of ours.
    pub(crate) fn of_poll(host: &str, reading: HeartbeatReading, persisted: bool) -> Self {
        Self {
            observed_at: instant(reading.observed_at),
            reported_at: reading.heartbeat.reported_at.map(instant),
            heartbeat: reading.heartbeat.raw,
            last_event: reading.last_event.map(|event| event.raw),
            duration_ms: Some(millis(reading.duration)),
            host: host.to_owned(),
            persisted,
            warnings: reading.heartbeat.warnings,
        }
    }

    /// Of a report that somebody else stored, as `told` says.
    pub(super) fn of_store(host: &HostName, told: Told, document: ReportDocument) -> Self {
        let raw = document.raw;
        // Parsed as it was when it came; what cannot be parsed is shown as text.
        let (heartbeat, written_at, mut warnings) = match labstation_commands::parse_heartbeat(raw.as_bytes())
        {
            Ok(heartbeat) => (heartbeat.raw, heartbeat.reported_at, heartbeat.warnings),
            Err(error) => (Value::String(raw), None, vec![error.to_string()]),
        };
        let persisted = told.set_aside.is_none();
        // The last report has no row: what is shown is one from before it, with its own stamps.
        let (observed_at, reported_at) = match told.set_aside {
            None => (told.heard_at, told.reported_at),
            Some(reason) => {
                warnings.push(format!(
                    "an older document: the last was kept without it: {reason}"
                ));
                (document.stored_at, written_at)
            }
        };
        Self {
            heartbeat,
            observed_at: instant(observed_at),
            reported_at: reported_at.map(instant),
            last_event: document.last_event,
            duration_ms: None,
            host: host.to_string(),
            persisted,
            warnings,
        }
    }
}

/// What a host's state says of its last report.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// When it came.
    pub(super) heard_at: DateTime<Utc>,
    reported_at: Option<DateTime<Utc>>,
    set_aside: Option<String>,
}

impl Told {
    pub(super) fn of(state: &HostState, heard_at: DateTime<Utc>) -> Self {
        Self {
            heard_at,
            reported_at: state.reported_at,
            set_aside: state.set_aside.clone(),
        }
    }
}

/// The event `liveness`: the verdict on a host is another one.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LivenessEvent {
    /// The host.
    #[schema(example = "lab-ws-01")]
    pub(crate) host: String,
    /// As in `GET /api/hosts`.
    #[schema(example = "stale")]
    pub(crate) verdict: &'static str,
    /// One line for people.
    #[schema(example = "it reported 95 s ago")]
    pub(crate) reason: String,
    /// Age of the last report.
    #[schema(example = 95000)]
    pub(crate) heartbeat_age_ms: Option<u64>,
    /// When this was judged.
    #[schema(example = "2026-03-01T09:01:35.000Z")]
    pub(crate) at: String,
}

/// The event `error`: a host could not be polled.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorEvent {
    /// The host.
    #[schema(example = "lab-ws-01")]
    pub(crate) host: String,
    /// One line for people.
    #[schema(example = "the host refused the credentials")]
    pub(crate) error: String,
    /// A stable word.
    #[schema(example = "unauthorized")]
    pub(crate) code: String,
    /// When.
    #[schema(example = "2026-03-01T09:01:35.000Z")]
    pub(crate) at: String,
}

/// The event `hello`, which begins every stream.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HelloEvent {
    /// How often a host is polled that nobody else polls.
    #[schema(example = 10_000)]
    pub(crate) interval_ms: u64,
    /// How many hosts are watched.
    #[schema(example = 12)]
    pub(crate) hosts: usize,
    /// Whether the stream goes on where `Last-Event-ID` says, without a gap.
    pub(crate) resumed: bool,
}

/// The event `reset`: what was missed is no longer known, what follows is the newest of each host.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ResetEvent {
    /// Why.
    #[schema(example = "what was missed is no longer known")]
    pub(crate) reason: &'static str,
}

/// The event `dropped`, the last one: the viewer read too slowly.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct DroppedEvent {
    /// Why.
    #[schema(example = "the viewer reads too slowly")]
    pub(crate) reason: &'static str,
}

/// What an event is about; of each kind the newest is shown to whoever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Heartbeat,
    Liveness,
    Error,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::Liveness => "liveness",
            Self::Error => "error",
        }
    }
}

/// What is to be told of a host.
#[derive(Debug)]
pub(super) enum News {
    Heartbeat(HeartbeatAnswer),
    Liveness(LivenessEvent),
    Error(ErrorEvent),
}

/// An event as it goes over the wire.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) seq: u64,
    pub(super) kind: Kind,
    whole: Bytes,
    /// Without the session guard's event, for viewers who do not want it.
    bare: Bytes,
}

impl Event {
    pub(super) fn new(run: &str, seq: u64, news: News) -> Self {
        let (kind, whole, bare) = match news {
            News::Heartbeat(mut answer) => {
                let whole = json(&answer);
                let bare = answer.last_event.take().map(|_| json(&answer));
                (Kind::Heartbeat, whole, bare)
            }
            News::Liveness(event) => (Kind::Liveness, json(&event), None),
            News::Error(event) => (Kind::Error, json(&event), None),
        };
        let frame = |data: &str| {
            let word = kind.word();
            Bytes::from(format!("id: {run}-{seq}\nevent: {word}\ndata: {data}\n\n"))
        };
        let whole = frame(&whole);
        let bare = bare.map_or_else(|| whole.clone(), |bare| frame(&bare));
        Self {
            seq,
            kind,
            whole,
            bare,
        }
    }

    pub(super) fn frame(&self, with_events: bool) -> Bytes {
        if with_events { &self.whole } else { &self.bare }.clone()
    }

    /// What keeping it costs.
    pub(super) fn bytes(&self) -> usize {
        self.whole.len()
            + if self.whole == self.bare {
                0
            } else {
                self.bare.len()
            }
    }
}

/// A frame that no stream can be resumed at.
pub(super) fn passing<T: Serialize>(word: &str, data: &T) -> Bytes {
    Bytes::from(format!("event: {word}\ndata: {}\n\n", json(data)))
}

/// Texts, numbers, booleans and parsed JSON only: there is nothing that could not be written. A line break within a
/// text is escaped, so that the whole is one line.
fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// An instant for an event.
pub(super) fn at(now: chrono::DateTime<chrono::Utc>) -> String {
    instant(now)
}

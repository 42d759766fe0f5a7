//! What each answer looks like to a person. Pure: documents and a moment in, text out.

mod history;
mod hosts;
mod past;
mod reasons;
mod things;

pub(crate) use history::{operation, recent, reservations, steps, timeline};
pub(crate) use hosts::{heartbeat, host, hosts, in_maintenance, polled};
pub(crate) use past::{event, events, host_history, hours};
pub(crate) use reasons::{explanation, host_explanation};
pub(crate) use things::{audit, facts_of, health, worker, workers};

use chrono::{DateTime, Utc};

use super::{Cell, Style, Tone};
use crate::client::model::Booking;

fn clock(at: Option<DateTime<Utc>>, style: &Style) -> Cell {
    Cell::or_dash(at.map(|at| style.moment.clock(at)))
}

fn both(at: Option<DateTime<Utc>>, style: &Style) -> Option<Cell> {
    at.map(|at| Cell::from(style.moment.both(at)))
}

fn yes_no(value: Option<bool>) -> Option<Cell> {
    value.map(|value| Cell::from(if value { "yes" } else { "no" }))
}

fn some(text: Option<&str>) -> Option<Cell> {
    text.filter(|text| !text.is_empty()).map(Cell::from)
}

/// `1 packet`, `2 packets`.
pub(crate) fn count(number: u64, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// The colour of a state word, whoever's it is.
fn tone_of(state: &str) -> Tone {
    match state.to_ascii_lowercase().as_str() {
        "fresh" | "ok" | "succeeded" | "completed" | "done" | "active" | "alive" | "ready" => Tone::Good,
        "stale" | "degraded" | "running" | "queued" | "cordoned" | "draining" | "interrupted"
        | "maintenance" => Tone::Warning,
        "silent" | "failed" | "dead" | "needs_attention" | "gone" => Tone::Bad,
        "expected-off" | "never-seen" | "cancelled" | "left" => Tone::Faint,
        _ => Tone::Plain,
    }
}

fn state(text: Option<&str>) -> Cell {
    match text {
        Some(text) => Cell::toned(text, tone_of(text)),
        None => Cell::or_dash(None::<&str>),
    }
}

/// `0xab 09:00-10:00`, in local time.
fn booking(booking: Option<&Booking>, style: &Style) -> Cell {
    let Some(booking) = booking else {
        return Cell::or_dash(None::<&str>);
    };
    let id = short(booking.reservation_id.as_deref().unwrap_or("?"));
    let clock = |at: Option<DateTime<Utc>>| at.map_or_else(|| "?".to_owned(), |at| style.moment.clock(at));
    Cell::from(format!("{id} {} - {}", clock(booking.start), clock(booking.end)))
}

/// Transaction hashes fill a line; their beginning is enough in a table that has other columns.
fn short(id: &str) -> String {
    if id.chars().count() <= 20 {
        return id.to_owned();
    }
    let begin: String = id.chars().take(16).collect();
    format!("{begin}...")
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::{DateTime, FixedOffset};

    use crate::output::Style;
    use crate::when::{Moment, Zone};

    /// Plain text, seen at 09:00 UTC one hour east of it.
    pub(crate) fn plain() -> Style {
        Style {
            terminal: false,
            colour: false,
            moment: Moment {
                now: DateTime::parse_from_rfc3339("2026-03-01T09:00:00Z")
                    .unwrap()
                    .to_utc(),
                zone: Zone::Fixed(FixedOffset::east_opt(3600).unwrap()),
            },
        }
    }

    /// A document as its type.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
        serde_json::from_value(value).unwrap()
    }
}

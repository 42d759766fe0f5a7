//! How much room heartbeats take: rows and bytes of a host and day, and of a fleet after some days of growth and retention.
//! Pure; `docs/heartbeats.md` has the derivation, and a test holds it against a simulated day on real databases.

use std::time::Duration;

use store_support::Backend;

use crate::report::Keep;
use crate::retention::RetentionSettings;

const DAY_SECS: f64 = 86_400.0;

/// What a host does in a day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostDay {
    /// Time between two polls.
    pub interval: Duration,
    /// Which reports become a row.
    pub keep: Keep,
    /// Bytes of a document.
    pub document_bytes: u32,
    /// How often the document changes in a day, but for its stamps.
    pub document_changes: u32,
    /// How often one of the remembered fields does (readiness, local mode, session, power, boot).
    pub field_changes: u32,
    /// Events of the guard.
    pub events: u32,
    /// Bytes of an event's JSON.
    pub event_bytes: u32,
}

impl Default for HostDay {
    /// A host of a busy lab: a poll a minute, 4 KiB, 40 changes of the document, 20 of fields, 30 events of 200 bytes.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            keep: Keep::default(),
            document_bytes: 4_096,
            document_changes: 40,
            field_changes: 20,
            events: 30,
            event_bytes: 200,
        }
    }
}

/// Rows or bytes, by table.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Room {
    /// `lab_host_heartbeat`.
    pub heartbeats: f64,
    /// `lab_host_events`.
    pub events: f64,
    /// `ops_host_changes`.
    pub changes: f64,
    /// `ops_host_hours`.
    pub hours: f64,
}

impl Room {
    /// All tables together.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.heartbeats + self.events + self.changes + self.hours
    }

    fn times(&self, other: &Self) -> Self {
        Self {
            heartbeats: self.heartbeats * other.heartbeats,
            events: self.events * other.events,
            changes: self.changes * other.changes,
            hours: self.hours * other.hours,
        }
    }
}

impl HostDay {
    /// Rows of one host and day, at most: an unchanged document is kept by the first poll at which the keep-alive is over.
    #[must_use]
    pub fn rows(&self) -> Room {
        let interval = self.interval.as_secs_f64().max(1.0);
        let polls = DAY_SECS / interval;
        let heartbeats = match self.keep {
            Keep::Every => polls,
            Keep::Changes { keep_alive } => {
                let kept_every = (keep_alive.as_secs_f64() / interval).ceil().max(1.0) * interval;
                (DAY_SECS / kept_every + f64::from(self.document_changes)).min(polls)
            }
        };
        Room {
            heartbeats,
            events: f64::from(self.events),
            changes: f64::from(self.field_changes),
            hours: 24.0,
        }
    }

    /// Bytes of one row with its entries in the indexes.
    #[must_use]
    pub fn row_bytes(&self, backend: Backend) -> Room {
        let (document, event) = (f64::from(self.document_bytes), f64::from(self.event_bytes));
        match backend {
            Backend::MySql => Room {
                heartbeats: innodb_row(HEARTBEAT_INNODB, document) + index(27.0),
                events: innodb_row(60.0, event) + index(40.0) + index(22.0),
                changes: innodb_row(75.0, 0.0) + index(42.0),
                hours: 150.0 / FILL + index(21.0),
            },
            Backend::Sqlite => Room {
                heartbeats: sqlite_row(HEARTBEAT_SQLITE + document) + index(32.0),
                events: sqlite_row(62.0 + event) + index(44.0) + index(12.0),
                changes: sqlite_row(90.0) + index(56.0),
                hours: sqlite_row(80.0) + index(40.0) + index(40.0),
            },
        }
    }

    /// Bytes of one host and day.
    #[must_use]
    pub fn bytes(&self, backend: Backend) -> Room {
        self.rows().times(&self.row_bytes(backend))
    }

    /// Rows of a fleet after so many days under a retention.
    #[must_use]
    pub fn rows_after(&self, days: u32, hosts: u32, retention: &RetentionSettings) -> Room {
        let a_day = self.rows();
        let kept = |limit: u32| f64::from(days.min(limit));
        let hourly = kept(retention.hourly_days) - kept(retention.full_days);
        let hosts = f64::from(hosts);
        Room {
            heartbeats: hosts
                * (kept(retention.full_days) * a_day.heartbeats + hourly * a_day.heartbeats.min(24.0)),
            events: hosts * kept(retention.event_days) * a_day.events,
            changes: hosts * kept(retention.change_days) * a_day.changes,
            hours: hosts * kept(retention.hour_days) * a_day.hours,
        }
    }

    /// Bytes of a fleet after so many days under a retention.
    #[must_use]
    pub fn bytes_after(
        &self,
        days: u32,
        hosts: u32,
        retention: &RetentionSettings,
        backend: Backend,
    ) -> Room {
        self.rows_after(days, hosts, retention)
            .times(&self.row_bytes(backend))
    }
}

/// The columns beside the document, with InnoDB's own 18 bytes and the header.
const HEARTBEAT_INNODB: f64 = 80.0;
/// The columns beside the document: instants are texts of 19 bytes.
const HEARTBEAT_SQLITE: f64 = 95.0;
/// How full pages are whose rows come in no order.
const FILL: f64 = 0.7;

/// An entry of a secondary index.
fn index(bytes: f64) -> f64 {
    bytes / FILL
}

/// Bytes of a row that comes in the order of the primary key, in pages of 16 KiB of which a sixteenth is left free. A text too
/// long for half a page has pages of its own.
///
/// Source: the InnoDB manual on row formats and on the structure of an index; DYNAMIC.
fn innodb_row(columns: f64, text: f64) -> f64 {
    const PAGE: f64 = 16_384.0;
    const USABLE: f64 = 15_200.0;
    const LONGEST: f64 = 8_100.0;
    const OVERFLOW: f64 = 16_327.0;
    let (inside, outside) = if columns + text > LONGEST {
        (columns + 20.0, (text / OVERFLOW).ceil() * PAGE)
    } else {
        (columns + text, 0.0)
    };
    PAGE / (USABLE / inside).floor().max(1.0) + outside
}

/// Bytes of a row that comes in the order of its row id, in pages of 4 KiB; what is longer than a page goes on in others.
///
/// Source: the SQLite file format, section 1.6.
fn sqlite_row(payload: f64) -> f64 {
    const PAGE: f64 = 4_096.0;
    let (most, least) = (PAGE - 35.0, ((PAGE - 12.0) * 32.0 / 255.0 - 23.0).floor());
    let (inside, outside) = if payload <= most {
        (payload, 0.0)
    } else {
        let rest = least + (payload - least) % (PAGE - 4.0);
        let inside = if rest <= most { rest } else { least };
        (inside + 4.0, ((payload - inside) / (PAGE - 4.0)).ceil() * PAGE)
    };
    let cell = inside + 8.0;
    PAGE / ((PAGE - 8.0) / cell).floor().max(1.0) + outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_follow_from_the_interval_the_keep_alive_and_the_changes() {
        let day = HostDay::default();
        assert_eq!(day.rows().heartbeats, 288.0 + 40.0);
        assert_eq!(
            HostDay {
                keep: Keep::Every,
                ..day
            }
            .rows()
            .heartbeats,
            1_440.0
        );
        // A keep-alive of 5 min is over at the third poll of 2 min.
        let slow = HostDay {
            interval: Duration::from_secs(120),
            ..day
        };
        assert_eq!(slow.rows().heartbeats, 240.0 + 40.0);
        let rare = HostDay {
            interval: Duration::from_secs(3_600),
            ..day
        };
        assert_eq!(rare.rows().heartbeats, 24.0, "never more than polls");
    }

    #[test]
    fn pages_make_steps() {
        assert_eq!(innodb_row(80.0, 4_096.0), 16_384.0 / 3.0);
        assert_eq!(innodb_row(80.0, 20_000.0), 16_384.0 / 152.0 + 2.0 * 16_384.0);
        assert_eq!(sqlite_row(4_191.0), 4_096.0 / 8.0 + 4_096.0);
        assert!(sqlite_row(100.0) < 112.0);
    }

    #[test]
    fn a_fleet_stops_growing_when_its_oldest_rows_go() {
        let (day, retention) = (HostDay::default(), RetentionSettings::default());
        let after = |days| day.rows_after(days, 100, &retention).heartbeats;
        assert_eq!(after(7), 100.0 * 7.0 * 328.0);
        assert_eq!(after(30), 100.0 * (14.0 * 328.0 + 16.0 * 24.0));
        assert_eq!(after(90), after(365));
    }
}

//! What stations reported, and how each host was last seen: the heartbeat tables that the older worker and
//! the web page share, and tables of our own beside them.
//!
//! It reads no station: callers hand it parsed documents and an instant of their clock. Freshness follows from that
//! instant, never from the station's stamps, which are data. How fresh a host is follows from its row by a pure function,
//! [`judge`].
//!
//! ```
//! # use chrono::{DateTime, Utc};
//! # use heartbeat_store::{
//! #     Heard, HeartbeatStore, HostRecord, PollOutcome, PollReport, Recorder, RecorderSettings, TablePrefix, schema,
//! # };
//! # use std::time::Duration;
//! # async fn example(db: store_support::Database, now: DateTime<Utc>) -> Result<(), Box<dyn std::error::Error>> {
//! // Tables of an embedder's own; `HeartbeatStore::new` works on those that `migrations` makes.
//! let prefix = TablePrefix::parse("acme_")?;
//! schema::install(&db, &prefix).await?;
//! let store = HeartbeatStore::with_tables(db, &prefix);
//! let (recorder, task) = Recorder::start(store.clone(), RecorderSettings::default());
//!
//! let host = HostRecord {
//!     name: lab_model::HostName::parse("lab-ws-01")?,
//!     address: "10.0.0.11".to_owned(),
//!     mac: Some("00:11:22:33:44:55".to_owned()),
//! };
//! let document = r#"{"timestamp": "2026-03-01T09:00:00Z", "summary": {"ready": true}}"#.to_owned();
//! let heard = Heard {
//!     heartbeat: labstation_commands::parse_heartbeat(document.as_bytes())?,
//!     document,
//!     events: None,
//!     booted_at: None,
//! };
//! let report = PollReport {
//!     host: host.clone(),
//!     observed_at: now,
//!     took: Duration::from_millis(12),
//!     outcome: PollOutcome::Heard(Box::new(heard)),
//! };
//! // Waits for room in the queue; the receipt is done when the report is committed.
//! recorder.record(report).await?.await?;
//! assert_eq!(store.latest(&host.name).await?.and_then(|latest| latest.ready), Some(true));
//! task.close(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # Tables
//!
//! | table | a row is | written |
//! |---|---|---|
//! | `lab_hosts` | a host: name, address, `last_seen` | with every report |
//! | `lab_host_heartbeat` | a report as the older worker wrote it, with the whole document | when the document changed in more than its own stamps, or the last row is older than the keep-alive; see [`Keep`] |
//! | `lab_host_events` | an event of the session guard | once per line of the station's event file |
//! | `ops_host_state` | a host as it was last seen: readiness, failures, skew, boot, last power order, which row has its document | with every poll |
//! | `ops_event_cursors` | how far a host's event file was read | with the events behind it |
//! | `ops_host_changes` | a change of readiness, local mode, local session, power or boot | when it changed |
//! | `ops_host_hours` | an hour of a host in sums: polls, failures, time ready, boots, latencies | with every poll, by adding |
//! | `ops_heartbeat_writers` | the number of the last batch of a recorder | with every batch |
//! | `ops_retention` | how far a task of the retention has come | by [`HeartbeatStore::retain`] |
//!
//! With a [`TablePrefix`] they are called `<prefix>hosts`, `<prefix>host_heartbeat`, `<prefix>host_state` and so on.
//!
//! # What holds
//!
//! * A batch is one transaction, and the number of its statements is bounded, however many hosts are in it: each kind of
//!   row is one, and new rows are cut into five at most, whose sizes recur so that they stay prepared.
//! * What a [`Receipt`] acknowledged is committed. While the database is away reports wait in a queue that is bounded in
//!   number and in bytes, and callers wait for room in it.
//! * A commit whose answer was lost is not repeated: the number of the batch, which is moved in the same transaction,
//!   tells whether it took effect.
//! * An event is stored once, whoever reads it: its cursor moves in the same transaction, and a batch that was read from
//!   elsewhere than where the cursor stands is refused ([`EventsKept::Stale`]). Of a file that was replaced, the cursor
//!   says how much may have been stored before, whoever reads on.
//! * A report that the database refuses costs no other report anything, and as much of it is kept as can be
//!   ([`Kept::SetAside`]).
//! * A report that comes late does not overwrite a newer state; a state with a stamp to come, from before a clock was put
//!   back, is overwritten.
//!
//! Every call may be dropped at any time; what that means is said where it matters.

mod batch;
mod columns;
mod digest;
mod documents;
mod event_log;
mod events;
mod heartbeats;
mod history;
mod hosts;
mod hours_read;
mod latency;
mod liveness;
#[cfg(test)]
mod plans;
mod prepared;
mod recorder;
mod report;
mod retention;
pub mod schema;
mod settle;
mod size;
mod states;
mod store;
mod tables;

pub use documents::ReportDocument;
pub use event_log::{EventPage, MAX_EVENTS, StoredEvent};
pub use heartbeats::{LogoffMark, PowerMark, StoredHeartbeat};
pub use history::{AskProblem, Field, HistoryAsk, HistoryError, MAX_CHANGES, MAX_POINTS, Point};
pub use hosts::HostRecord;
pub use hours_read::HourCount;
pub use latency::{BOUNDS, BUCKETS, Latencies, bucket_of};
pub use liveness::{Liveness, Need, Verdict, judge};
pub use recorder::{Receipt, RecordError, Recorder, RecorderFigures, RecorderSettings, RecorderTask};
pub use report::{EventsKept, Heard, Keep, Kept, PollOutcome, PollReport, Recorded};
pub use retention::{Held, Retained, RetentionProblem, RetentionSettings};
pub use size::{HostDay, Room};
pub use states::{HostState, PollFailure};
pub use store::{HeartbeatStore, HeartbeatStoreError};
pub use tables::{InvalidPrefix, TablePrefix};

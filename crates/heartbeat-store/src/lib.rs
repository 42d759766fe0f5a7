//! What stations reported, and how each host was last seen: the heartbeat tables that the older worker and
//! the web page share, and our own row per host with the arrival time and the failures.
//!
//! It reads no station: callers hand it parsed documents and an instant of their clock. How fresh a host is follows
//! from its row by a pure function, [`judge`].
//!
//! ```
//! # use chrono::{DateTime, Utc};
//! # use heartbeat_store::{HeartbeatStore, HostRecord};
//! # async fn example(db: store_support::Database, now: DateTime<Utc>) -> Result<(), Box<dyn std::error::Error>> {
//! let store = HeartbeatStore::new(db);
//! let host = HostRecord {
//!     name: lab_model::HostName::parse("lab-ws-01")?,
//!     address: "10.0.0.11".to_owned(),
//!     mac: Some("00:11:22:33:44:55".to_owned()),
//! };
//! let raw = r#"{"timestamp": "2026-03-01T09:00:00Z", "summary": {"ready": true}}"#;
//! let heartbeat = labstation_commands::parse_heartbeat(raw.as_bytes())?;
//! store.record(&host, &heartbeat, raw, now).await?;
//! assert_eq!(store.latest(&host.name).await?.and_then(|latest| latest.ready), Some(true));
//! # Ok(())
//! # }
//! ```

mod columns;
mod documents;
mod entity;
mod events;
mod heartbeats;
mod hosts;
mod liveness;
mod states;
mod store;

pub use documents::ReportDocument;
pub use heartbeats::{LogoffMark, PowerMark, Recorded, StoredHeartbeat};
pub use hosts::HostRecord;
pub use liveness::{Liveness, Need, Verdict, judge};
pub use states::{HostState, PollFailure};
pub use store::{HeartbeatStore, HeartbeatStoreError};

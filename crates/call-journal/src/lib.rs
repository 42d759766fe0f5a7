//! Keeps what callers asked for and what came of it: calls with their idempotency keys, and the audit trail.
//!
//! A call is written down before its effect begins and again when it is over, so that its answer outlives a caller
//! who hung up. Two calls of one caller with the same key are one: a unique index decides which of them is run. A
//! lease of the database's clock says whether whoever runs a call still lives; when it is over the call counts as
//! interrupted, and is never run again by itself.
//!
//! It runs nothing, and knows neither HTTP nor hosts.
//!
//! ```
//! # use call_journal::{CallEnd, CallJournal, CallState, NewCall, Opened};
//! # async fn example(db: store_support::Database, call: NewCall, now: chrono::DateTime<chrono::Utc>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let journal = CallJournal::new(db);
//! let lease = std::time::Duration::from_secs(15);
//! if let Opened::New = journal.open(&call, lease).await? {
//!     // Act, and then:
//!     let end = CallEnd::new(CallState::Succeeded, 200, serde_json::json!({"success": true}));
//!     journal.finish(call.id, &call.worker, &end, now).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod columns;
mod entity;
mod error;

mod answer;
mod call;

mod audit;
mod calls;
mod journal;
mod retention;

#[cfg(test)]
mod plans;

pub use answer::MAX_ANSWER;
pub use audit::{AuditEntry, AuditFilter, AuditId, AuditPage, AuditRecord};
pub use call::{
    CallEnd, CallId, CallKind, CallRecord, CallState, IdempotencyKey, KeyError, NewCall, Opened, StoredAnswer,
};
pub use error::JournalError;
pub use journal::CallJournal;
pub use retention::Forgotten;

//! The engine's [`Store`](reservation_engine::Store) over a database: reservations as the gateway wrote them,
//! claims on hosts, the journal of operations, and the history that other services and the web page read.
//!
//! A claim is one row of `ops_leases`: won by one conditional update that raises its fencing token, ended by
//! the database's clock. Every write of the journal looks at that row under its token in the statement that writes,
//! so that nothing is written by somebody who lost the host. In `lab_reservations` only `status` is changed, and
//! only if it still is what the caller saw. Each call may be repeated when its answer was lost.
//!
//! It decides nothing, and it knows no station.
//!
//! ```
//! # use reservation_engine::Store as _;
//! # use reservation_store::ReservationStore;
//! # async fn example(db: store_support::Database) -> Result<(), Box<dyn std::error::Error>> {
//! let store = ReservationStore::new(db);
//! let host = lab_model::HostName::parse("lab-ws-01")?;
//! let lease = std::time::Duration::from_secs(15);
//! if let Some(claim) = store.claim_host(&host, "scheduler-a:flow-1", lease).await? {
//!     // Act on the host, renew, and then:
//!     store.give_back(&claim).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod columns;
mod entity;
mod fault;
mod store;
mod stored;

mod claims;
mod fenced;

mod abandoned;
mod due;
mod history;
mod journal_view;
mod lists;
mod maintenance;
mod operations;
mod orphans;
mod queries;
mod queries_fleet;
mod reservations;
mod timings;
mod work;

#[cfg(test)]
mod plans;

/// Adds rows to the history inside a transaction of the caller's own.
pub use history::add as add_history;
pub use journal_view::{JournalEntry, JournalKey};
pub use lists::{HistoryFilter, ReservationFilter, ReservationsPage};
pub use maintenance::NewMaintenance;
pub use queries::{AttemptRow, OperationRow, OperationsPage, ReservationRow};
pub use queries_fleet::FleetReservation;
pub use store::ReservationStore;

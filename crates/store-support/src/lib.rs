//! What every store needs from a database, and nothing about what is stored: connections that behave the same
//! on MySQL, MariaDB and SQLite, the one way to open a transaction, and what a database error means.
//!
//! It knows no table of ours (but the one that [`Database::ping`] reads) and no domain type.
//!
//! ```
//! # use store_support::{Database, DatabaseSettings, DatabaseUrl, DbErr, transaction};
//! # use sea_orm::ConnectionTrait;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let url = DatabaseUrl::parse("mysql+pymysql://ops:p%40ss@db.lab:3306/gateway?charset=utf8mb4")?;
//! let db = Database::connect(&DatabaseSettings::new(url)).await?;
//! let name = "bench-7";
//! transaction(&db, |tx| {
//!     Box::pin(async move {
//!         tx.execute_unprepared("INSERT INTO things (id) VALUES (1)").await?;
//!         tracing::debug!(name, "inserted");
//!         Ok::<_, DbErr>(())
//!     })
//! })
//! .await?;
//! # Ok(())
//! # }
//! ```

mod backend;
mod database;
mod dialect;
mod fault;
mod presence;
mod several;
mod stamps;
mod suspicion;
mod traffic;
mod transaction;
mod url;

#[cfg(feature = "test-support")]
pub mod test_support;

pub use backend::Backend;
pub use database::{ConnectError, Database, DatabaseSettings};
pub use dialect::Dialect;
pub use fault::{DbFault, classify};
pub use presence::NoAnswer;
/// The error of every database call, re-exported so that callers need not name the driver's crate.
pub use sea_orm::DbErr;
pub use several::{Asked, Question};
pub use traffic::{Failures, PoolState, Traffic};
pub use transaction::{TransactionFailure, Tx, retried, transaction};
pub use url::{DatabaseUrl, ServerParts, UrlError};

//! The database schema, for MySQL, MariaDB and SQLite.
//!
//! The older tables belong to other services too: they are made when absent, adopted as they are when
//! present, and gain at most an index. Ours (`ops_*`) are added. Every migration is one schema change, since
//! MySQL commits at each, and can run twice. Any number of processes may call [`run`] at once.
//!
//! ```
//! # use store_support::{Database, DatabaseSettings, DatabaseUrl};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let db = Database::connect(&DatabaseSettings::new(DatabaseUrl::in_memory())).await?;
//! assert!(!migrations::run(db.connection()).await?.applied.is_empty());
//! assert!(migrations::run(db.connection()).await?.applied.is_empty());
//! # Ok(())
//! # }
//! ```

mod lock;
mod run;
mod schema;
mod steps;

pub use run::{MigrateError, Report, run};

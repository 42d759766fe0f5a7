//! Who is alive, what it can do, and which shards of the work are whose.
//!
//! Each service registers under a name that only one living process can have, and writes a heartbeat every 5 s. Hosts
//! are hashed onto [`SHARDS`] shards, so that the traffic of leases does not grow with hosts; workers that can do a
//! [`Duty`] hold its shards by leases that end by the database's clock, and pass them on when one comes or goes. One
//! worker alone holds everything.
//!
//! A shard only spreads work. What guards a host is the claim on it; so the worst that two views of the shards can
//! do is to look twice.
//!
//! ```no_run
//! # use store_support::Database;
//! use worker_registry::{Capabilities, Duty, Member, Progress, Registration, Settings};
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example(db: Database, host: lab_model::HostName) {
//! let who = Registration::new("scheduler", "gateway-1", Capabilities::new([Duty::Polls]), "1.0.0");
//! let progress = Progress::default();
//! let (member, ownership) = Member::new(who, Settings::default(), progress);
//! let (drain, leave) = (CancellationToken::new(), CancellationToken::new());
//! tokio::spawn(member.run(db, Box::new(|| 0), drain, leave.clone()));
//! if ownership.owns(Duty::Polls, &host) {
//!     // It is ours to poll, for the moment.
//! }
//! leave.cancel();
//! # }
//! ```

mod error;

mod shard;
mod worker;

mod leases;
mod registry;

mod balance;
mod member;
mod ownership;
mod progress;

pub use error::{ChangeError, RegisterError, RegistryError};
pub use member::{Departure, Member, Settings};
pub use ownership::Ownership;
pub use progress::{Progress, Pulse};
pub use registry::Registry;
pub use shard::{Duty, SHARDS, Shard, ShardSet};
pub use worker::{Capabilities, Incumbent, Registration, ShardCounts, Status, WorkerRecord};

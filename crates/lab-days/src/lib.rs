//! Whole days of a lab on virtual time, with seeded faults, and an auditor who reads what happened.
//!
//! A day has a few hosts, one to three schedulers, callers, and a gateway that books, moves and cancels. All of it
//! is drawn from one seed, together with a mixture of faults: crashes at chosen moments, pauses of more than three
//! leases, partitions, a store that is slow, away or loses the answer to a commit, clocks that jump, hosts that hang,
//! lie, refuse or boot slowly. It runs on one thread and on paused time, so that a seed always gives the same day.
//! When faults have ceased for a while, the day is audited against the promises of the design ([`Invariant`]).
//!
//! It is a test of `reservation-engine` and knows its ports only: no SQL, no network, no process is started. The
//! store behind the faults is the engine's `MemoryStore`; real databases and processes have tests of their own.
//!
//! ```
//! let day = lab_days::run_day(1, &lab_days::Options::default())?;
//! assert!(day.violations.is_empty(), "{:?}", day.violations);
//! # Ok::<(), std::io::Error>(())
//! ```

mod run;

mod audit;
mod faults;
mod hosts;
mod log;
mod store;
mod world;

pub use audit::{Invariant, Violation};
pub use faults::{FaultKind, Swarm, UnknownFault};
pub use run::{DayReport, Options, run_day};

//! A store in memory, for tests and for programs that embed the engine without a database.

mod clock;
pub mod conformance;
mod memory;
mod rows;

pub use clock::TokioClock;
pub use memory::{Attempt, MemoryStore};

//! A store in memory, for tests and for programs that embed the engine without a database.

pub mod conformance;
mod memory;
mod rows;

pub use memory::{Attempt, MemoryStore};

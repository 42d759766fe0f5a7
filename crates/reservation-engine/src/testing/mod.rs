//! A store in memory, for tests and for programs that embed the engine without a database.

mod memory;

pub use memory::{Attempt, MemoryStore};

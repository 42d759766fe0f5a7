//! Days of a lab, audited.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod days;
#[cfg(feature = "mutants")]
mod mutants;
mod repeatable;
mod seeds;

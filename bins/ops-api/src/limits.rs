//! How much callers may take: calls a minute, operations and streams at the same time.
//!
//! Reads and `/health` take no place here, so that whoever looks is never kept waiting by those who act.

mod failures;
mod operations;
mod rate;
mod streams;

pub(crate) use failures::Failures;
pub(crate) use operations::{OperationPlace, Operations};
pub(crate) use rate::Rate;
pub(crate) use streams::{StreamPlace, Streams};

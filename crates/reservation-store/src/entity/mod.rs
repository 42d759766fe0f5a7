//! The rows as the database has them. Private: callers see domain values.
#![expect(unreachable_pub, reason = "the entity macros want `pub` items")]

pub(crate) mod attempt;
pub(crate) mod history;
pub(crate) mod operation;
pub(crate) mod reservation;

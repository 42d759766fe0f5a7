//! The rows as the database has them. Private: callers see domain values.
#![expect(unreachable_pub, reason = "the entity macros want `pub` items")]

pub(crate) mod audit;
pub(crate) mod call;

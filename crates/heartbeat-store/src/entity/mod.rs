//! The rows as the database has them. Private: callers see domain values.
#![expect(unreachable_pub, reason = "the entity macros want `pub` items")]

pub(crate) mod event;
pub(crate) mod heartbeat;
pub(crate) mod host;
pub(crate) mod host_state;

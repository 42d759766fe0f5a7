//! The store port of one process: the store in memory behind a connection that is slow, breaks, or loses answers.

mod sim;

pub(crate) use sim::SimStore;

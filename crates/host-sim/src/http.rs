//! HTTP and TLS of the simulated host: listeners, connections, and the way from a request to its answer.

mod framing;
mod listener;
mod service;
mod wire;

pub(crate) use listener::{ByAddress, Listeners, accept_for_all, listen};

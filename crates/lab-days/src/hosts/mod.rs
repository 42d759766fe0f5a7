//! Hosts as they really are, and the station port through which a process sees them.

mod commands;
mod host;
mod station;

pub(crate) use host::{Host, goes_down, off};
pub(crate) use station::SimStation;

//! The engine on a store in memory and scripted hosts, on paused time.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod changes;
mod clocks;
mod coverage;
mod crashes;
mod days;
mod due;
mod events;
mod explain;
mod fences;
mod idle;
mod interrupted;
mod journal;
mod leads;
mod maintenance;
mod manual;
#[cfg(feature = "mutants")]
mod mutants;
mod orphans;
mod pacing;
mod pooling;
mod ready;
mod shares;
mod slow;
mod support;

//! The engine on a store in memory and scripted hosts, on paused time.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod crashes;
mod days;
mod fences;
mod manual;
mod support;

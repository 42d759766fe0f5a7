//! The wake ladder: from a magic packet to a station that says it is ready, every rung named.

mod answer;
mod ladder;
mod order;
mod progress;
mod reasons;
mod report;
mod verdict;

pub(crate) use ladder::climb;
pub(crate) use order::{MAX_ATTEMPTS, may_go_to};
pub use report::{Rung, RungReport, RungState, WakeReport};

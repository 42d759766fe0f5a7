//! The scheduler against simulated hosts and real databases: reservations from the row to the handed-over host.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

#[path = "../../../ops-api/tests/it/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of ops-api, which need other parts of it"
)]
mod harness;
#[path = "../../../ops-api/tests/edge/notify.rs"]
mod notify;

mod clocks;
mod configuration;
mod crashes;
mod crowd;
mod database_lost;
mod events;
mod idle_power;
mod killed;
mod leads;
mod local_mode;
mod mainline;
mod maintenance;
mod metrics;
mod neighbours;
mod notices;
mod outages;
mod pacing;
mod polling;
mod pooling;
mod refusals;
mod retention;
mod rounds;
mod running;
mod sharing;
mod silence;
mod telling;
mod traces;
mod unmapped;
mod watching;
mod workers;

/// The program under test.
const SCHEDULER: &str = env!("CARGO_BIN_EXE_ops-scheduler");

//! The HTTP service against simulated hosts and real databases: the contract, route by route.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

mod harness;
mod http;
mod service;

mod abandoned;
mod audit;
mod calls;
mod claims;
mod configuration;
mod credentials;
mod described;
mod expected_off;
mod explain;
mod fleet;
mod hanging;
mod health;
mod health_details;
mod heartbeat;
mod history;
mod late;
mod limits;
mod local_mode;
mod maintenance;
mod metrics;
mod operations;
mod proofs;
mod refused_orders;
mod reload;
mod reservations;
mod roles;
mod secrets;
mod sessions;
mod stream;
mod surface;
mod timeline;
mod together;
mod token;
mod traces;
mod winrm;
mod wol;
mod workers;

/// The program under test.
const API: &str = env!("CARGO_BIN_EXE_ops-api");

/// What of the shared harness only the tests of other programs use.
const _: () = {
    let _ = harness::Process::polls;
    let _ = harness::Server::start_in;
    let _ = harness::Server::order;
};

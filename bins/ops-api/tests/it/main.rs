//! The HTTP service against simulated hosts and real databases: the contract, route by route.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of ops-scheduler, which need other parts of it"
)]
mod harness;
mod http;
mod service;

mod abandoned;
mod claims;
mod configuration;
mod explain;
mod health;
mod heartbeat;
mod proofs;
mod refused_orders;
mod reservations;
mod secrets;
mod surface;
mod timeline;
mod together;
mod token;
mod winrm;
mod wol;
mod workers;

/// The program under test.
const API: &str = env!("CARGO_BIN_EXE_ops-api");

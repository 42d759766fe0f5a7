//! Steps on simulated hosts: real packets, real WinRM, the state of the host told by the simulator.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod bench;

mod adhoc;
mod commands;
mod connections;
mod event_file;
mod heartbeat;
mod local_mode;
mod poll;
mod power;
mod proofs;
mod scripts;
mod stored;
mod wake;
mod wake_failures;
mod watch;

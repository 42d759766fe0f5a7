//! The older worker's contract, line by line, against the program itself on both databases; and each of its
//! weaknesses with what is better now. `docs/contract.md` is the index: which line is tested where, also by the tests of
//! other crates. A test here fails when the index names a test that does not exist, or when a line has none.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

#[path = "../it/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the other tests of the API, which need other parts of it"
)]
mod harness;
#[path = "../it/http.rs"]
mod http;
#[macro_use]
mod site;

mod index;

mod catalog;
mod columns;
mod environment;
mod health;
mod heartbeat;
mod reservations;
mod steps_rows;
mod tables;
mod timeline;
mod winrm;
mod wol;

mod weaknesses;

/// The program under test.
const API: &str = env!("CARGO_BIN_EXE_ops-api");

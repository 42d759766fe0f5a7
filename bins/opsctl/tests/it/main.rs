//! The program against scripted servers, and against the real service.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

#[path = "../../../ops-api/tests/it/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of ops-api, which need other parts of it"
)]
mod harness;
mod program;
mod script;

mod looks;
mod paper;
mod real;
mod refusals;
mod streams;
mod tls;
mod upkeep;
mod wake;
mod work;

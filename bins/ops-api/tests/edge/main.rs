//! What stands in front of and around the services: the proxy's files on a real nginx, the service manager's protocol,
//! and the other files of `deploy/`, as far as the tools of this machine can judge them.

#![expect(clippy::unwrap_used, reason = "in a test the panic is the message")]

#[path = "../it/harness/mod.rs"]
#[expect(
    dead_code,
    unused_imports,
    reason = "shared with the tests of the API itself, which need other parts of it"
)]
mod harness;
mod nginx;
mod notify;
mod python;
mod raw;
mod recorder;

mod admission;
mod container;
mod corpus;
mod hosts_schema;
mod limits;
mod pages;
mod smuggling;
mod streams;
mod telling;
mod units;

/// The program under test.
const API: &str = env!("CARGO_BIN_EXE_ops-api");
/// The secret of all tests here.
const SECRET: &str = "correct horse battery staple";
/// The folder under test.
const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

/// Says that a test could not be made, which fails it where everything has to be there.
#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "told by the environment; a skipped test has to say so"
)]
fn skip(what: &str) {
    assert!(std::env::var("REQUIRE_REAL").as_deref() != Ok("1"), "{what}");
    eprintln!("skipped: {what}");
}

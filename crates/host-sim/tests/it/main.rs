//! What a host does on the wire, seen by a client of its own and by clients that others wrote.
#![expect(
    clippy::unwrap_used,
    reason = "the helpers of these tests fail a test as the tests themselves do"
)]

mod client;
mod faults;
mod interop;
mod power;
mod shells;
mod station;
mod tls;
mod wildcard;

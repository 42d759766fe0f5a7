//! What needs only the public interface.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test as the tests themselves do"
)]

mod faults;
mod hostile;
mod lab;
mod responder;
mod steady;

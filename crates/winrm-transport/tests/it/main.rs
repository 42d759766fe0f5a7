//! What needs only the public interface.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test as the tests themselves do"
)]

mod certificate;
mod faults;
mod files;
mod flood;
mod hostile;
mod hygiene;
#[cfg(feature = "kerberos")]
mod kerberos;
mod lab;
mod pains;
mod quoting;
mod responder;
mod steady;
mod streams;

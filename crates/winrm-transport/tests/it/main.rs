//! What needs only the public interface.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail the test as the tests themselves do"
)]

mod certificate;
mod critical_path;
mod fake;
mod faults;
mod files;
mod flood;
mod hostile;
mod hygiene;
#[cfg(feature = "kerberos")]
mod kerberos;
mod lab;
mod left_behind;
mod lost;
mod pains;
mod quoting;
mod responder;
mod resting;
mod steady;
mod streams;
mod trust;

//! What the stores rely on, on real databases.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops where something is not as it must be"
)]

mod connections;
mod dropped;
mod given_up;
mod several;
mod transactions;

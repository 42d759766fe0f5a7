//! What the crate does with real sockets, on loopback and between network namespaces.

mod namespaces;
mod reach;
mod send;

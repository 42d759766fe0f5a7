//! Keys for each direction. Source: MS-NLMP 3.4.5.2 and 3.4.5.3, for extended session security and 128 bit.

use md5::{Digest, Md5};
use secrecy::zeroize::Zeroizing;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// The key that signs what `sender` sends. The constants end with a NUL.
pub(crate) fn sign_key(session_key: &[u8; 16], sender: Sender) -> Zeroizing<[u8; 16]> {
    derive(
        session_key,
        match sender {
            Sender::Client => b"session key to client-to-server signing key magic constant\0",
            Sender::Server => b"session key to server-to-client signing key magic constant\0",
        },
    )
}

/// The key that seals what `sender` sends.
pub(crate) fn seal_key(session_key: &[u8; 16], sender: Sender) -> Zeroizing<[u8; 16]> {
    derive(
        session_key,
        match sender {
            Sender::Client => b"session key to client-to-server sealing key magic constant\0",
            Sender::Server => b"session key to server-to-client sealing key magic constant\0",
        },
    )
}

fn derive(session_key: &[u8; 16], magic: &[u8]) -> Zeroizing<[u8; 16]> {
    Zeroizing::new(
        Md5::new()
            .chain_update(session_key)
            .chain_update(magic)
            .finalize()
            .into(),
    )
}

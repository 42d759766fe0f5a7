//! Sealing and signing of messages. Source: MS-NLMP 3.4.3 and 3.4.4.2.
//!
//! One RC4 state per direction lives as long as the connection and is never rewound, so after any failure the
//! context is useless and its connection must go.

use secrecy::zeroize::{Zeroize, Zeroizing};
use subtle::ConstantTimeEq;

use super::keys::{Sender, seal_key, sign_key};
use super::proof::hmac_md5;

/// Length of the signature of one message.
pub(crate) const SIGNATURE_LEN: usize = 16;

/// Why an answer was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("signature of a sealed message is wrong")]
pub(crate) struct BadSignature;

/// Both directions of one security context.
pub(crate) struct Sealer {
    outgoing: Direction,
    incoming: Direction,
}

impl Sealer {
    /// The client's side.
    pub(crate) fn client(session_key: &[u8; 16]) -> Self {
        Self {
            outgoing: Direction::new(session_key, Sender::Client),
            incoming: Direction::new(session_key, Sender::Server),
        }
    }

    /// The acceptor's side, for tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn server(session_key: &[u8; 16]) -> Self {
        Self {
            outgoing: Direction::new(session_key, Sender::Server),
            incoming: Direction::new(session_key, Sender::Client),
        }
    }

    /// Encrypts `data` in place and returns its signature.
    pub(crate) fn seal(&mut self, data: &mut [u8]) -> [u8; SIGNATURE_LEN] {
        let checksum = self.outgoing.checksum(data);
        self.outgoing.cipher.apply(data);
        self.outgoing.signature(checksum)
    }

    /// Decrypts `data` in place and checks its signature.
    pub(crate) fn unseal(&mut self, signature: &[u8], data: &mut [u8]) -> Result<(), BadSignature> {
        self.incoming.cipher.apply(data);
        let checksum = self.incoming.checksum(data);
        let expected = self.incoming.signature(checksum);
        if bool::from(expected.as_slice().ct_eq(signature)) {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }

    /// Signs without encrypting, then starts the key stream anew as SPNEGO wants it after its own signature. The
    /// sequence number goes on. Source: MS-SPNG 3.3.5.1.
    pub(crate) fn sign_for_spnego(&mut self, data: &[u8]) -> [u8; SIGNATURE_LEN] {
        let checksum = self.outgoing.checksum(data);
        let signature = self.outgoing.signature(checksum);
        self.outgoing.restart();
        signature
    }

    /// Checks the peer's SPNEGO signature, then starts that key stream anew.
    pub(crate) fn verify_for_spnego(&mut self, data: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let checksum = self.incoming.checksum(data);
        let expected = self.incoming.signature(checksum);
        self.incoming.restart();
        if bool::from(expected.as_slice().ct_eq(signature)) {
            Ok(())
        } else {
            Err(BadSignature)
        }
    }
}

struct Direction {
    sign_key: Zeroizing<[u8; 16]>,
    seal_key: Zeroizing<[u8; 16]>,
    cipher: Rc4,
    sequence: u32,
}

impl Direction {
    fn new(session_key: &[u8; 16], sender: Sender) -> Self {
        let seal_key = seal_key(session_key, sender);
        let cipher = Rc4::new(&*seal_key);
        Self {
            sign_key: sign_key(session_key, sender),
            seal_key,
            cipher,
            sequence: 0,
        }
    }

    fn restart(&mut self) {
        self.cipher = Rc4::new(&*self.seal_key);
    }

    /// Over the plain text, with the sequence number of the message.
    fn checksum(&self, plain: &[u8]) -> [u8; 8] {
        let mac = hmac_md5(&*self.sign_key, &[&self.sequence.to_le_bytes(), plain]);
        let mut out = [0; 8];
        out.copy_from_slice(&mac[..8]);
        out
    }

    /// Encrypts the checksum *after* the data and moves to the next message.
    fn signature(&mut self, mut checksum: [u8; 8]) -> [u8; SIGNATURE_LEN] {
        self.cipher.apply(&mut checksum);
        let mut out = [0; SIGNATURE_LEN];
        out[..4].copy_from_slice(&1_u32.to_le_bytes());
        out[4..12].copy_from_slice(&checksum);
        out[12..].copy_from_slice(&self.sequence.to_le_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        out
    }
}

/// The stream cipher NTLM is bound to.
struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

impl Rc4 {
    fn new(key: &[u8]) -> Self {
        let mut state = [0; 256];
        for (at, slot) in state.iter_mut().enumerate() {
            *slot = at as u8;
        }
        let mut j: u8 = 0;
        for at in 0..256 {
            j = j.wrapping_add(state[at]).wrapping_add(key[at % key.len()]);
            state.swap(at, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    fn apply(&mut self, data: &mut [u8]) {
        for byte in data {
            self.i = self.i.wrapping_add(1);
            let a = self.state[usize::from(self.i)];
            self.j = self.j.wrapping_add(a);
            let b = self.state[usize::from(self.j)];
            self.state[usize::from(self.i)] = b;
            self.state[usize::from(self.j)] = a;
            *byte ^= self.state[usize::from(a.wrapping_add(b))];
        }
    }
}

impl Drop for Rc4 {
    fn drop(&mut self) {
        self.state.zeroize();
    }
}

/// RC4 with a fresh state.
pub(crate) fn rc4_once(key: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let mut out = data.to_vec();
    Rc4::new(key).apply(&mut out);
    out
}

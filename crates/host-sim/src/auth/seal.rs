//! Signing and sealing of messages. Source: MS-NLMP 3.4; MS-SPNG 3.3.5.1 for the reset after the list MIC.

use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq as _;

use super::ntlm::hmac_md5;

/// Why a sealed message was refused. The connection cannot go on: the ciphers are out of step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SealError {
    #[error("wrong signature")]
    Signature,
    #[error("wrong sequence number")]
    Sequence,
}

/// The RC4 stream cipher.
pub(super) struct Rc4 {
    state: Box<[u8; 256]>,
    i: u8,
    j: u8,
}

impl Rc4 {
    pub(super) fn new(key: &[u8; 16]) -> Self {
        let mut state = Box::new([0_u8; 256]);
        for (slot, value) in state.iter_mut().zip(0_u8..=255) {
            *slot = value;
        }
        let mut j = 0_u8;
        for i in 0..256 {
            j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
            state.swap(i, usize::from(j));
        }
        Self { state, i: 0, j: 0 }
    }

    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.i = self.i.wrapping_add(1);
            let at_i = self.state[usize::from(self.i)];
            self.j = self.j.wrapping_add(at_i);
            let at_j = self.state[usize::from(self.j)];
            self.state.swap(usize::from(self.i), usize::from(self.j));
            *byte ^= self.state[usize::from(at_i.wrapping_add(at_j))];
        }
    }
}

/// One direction of a session.
struct Half {
    sign_key: [u8; 16],
    seal_key: [u8; 16],
    cipher: Rc4,
    sequence: u32,
}

impl Half {
    fn new(exported: &[u8; 16], direction: &str) -> Self {
        let key = |purpose: &str| -> [u8; 16] {
            let constant = format!("session key to {direction} {purpose} key magic constant\0");
            Md5::new()
                .chain_update(exported)
                .chain_update(constant)
                .finalize()
                .into()
        };
        let seal_key = key("sealing");
        Self {
            sign_key: key("signing"),
            seal_key,
            cipher: Rc4::new(&seal_key),
            sequence: 0,
        }
    }

    /// The signature over a plain text; moves the cipher and the sequence on.
    fn sign(&mut self, plain: &[u8]) -> [u8; 16] {
        let sequence = self.sequence.to_le_bytes();
        let digest = hmac_md5(&self.sign_key, &[&sequence, plain]);
        let mut signature = [0_u8; 16];
        signature[0] = 1;
        signature[4..12].copy_from_slice(&digest[..8]);
        self.cipher.apply(&mut signature[4..12]);
        signature[12..].copy_from_slice(&sequence);
        self.sequence = self.sequence.wrapping_add(1);
        signature
    }

    fn verify(&mut self, plain: &[u8], signature: &[u8]) -> Result<(), SealError> {
        if signature.get(12..16) != Some(&self.sequence.to_le_bytes()) {
            return Err(SealError::Sequence);
        }
        if bool::from(self.sign(plain).ct_eq(signature)) {
            Ok(())
        } else {
            Err(SealError::Signature)
        }
    }

    fn restart_cipher(&mut self) {
        self.cipher = Rc4::new(&self.seal_key);
    }
}

/// The keys of one authenticated connection, on the host's side.
pub(crate) struct Session {
    incoming: Half,
    outgoing: Half,
}

impl Session {
    pub(super) fn new(exported: &[u8; 16]) -> Self {
        Self {
            incoming: Half::new(exported, "client-to-server"),
            outgoing: Half::new(exported, "server-to-client"),
        }
    }

    /// Decrypts a message and checks its signature.
    pub(crate) fn unseal(&mut self, signature: &[u8], data: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut plain = data.to_vec();
        self.incoming.cipher.apply(&mut plain);
        self.incoming.verify(&plain, signature)?;
        Ok(plain)
    }

    /// Encrypts a message; gives signature and data.
    pub(crate) fn seal(&mut self, plain: &[u8]) -> ([u8; 16], Vec<u8>) {
        let mut data = plain.to_vec();
        self.outgoing.cipher.apply(&mut data);
        (self.outgoing.sign(plain), data)
    }

    /// Checks the client's MIC over the mechanism list and gives ours. Afterwards both ciphers begin anew while the
    /// sequence numbers go on.
    pub(super) fn exchange_list_mic(&mut self, mechanisms: &[u8], mic: &[u8]) -> Result<[u8; 16], SealError> {
        self.incoming.verify(mechanisms, mic)?;
        let own = self.outgoing.sign(mechanisms);
        self.incoming.restart_cipher();
        self.outgoing.restart_cipher();
        Ok(own)
    }
}

/// The channel binding attribute for a certificate's hash. Source: RFC 5929 section 4, RFC 2744 section 3.11.
pub(super) fn channel_binding(certificate_hash: &[u8]) -> [u8; 16] {
    let application = [b"tls-server-end-point:", certificate_hash].concat();
    let length = u32::try_from(application.len()).unwrap_or(0);
    Md5::new()
        .chain_update([0; 16])
        .chain_update(length.to_le_bytes())
        .chain_update(application)
        .finalize()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::messages::utf16;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn keys_and_sealed_messages_are_those_of_an_independent_implementation() {
        let mut session = Session::new(&[0x55; 16]);
        assert_eq!(
            session.incoming.sign_key.to_vec(),
            hex("4788dc861b4782f35d43fd98fe1a2d39")
        );
        assert_eq!(
            session.incoming.seal_key.to_vec(),
            hex("59f600973cc4960a25480a7c196e4c58")
        );
        assert_eq!(
            session.outgoing.sign_key.to_vec(),
            hex("d04d6f10741041d1d246d64188d7a8ad")
        );
        assert_eq!(
            session.outgoing.seal_key.to_vec(),
            hex("9355f3a957c1583d25c4c2f11e40390e")
        );
        let table = [
            (
                utf16("Plaintext"),
                "010000007fb38ec5c55d497600000000",
                "54e50165bf1936dc996020c1811b0f06fb5f",
            ),
            (
                b"<s:Envelope/>".to_vec(),
                "0100000044169d43917fa48801000000",
                "08b05ea591d43a8bf553347c92",
            ),
            (
                b"<s:Envelope/>".to_vec(),
                "01000000f9375b7b0b2582fa02000000",
                "f1f42ad97c34c9087a76358cea",
            ),
        ];
        for (plain, signature, data) in table {
            assert_eq!(session.unseal(&hex(signature), &hex(data)).unwrap(), plain);
        }
    }

    #[test]
    fn the_list_mic_is_that_of_an_independent_implementation() {
        let mut session = Session::new(&[0x55; 16]);
        let mechanisms = hex("300c060a2b06010401823702020a");
        let mic = hex("0100000022a3984fefbb9c3200000000");
        assert!(session.exchange_list_mic(&mechanisms, &mic).is_ok());
        assert_eq!((session.incoming.sequence, session.outgoing.sequence), (1, 1));
    }

    #[test]
    fn a_repeated_or_changed_message_is_refused() {
        let mut session = Session::new(&[0x55; 16]);
        let (signature, data) = (
            hex("010000007fb38ec5c55d497600000000"),
            hex("54e50165bf1936dc996020c1811b0f06fb5f"),
        );
        let mut changed = data.clone();
        changed[3] ^= 1;
        assert_eq!(
            Session::new(&[0x55; 16]).unseal(&signature, &changed),
            Err(SealError::Signature)
        );
        assert!(session.unseal(&signature, &data).is_ok());
        assert_eq!(session.unseal(&signature, &data), Err(SealError::Sequence));
    }

    #[test]
    fn the_channel_binding_is_that_of_an_independent_implementation() {
        let hash = hex("40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880");
        assert_eq!(
            channel_binding(&hash).to_vec(),
            hex("a513620e394353301b0b429acf4cdfe4")
        );
    }
}

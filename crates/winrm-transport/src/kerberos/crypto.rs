//! Keys and what is done with them. AES with HMAC-SHA1-96 only: what every domain since 2008 has.
//!
//! Source: RFC 3961 (key usage), RFC 3962 (AES).

use picky_krb::crypto::CipherSuite;
use secrecy::zeroize::Zeroizing;

/// Bytes before the plain text: one block of randomness.
pub(super) const CONFOUNDER_LEN: usize = 16;
/// Bytes after it: the truncated HMAC.
pub(super) const MAC_LEN: usize = 12;

/// What a key is used for, which is part of every derivation. Source: RFC 4120 section 7.5.1, RFC 4121 section 2.
pub(super) mod usage {
    pub(in super::super) const AS_REP: i32 = 3;
    pub(in super::super) const TGS_REP: i32 = 8;
    pub(in super::super) const AUTHENTICATOR: i32 = 11;
    pub(in super::super) const AP_REP: i32 = 12;
    pub(in super::super) const ACCEPTOR_SEAL: i32 = 22;
    pub(in super::super) const INITIATOR_SEAL: i32 = 24;
}

/// A key of a supported cipher, with the length that the cipher wants.
#[derive(Clone)]
pub(super) struct Key {
    suite: CipherSuite,
    bytes: Zeroizing<Vec<u8>>,
}

impl Key {
    /// `None` for another cipher or a wrong length.
    pub(super) fn new(etype: u32, bytes: &[u8]) -> Option<Self> {
        let (suite, length) = suite(etype)?;
        (bytes.len() == length).then(|| Self {
            suite,
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// The long-term key of an account.
    pub(super) fn from_password(etype: u32, password: &str, salt: &[u8]) -> Option<Self> {
        let (suite, _) = suite(etype)?;
        let bytes = suite
            .cipher()
            .generate_key_from_password(password.as_bytes(), salt)
            .ok()?;
        Some(Self {
            suite,
            bytes: Zeroizing::new(bytes),
        })
    }

    /// The number of its cipher.
    pub(super) fn etype(&self) -> u32 {
        match self.bytes.len() {
            16 => 17,
            _ => 18,
        }
    }

    /// Bytes of it, and of any other key of its cipher.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Decrypts and checks. `None` for anything that was not made with this key for this usage.
    pub(super) fn decrypt(&self, usage: i32, data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if data.len() < CONFOUNDER_LEN + MAC_LEN {
            return None;
        }
        self.suite
            .cipher()
            .decrypt(&self.bytes, usage, data)
            .ok()
            .map(Zeroizing::new)
    }

    /// Encrypts with a fresh confounder: `CONFOUNDER_LEN + data + MAC_LEN` bytes. `None` without randomness.
    pub(super) fn encrypt(&self, usage: i32, data: &[u8]) -> Option<Vec<u8>> {
        self.suite.cipher().encrypt(&self.bytes, usage, data).ok()
    }
}

/// Cipher and key length. Source: RFC 3962 section 7.
fn suite(etype: u32) -> Option<(CipherSuite, usize)> {
    match etype {
        17 => Some((CipherSuite::Aes128CtsHmacSha196, 16)),
        18 => Some((CipherSuite::Aes256CtsHmacSha196, 32)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 3962 appendix B has iteration counts of its own; this is the default of 4,096 as MIT's `ktutil` prints it
    /// for `addent -password -p alice@LAB.TEST -e aes256-cts-hmac-sha1-96` with the password `S3cret!pass`.
    #[test]
    fn a_password_becomes_the_key_that_mit_makes_of_it() {
        let key = Key::from_password(18, "S3cret!pass", b"LAB.TESTalice").unwrap();
        let hex: String = key.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, RECORDED);
    }

    const RECORDED: &str = "c9fd645c9dcc01f7a41f4e259964b2a5e1a6ec633d3d58e3a2b2ba49827e0fa6";

    #[test]
    fn what_is_encrypted_comes_back_only_with_the_same_key_and_usage() {
        for (etype, length) in [(17, 16), (18, 32)] {
            let key = Key::new(etype, &vec![7; length]).unwrap();
            let sealed = key.encrypt(usage::AP_REP, b"text").unwrap();
            assert_eq!(sealed.len(), CONFOUNDER_LEN + 4 + MAC_LEN);
            assert_eq!(key.decrypt(usage::AP_REP, &sealed).unwrap().as_slice(), b"text");
            assert!(key.decrypt(usage::AS_REP, &sealed).is_none());
            assert!(
                Key::new(etype, &vec![8; length])
                    .unwrap()
                    .decrypt(usage::AP_REP, &sealed)
                    .is_none()
            );
        }
    }

    #[test]
    fn other_ciphers_and_lengths_are_refused() {
        assert!(Key::new(23, &[0; 16]).is_none(), "rc4");
        assert!(Key::new(18, &[0; 16]).is_none());
        assert!(Key::from_password(16, "x", b"y").is_none(), "3des");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let key = Key::new(18, &[7; 32]).unwrap();
            prop_assert!(key.decrypt(usage::ACCEPTOR_SEAL, &bytes).is_none());
        }
    }
}

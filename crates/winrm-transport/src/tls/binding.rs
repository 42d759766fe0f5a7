//! Channel binding of the type `tls-server-end-point`.
//!
//! Source: RFC 5929 section 4.1 (which hash), MS-NLMP 2.2.2.1 and RFC 2744 section 3.11 (which structure).

use md5::Md5;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::ntlm::der::Reader;

/// The value of the channel binding pair for a server's leaf certificate in DER.
pub(crate) fn channel_binding(leaf: &[u8]) -> [u8; 16] {
    let mut application = b"tls-server-end-point:".to_vec();
    application.extend(certificate_hash(leaf));
    let length = application.len() as u32;
    // Initiator and acceptor addresses: type 0 and length 0, twice.
    Md5::new()
        .chain_update([0; 16])
        .chain_update(length.to_le_bytes())
        .chain_update(&application)
        .finalize()
        .into()
}

fn certificate_hash(leaf: &[u8]) -> Vec<u8> {
    match signature_hash(leaf) {
        Some(Hash::Sha224) => Sha224::digest(leaf).to_vec(),
        Some(Hash::Sha384) => Sha384::digest(leaf).to_vec(),
        Some(Hash::Sha512) => Sha512::digest(leaf).to_vec(),
        // MD5 and SHA-1 are replaced by SHA-256, and so is what names no hash at all, such as Ed25519.
        Some(Hash::Sha256) | None => Sha256::digest(leaf).to_vec(),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;

/// The hash of the algorithm that the certificate is signed with.
fn signature_hash(leaf: &[u8]) -> Option<Hash> {
    let mut certificate = Reader::new(Reader::new(leaf).expect(SEQUENCE)?);
    certificate.expect(SEQUENCE)?;
    let mut algorithm = Reader::new(certificate.expect(SEQUENCE)?);
    let oid = algorithm.expect(OID)?;
    match oid {
        // 1.2.840.113549.1.1.n: RSA with PKCS #1; 10 is RSA-PSS with the hash in its parameters.
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, last] => match last {
            11 => Some(Hash::Sha256),
            12 => Some(Hash::Sha384),
            13 => Some(Hash::Sha512),
            14 => Some(Hash::Sha224),
            10 => pss_hash(algorithm.expect(SEQUENCE)?),
            _ => None,
        },
        // 1.2.840.10045.4.3.n: ECDSA.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, last] => match last {
            1 => Some(Hash::Sha224),
            2 => Some(Hash::Sha256),
            3 => Some(Hash::Sha384),
            4 => Some(Hash::Sha512),
            _ => None,
        },
        _ => None,
    }
}

/// `[0] hashAlgorithm` of RSASSA-PSS-params; absent means SHA-1. Source: RFC 4055 section 3.1.
fn pss_hash(parameters: &[u8]) -> Option<Hash> {
    let tagged = Reader::new(parameters).expect(0xa0)?;
    let oid = Reader::new(Reader::new(tagged).expect(SEQUENCE)?).expect(OID)?;
    // 2.16.840.1.101.3.4.2.n
    match oid {
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, last] => match last {
            1 => Some(Hash::Sha256),
            2 => Some(Hash::Sha384),
            3 => Some(Hash::Sha512),
            4 => Some(Hash::Sha224),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ntlm::der::wrap;
    use proptest::prelude::*;

    fn signed_with(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
        let mut algorithm = wrap(OID, oid);
        algorithm.extend(parameters);
        let mut certificate = wrap(SEQUENCE, &[0; 300]);
        certificate.extend(wrap(SEQUENCE, &algorithm));
        certificate.extend(wrap(0x03, &[0; 64]));
        wrap(SEQUENCE, &certificate)
    }

    /// Computed with pyspnego for a "certificate" of the bytes 00 to ff, whose hash falls back to SHA-256.
    #[test]
    fn the_recorded_value_comes_out() {
        let bytes: Vec<u8> = (0..=255).collect();
        let hex: String = channel_binding(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, "a513620e394353301b0b429acf4cdfe4");
    }

    #[test]
    fn the_hash_follows_the_signature_algorithm() {
        let rsa = |last| signed_with(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last], &[5, 0]);
        let ecdsa = |last| signed_with(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last], &[]);
        assert_eq!(signature_hash(&rsa(5)), None, "sha-1");
        assert_eq!(signature_hash(&rsa(11)), Some(Hash::Sha256));
        assert_eq!(signature_hash(&rsa(12)), Some(Hash::Sha384));
        assert_eq!(signature_hash(&ecdsa(4)), Some(Hash::Sha512));
        assert_eq!(
            signature_hash(&signed_with(&[0x2b, 0x65, 0x70], &[])),
            None,
            "ed25519"
        );
        let sha512 = wrap(OID, &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3]);
        let parameters = wrap(SEQUENCE, &wrap(0xa0, &wrap(SEQUENCE, &sha512)));
        let pss = signed_with(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], &parameters);
        assert_eq!(signature_hash(&pss), Some(Hash::Sha512));
    }

    proptest! {
        #[test]
        fn arbitrary_certificates_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            channel_binding(&bytes);
        }
    }
}

//! How a receiver knows that a notice comes from us and was not kept back.

use hmac::{Hmac, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// The signature of `X-LabOps-Signature`: `t=<seconds since 1970>,v1=<hex>`, where `v1` is HMAC-SHA256 over the digits
/// of `t`, a dot, and the body.
///
/// The time is signed too, so that what was once overheard cannot be sent again much later.
#[derive(Debug, Clone)]
pub struct Signature {
    secret: SecretString,
}

/// Why a signature is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It is not `t=..,v1=..`.
    #[error("the signature cannot be read")]
    Unreadable,
    /// It was made too long ago, or in the future.
    #[error("the signature is too old")]
    TooOld,
    /// It was made with another secret, or over another body.
    #[error("the signature is wrong")]
    Wrong,
}

impl Signature {
    /// Signs with this secret.
    #[must_use]
    pub fn new(secret: &SecretString) -> Self {
        Self {
            secret: secret.clone(),
        }
    }

    fn mac(&self, at: i64, body: &[u8]) -> [u8; 32] {
        // HMAC takes keys of any length.
        let mut mac = match Hmac::<Sha256>::new_from_slice(self.secret.expose_secret().as_bytes()) {
            Ok(mac) => mac,
            Err(_) => return [0; 32],
        };
        mac.update(at.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        mac.finalize().into_bytes().into()
    }

    /// The header's value for a body sent at `at`, in seconds since 1970.
    #[must_use]
    pub fn header(&self, at: i64, body: &[u8]) -> String {
        format!("t={at},v1={}", hex(&self.mac(at, body)))
    }

    /// Checks a header as a receiver does, at `now`, with so many seconds of tolerance.
    ///
    /// # Errors
    /// [`SignatureError`] says what is wrong with it.
    pub fn verify(
        &self,
        header: &str,
        body: &[u8],
        now: i64,
        tolerance_secs: u64,
    ) -> Result<(), SignatureError> {
        let mut at = None;
        let mut sent = None;
        for part in header.split(',') {
            match part.trim().split_once('=') {
                Some(("t", digits)) => at = digits.parse::<i64>().ok(),
                Some(("v1", hex)) => sent = Some(hex),
                _ => {}
            }
        }
        let (at, sent) = at.zip(sent).ok_or(SignatureError::Unreadable)?;
        if at.abs_diff(now) > tolerance_secs {
            return Err(SignatureError::TooOld);
        }
        let expected = hex(&self.mac(at, body));
        match bool::from(expected.as_bytes().ct_eq(sent.as_bytes())) {
            true => Ok(()),
            false => Err(SignatureError::Wrong),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_secret_its_body_and_its_time_only() {
        let signature = Signature::new(&"secret".into());
        let header = signature.header(1_000, b"body");
        assert_eq!(signature.verify(&header, b"body", 1_100, 300), Ok(()));
        assert_eq!(
            signature.verify(&header, b"bodY", 1_100, 300),
            Err(SignatureError::Wrong)
        );
        assert_eq!(
            signature.verify(&header, b"body", 1_301, 300),
            Err(SignatureError::TooOld)
        );
        assert_eq!(
            signature.verify(&header, b"body", 699, 300),
            Err(SignatureError::TooOld)
        );
        let later = header.replace("t=1000", "t=1001");
        assert_eq!(
            signature.verify(&later, b"body", 1_100, 300),
            Err(SignatureError::Wrong)
        );
        let other = Signature::new(&"Secret".into());
        assert_eq!(
            other.verify(&header, b"body", 1_100, 300),
            Err(SignatureError::Wrong)
        );
        for garbage in ["", "t=1", "v1=00", "t=x,v1=00", "nonsense"] {
            assert_eq!(
                signature.verify(garbage, b"body", 1, 300),
                Err(SignatureError::Unreadable)
            );
        }
    }

    #[test]
    fn the_signature_is_the_one_any_other_program_computes() {
        // printf '1000.body' | openssl dgst -sha256 -hmac secret
        let header = Signature::new(&"secret".into()).header(1_000, b"body");
        assert_eq!(
            header,
            format!("t=1000,v1={}", include_str!("../tests/data/signature.hex").trim())
        );
    }
}

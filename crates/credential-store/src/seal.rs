//! From a credential to the bytes of a row and back. Pure but for the nonce.

use aes_gcm::Nonce;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead as _, Generate as _, Payload};
use lab_model::CredentialRef;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::credential::Credential;
use crate::error::{CredentialError, Unreadable};
use crate::ring::KeyRing;

/// The format of rows that this release writes, and the only one that it reads.
pub(crate) const FORMAT: i64 = 1;

/// What a row keeps of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) format: i64,
    pub(crate) key_id: String,
    pub(crate) nonce: Vec<u8>,
    pub(crate) ciphertext: Vec<u8>,
}

#[derive(Serialize)]
struct Plain<'a> {
    v: i64,
    user: &'a str,
    password: &'a str,
}

#[derive(Deserialize)]
struct Opened {
    v: i64,
    user: String,
    password: String,
}

/// What a row is bound to. None of its parts can hold a NUL, so no two rows have the same.
fn bound_to(name: &CredentialRef, key_id: &str, format: i64) -> Vec<u8> {
    format!("ops_credentials\0{format}\0{name}\0{key_id}").into_bytes()
}

/// Seals a credential under the ring's first key, with a nonce that was never used.
pub(crate) fn seal(
    name: &CredentialRef,
    credential: &Credential,
    ring: &KeyRing,
) -> Result<Sealed, CredentialError> {
    let key = ring.first();
    let nonce = Nonce::<U12>::try_generate().map_err(|_| CredentialError::NoRandomness)?;
    let plain = Plain {
        v: FORMAT,
        user: credential.user(),
        password: credential.password().expose_secret(),
    };
    let encode = |error: serde_json::Error| CredentialError::Refused {
        action: "encode a credential",
        source: Box::new(error),
    };
    let plain = Zeroizing::new(serde_json::to_vec(&plain).map_err(encode)?);
    let bound_to = bound_to(name, &key.id, FORMAT);
    let payload = Payload {
        msg: &plain,
        aad: &bound_to,
    };
    let ciphertext = key.cipher.encrypt(&nonce, payload);
    let ciphertext = ciphertext.map_err(|error| CredentialError::Refused {
        action: "encrypt a credential",
        source: Box::new(error),
    })?;
    Ok(Sealed {
        format: FORMAT,
        key_id: key.id.clone(),
        nonce: nonce.to_vec(),
        ciphertext,
    })
}

/// Opens what was sealed under this name.
pub(crate) fn open(name: &CredentialRef, sealed: &Sealed, ring: &KeyRing) -> Result<Credential, Unreadable> {
    if sealed.format != FORMAT {
        return Err(Unreadable::Format {
            format: sealed.format,
        });
    }
    let key = ring.find(&sealed.key_id).ok_or_else(|| Unreadable::UnknownKey {
        key_id: sealed.key_id.clone(),
    })?;
    let nonce = Nonce::<U12>::try_from(sealed.nonce.as_slice()).map_err(|_| Unreadable::NotAuthentic)?;
    let bound_to = bound_to(name, &sealed.key_id, sealed.format);
    let payload = Payload {
        msg: &sealed.ciphertext,
        aad: &bound_to,
    };
    let plain = key.cipher.decrypt(&nonce, payload);
    let plain = Zeroizing::new(plain.map_err(|_| Unreadable::NotAuthentic)?);
    // Only we can have sealed it, but perhaps a release that thinks otherwise of what can be stored.
    let opened: Opened = serde_json::from_slice(&plain).map_err(|_| Unreadable::NotAuthentic)?;
    if opened.v != FORMAT {
        return Err(Unreadable::Format { format: opened.v });
    }
    let password = SecretString::from(opened.password);
    Credential::new(&opened.user, password).map_err(|_| Unreadable::NotAuthentic)
}

#[cfg(test)]
mod tests;

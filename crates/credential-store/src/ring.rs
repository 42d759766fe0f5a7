//! The keys: the first is for writing, all are for reading.

use std::fmt;
use std::sync::Arc;

use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// More keys than any change of keys needs.
const MAX_KEYS: usize = 16;
/// The longest id that is stored.
const MAX_ID: usize = 32;
const KEY_BYTES: usize = 32;

/// Why a text is no ring of keys. Names the line, never its text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Nothing but blank lines and comments.
    #[error("holds no key")]
    Empty,
    /// More keys than are kept.
    #[error("holds more than {MAX_KEYS} keys")]
    TooMany,
    /// What follows the id is not the Base64 of 32 bytes.
    #[error("line {line}: the key must be 32 bytes in Base64")]
    Key {
        /// Counted from 1.
        line: usize,
    },
    /// The id is empty, too long or has other characters.
    #[error("line {line}: the id must be 1 to {MAX_ID} letters, digits, '.', '_' or '-'")]
    Id {
        /// Counted from 1.
        line: usize,
    },
    /// Two keys have one id.
    #[error("line {line}: the id is that of another line too")]
    Twice {
        /// Counted from 1.
        line: usize,
    },
}

/// One key.
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) cipher: Aes256Gcm,
}

/// The keys. Cheap to clone; `Debug` shows their ids.
#[derive(Clone)]
pub struct KeyRing {
    /// At least one.
    keys: Arc<[Key]>,
}

impl KeyRing {
    /// Reads lines `id:base64` or `base64`, standard or URL-safe; blank lines and those with `#` in front are
    /// skipped. Without an id, the first 8 hex digits of the key's SHA-256 are one.
    ///
    /// # Errors
    /// [`KeyRingError`] names the line.
    pub fn parse(text: &SecretString) -> Result<Self, KeyRingError> {
        let mut keys: Vec<Key> = Vec::new();
        for (at, line) in text.expose_secret().lines().enumerate() {
            let content = line.trim();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let line = at + 1;
            let key = read_line(content, line)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(KeyRingError::Twice { line });
            }
            if keys.len() == MAX_KEYS {
                return Err(KeyRingError::TooMany);
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeyRingError::Empty);
        }
        Ok(Self { keys: keys.into() })
    }

    /// The id of the key for writing.
    #[must_use]
    pub fn first_id(&self) -> &str {
        &self.first().id
    }

    /// Whether a key is in the ring.
    #[must_use]
    pub fn has(&self, id: &str) -> bool {
        self.find(id).is_some()
    }

    pub(crate) fn first(&self) -> &Key {
        &self.keys[0]
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

fn read_line(content: &str, line: usize) -> Result<Key, KeyRingError> {
    let (id, text) = match content.split_once(':') {
        Some((id, text)) => (Some(id.trim()), text.trim()),
        None => (None, content),
    };
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if id.is_some_and(|id| !(1..=MAX_ID).contains(&id.len()) || !id.bytes().all(fits)) {
        return Err(KeyRingError::Id { line });
    }
    let bytes = decode(text).ok_or(KeyRingError::Key { line })?;
    let id = id.map_or_else(|| id_of(&bytes), str::to_owned);
    let cipher = Aes256Gcm::new_from_slice(&bytes).map_err(|_| KeyRingError::Key { line })?;
    Ok(Key { id, cipher })
}

fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = [STANDARD, URL_SAFE]
        .iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).ok());
    decoded
        .map(Zeroizing::new)
        .filter(|bytes| bytes.len() == KEY_BYTES)
}

fn id_of(key: &[u8]) -> String {
    let digest = Sha256::digest(key);
    digest[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys.iter().map(|key| key.id.as_str()).collect();
        write!(f, "KeyRing({})", ids.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn ring(text: impl Into<String>) -> Result<KeyRing, KeyRingError> {
        KeyRing::parse(&SecretString::from(text.into()))
    }

    #[test]
    fn one_key_in_either_alphabet_is_a_ring_named_by_its_hash() {
        let key = [0xfb; 32];
        for text in [
            BASE64_STANDARD.encode(key),
            BASE64_URL_SAFE.encode(key),
            BASE64_URL_SAFE_NO_PAD.encode(key),
            format!("\n# ours\n  {} \n", BASE64_STANDARD.encode(key)),
        ] {
            let ring = ring(text).unwrap();
            assert_eq!(ring.first_id(), id_of(&key));
            assert_eq!(format!("{ring:?}"), format!("KeyRing({})", id_of(&key)));
        }
        // Computed by `printf '%032d' 0 | sha256sum`.
        assert_eq!(id_of(&[b'0'; 32]), "84e0c0ea");
    }

    #[test]
    fn the_first_line_writes_and_all_read() {
        let (a, b) = (BASE64_STANDARD.encode([1; 32]), BASE64_STANDARD.encode([2; 32]));
        let ring = ring(format!("2026:{a}\r\n2025:{b}\r\n")).unwrap();
        assert_eq!(ring.first_id(), "2026");
        assert!(ring.find("2025").is_some() && ring.find("2024").is_none());
    }

    #[test]
    fn what_is_no_ring_is_refused_with_its_line() {
        let good = BASE64_STANDARD.encode([1; 32]);
        let short = BASE64_STANDARD.encode([1; 31]);
        for (text, expected) in [
            (" \n# x\n".to_owned(), KeyRingError::Empty),
            (short.clone(), KeyRingError::Key { line: 1 }),
            (format!("{good}\nnew:{short}"), KeyRingError::Key { line: 2 }),
            ("hunter2".to_owned(), KeyRingError::Key { line: 1 }),
            (format!("a b:{good}"), KeyRingError::Id { line: 1 }),
            (format!(":{good}"), KeyRingError::Id { line: 1 }),
            (format!("{}:{good}", "x".repeat(33)), KeyRingError::Id { line: 1 }),
            (format!("a:{good}\na:{good}"), KeyRingError::Twice { line: 2 }),
            (
                (0..17).map(|at| format!("k{at}:{good}\n")).collect(),
                KeyRingError::TooMany,
            ),
        ] {
            assert_eq!(ring(text).unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_ring_or_refused_without_repeating_it(text in "[A-Za-z0-9+/=:_ #\\n-]{0,200}") {
            if let Err(error) = ring(text.clone()) {
                let told = format!("{error} {error:?}");
                for word in text.split([' ', '\n', ':']).filter(|word| word.len() > 12) {
                    prop_assert!(!told.contains(word));
                }
            }
        }

        #[test]
        fn every_key_survives_its_spelling(key: [u8; 32], id in "[A-Za-z0-9._-]{1,32}") {
            let ring = ring(format!("{id}:{}", BASE64_URL_SAFE.encode(key))).unwrap();
            prop_assert_eq!(ring.first_id(), id);
        }
    }
}

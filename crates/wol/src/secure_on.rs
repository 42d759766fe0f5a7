//! The SecureOn password that some network cards want at the end of the packet.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::mac::parse_octets;

/// A SecureOn password of four or six bytes, appended to a magic packet.
///
/// It travels in clear and protects from accidents at most, yet it is treated as a secret: `Debug` shows
/// its length only, and there is no `Display`.
///
/// ```
/// let six: wol::SecureOn = "00:11:22:33:44:55".parse()?;
/// let four: wol::SecureOn = "10.20.30.40".parse()?;
/// assert_eq!((six.as_bytes().len(), four.as_bytes().len()), (6, 4));
/// # Ok::<(), wol::ParseSecureOnError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecureOn(Bytes);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Bytes {
    Four([u8; 4]),
    Six([u8; 6]),
}

impl SecureOn {
    /// A password of four bytes.
    pub const fn four(bytes: [u8; 4]) -> Self {
        Self(Bytes::Four(bytes))
    }

    /// A password of six bytes.
    pub const fn six(bytes: [u8; 6]) -> Self {
        Self(Bytes::Six(bytes))
    }

    /// The bytes as they stand in the packet.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Four(bytes) => bytes,
            Bytes::Six(bytes) => bytes,
        }
    }
}

impl fmt::Debug for SecureOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecureOn({} bytes)", self.as_bytes().len())
    }
}

/// Reads four bytes as a dotted IPv4 address, or six in any spelling of a [`MacAddr`](crate::MacAddr),
/// here with every value allowed.
impl FromStr for SecureOn {
    type Err = ParseSecureOnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::four(address.octets()));
        }
        parse_octets(text)
            .map(Self::six)
            .ok_or(ParseSecureOnError { length: text.len() })
    }
}

/// The text is no SecureOn password. It is a secret that was mistyped, so only its length is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a SecureOn password is six bytes like 00:11:22:33:44:55 or four like 10.20.30.40; the text given has \
     {length} bytes and is neither"
)]
pub struct ParseSecureOnError {
    /// Length of the text given, in bytes.
    pub length: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lengths_are_read() {
        assert_eq!("10.20.30.40".parse(), Ok(SecureOn::four([10, 20, 30, 40])));
        assert_eq!("00-00-00-00-00-00".parse(), Ok(SecureOn::six([0; 6])));
        assert_eq!("ffffffffffff".parse(), Ok(SecureOn::six([0xff; 6])));
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        let password: SecureOn = "de:ad:be:ef:00:01".parse().unwrap();
        assert_eq!(format!("{password:?}"), "SecureOn(6 bytes)");
        let error = "hunter2".parse::<SecureOn>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }

    #[test]
    fn other_lengths_are_refused() {
        for text in ["", "1.2.3", "1.2.3.4.5", "00:11:22:33:44", "secret"] {
            assert!(text.parse::<SecureOn>().is_err(), "{text}");
        }
    }
}

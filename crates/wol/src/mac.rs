//! Hardware addresses, as people and inventories write them.

use std::fmt;
use std::str::FromStr;

/// A 48-bit hardware address that a machine can be woken by.
///
/// The all-zero and the broadcast address are refused: they are what a missing address looks like, and
/// neither names a machine. Other group addresses pass, because inventories of old contain made-up ones.
///
/// ```
/// let mac: wol::MacAddr = "00-1A-2B-3C-4D-5E".parse()?;
/// assert_eq!(mac.to_string(), "00:1a:2b:3c:4d:5e");
/// # Ok::<(), wol::ParseMacError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// Takes six octets, most significant first, as they stand on the wire.
    ///
    /// # Errors
    /// [`ParseMacError::NotOneMachine`] for the all-zero and the broadcast address.
    pub fn new(octets: [u8; 6]) -> Result<Self, ParseMacError> {
        let mac = Self(octets);
        mac.names_one_machine()
            .then_some(mac)
            .ok_or_else(|| ParseMacError::NotOneMachine {
                input: mac.to_string(),
            })
    }

    /// The six octets, most significant first.
    pub const fn octets(self) -> [u8; 6] {
        self.0
    }

    fn names_one_machine(self) -> bool {
        self.0 != [0; 6] && self.0 != [0xff; 6]
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        // `pad` instead of `write!`: addresses stand in columns of tables.
        f.pad(&format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"))
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MacAddr({self})")
    }
}

/// Reads six pairs of hexadecimal digits separated throughout by `:`, `-` or `.`, three groups of four
/// separated by `.`, `:` or `-`, or twelve digits in a row. Blanks around the text are ignored.
impl FromStr for MacAddr {
    type Err = ParseMacError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let octets = parse_octets(input.trim()).ok_or_else(|| ParseMacError::Malformed {
            input: Excerpt::of(input).to_string(),
        })?;
        let mac = Self(octets);
        mac.names_one_machine()
            .then_some(mac)
            .ok_or_else(|| ParseMacError::NotOneMachine {
                input: Excerpt::of(input).to_string(),
            })
    }
}

/// Why a text is no [`MacAddr`]. Both kinds carry the text that was given, cut after 64 characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseMacError {
    /// The text does not have the shape of a hardware address.
    #[error(
        "{input:?} is not a hardware address: expected twelve hexadecimal digits, bare or separated like \
         00:1a:2b:3c:4d:5e"
    )]
    Malformed {
        /// The text given.
        input: String,
    },
    /// The shape is right, but the address is all zero or broadcast.
    #[error("{input:?} is not the address of one machine: it is all zero or broadcast")]
    NotOneMachine {
        /// The text given.
        input: String,
    },
}

/// Reads the six octets of any accepted spelling; `None` when the shape is wrong.
pub(crate) fn parse_octets(text: &str) -> Option<[u8; 6]> {
    let digits = bare_digits(text)?;
    let mut octets = [0; 6];
    for (octet, pair) in octets.iter_mut().zip(digits.chunks_exact(2)) {
        *octet = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(octets)
}

/// Drops the separators after checking that there is one kind of them and that they stand regularly.
fn bare_digits(text: &str) -> Option<[u8; 12]> {
    let bytes = text.as_bytes();
    let group = match bytes.len() {
        12 => 12,
        14 => 4,
        17 => 2,
        _ => return None,
    };
    let mut digits = [0; 12];
    let mut filled = 0;
    let separator = bytes.get(group).copied();
    for (at, &byte) in bytes.iter().enumerate() {
        if at % (group + 1) == group {
            if Some(byte) != separator || !matches!(byte, b':' | b'-' | b'.') {
                return None;
            }
        } else {
            *digits.get_mut(filled)? = byte;
            filled += 1;
        }
    }
    (filled == digits.len()).then_some(digits)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

/// A text from outside, bounded for use in a message.
pub(crate) struct Excerpt<'a>(&'a str);

impl<'a> Excerpt<'a> {
    const MAX_CHARS: usize = 64;

    pub(crate) fn of(text: &'a str) -> Self {
        Self(text)
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(Self::MAX_CHARS) {
            Some((end, _)) => write!(f, "{}...", &self.0[..end]),
            None => f.write_str(self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_usual_spelling_means_the_same_address() {
        let expected = MacAddr([0x00, 0x1a, 0x2b, 0x3c, 0x4d, 0x5e]);
        for text in [
            "00:1a:2b:3c:4d:5e",
            "00-1A-2B-3C-4D-5E",
            "00.1a.2b.3c.4d.5e",
            "001a.2b3c.4d5e",
            "001a:2b3c:4d5e",
            "001A-2B3C-4D5E",
            "001a2B3c4D5e",
            "  00:1a:2b:3c:4d:5e\t",
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_wrong_shape_is_refused_with_the_text_named() {
        for text in [
            "",
            "   ",
            "00:1a:2b:3c:4d",
            "00:1a:2b:3c:4d:5e:6f",
            "00:1a-2b:3c:4d:5e",
            "00 1a 2b 3c 4d 5e",
            "0:1a:2b:3c:4d:5e",
            "00:1a:2b:3c:4d:5g",
            "001a2b3c4d5",
            "001a2b3c4d5e6",
            ":00:1a:2b:3c:4d:5",
            "00:1a:2b:3c:4d::e",
            "001a.2b3c-4d5e",
            "é01a2b3c4d5",
            "+01a2b3c4d5e",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert_eq!(
                error,
                ParseMacError::Malformed {
                    input: text.to_owned()
                }
            );
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn an_address_of_no_single_machine_is_refused() {
        for text in [
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "FFFF.FFFF.FFFF",
            "000000000000",
        ] {
            let error = text.parse::<MacAddr>().unwrap_err();
            assert_eq!(
                error,
                ParseMacError::NotOneMachine {
                    input: text.to_owned()
                }
            );
        }
        assert!(MacAddr::new([0xff; 6]).is_err());
        assert!(MacAddr::new([0x11, 0x22, 0x33, 0x44, 0x55, 0x66]).is_ok());
    }

    #[test]
    fn a_very_long_text_is_cut_in_the_message() {
        let error = "é".repeat(10_000).parse::<MacAddr>().unwrap_err();
        assert!(error.to_string().len() < 300, "{error}");
    }

    #[test]
    fn an_address_can_be_padded_in_a_table() {
        let mac: MacAddr = "001a2b3c4d5e".parse().unwrap();
        assert_eq!(format!("{mac:<20}|"), "00:1a:2b:3c:4d:5e   |");
        assert_eq!(format!("{mac:?}"), "MacAddr(00:1a:2b:3c:4d:5e)");
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back(octets: [u8; 6]) {
            if let Ok(mac) = MacAddr::new(octets) {
                prop_assert_eq!(mac.to_string().parse(), Ok(mac));
                prop_assert_eq!(mac.octets(), octets);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            let _ = text.parse::<MacAddr>();
        }
    }
}

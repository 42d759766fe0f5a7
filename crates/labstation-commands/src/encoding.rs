//! How the characters of an event file are written, and where its lines end.

use std::borrow::Cow;

/// UTF-8 or one of the two UTF-16; a line feed has one byte or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// So much of a text tells how it is written.
const SAMPLE: usize = 256;

impl Encoding {
    /// Told by the mark at the head of a file.
    pub(crate) fn of_head(head: &[u8]) -> Self {
        match head {
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            _ => Self::of_part(head),
        }
    }

    /// Told by any part that begins with a whole character: JSON has so many ASCII characters that in UTF-16 every
    /// other byte is mostly zero. In UTF-8 there are no zeros, but for a file that a crash has filled up with them.
    pub(crate) fn of_part(part: &[u8]) -> Self {
        // The end says most: it is a line end, with the braces of the object before it.
        let from = part.len().saturating_sub(SAMPLE) & !1;
        let (pairs, _) = part[from..].as_chunks::<2>();
        let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
        let (first, second) = (zeros(0), zeros(1));
        match (first * 4 >= pairs.len(), second * 4 >= pairs.len()) {
            (false, true) if first * 4 < second => Self::Utf16Le,
            (true, false) if second * 4 < first => Self::Utf16Be,
            _ => Self::Utf8,
        }
    }

    /// Bytes of the smallest character.
    pub(crate) fn unit(self) -> usize {
        match self {
            Self::Utf8 => 1,
            Self::Utf16Le | Self::Utf16Be => 2,
        }
    }

    /// Length of the first line, its end included; nothing when there is no end.
    pub(crate) fn line_length(self, bytes: &[u8]) -> Option<usize> {
        let end: [u8; 2] = match self {
            Self::Utf8 => return bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1),
            Self::Utf16Le => [b'\n', 0],
            Self::Utf16Be => [0, b'\n'],
        };
        let (pairs, _) = bytes.as_chunks::<2>();
        pairs.iter().position(|pair| *pair == end).map(|at| (at + 1) * 2)
    }

    pub(crate) fn ends_line(self, bytes: &[u8]) -> bool {
        bytes.ends_with(match self {
            Self::Utf8 => b"\n",
            Self::Utf16Le => &[b'\n', 0],
            Self::Utf16Be => &[0, b'\n'],
        })
    }

    /// Text of a line. A mark at its beginning is removed; `None` for broken UTF-16.
    pub(crate) fn text(self, line: &[u8], at_head: bool) -> Option<Cow<'_, str>> {
        let utf16 = |unit: fn([u8; 2]) -> u16| {
            let (pairs, _) = line.as_chunks::<2>();
            let units = pairs.iter().map(|pair| unit(*pair));
            let units = units.skip_while(|unit| at_head && *unit == 0xfeff);
            char::decode_utf16(units)
                .collect::<Result<String, _>>()
                .ok()
                .map(Cow::Owned)
        };
        match self {
            Self::Utf8 => {
                let unmarked = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| at_head);
                Some(String::from_utf8_lossy(unmarked.unwrap_or(line)))
            }
            Self::Utf16Le => utf16(u16::from_le_bytes),
            Self::Utf16Be => utf16(u16::from_be_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, unit: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn the_way_characters_are_written_shows_in_any_part() {
        let line = "{\"user\":\"Zo\u{eb} \u{65e5}\u{672c}\"}\r\n";
        assert_eq!(Encoding::of_part(line.as_bytes()), Encoding::Utf8);
        assert_eq!(
            Encoding::of_part(&utf16(line, u16::to_le_bytes)),
            Encoding::Utf16Le
        );
        assert_eq!(
            Encoding::of_part(&utf16(line, u16::to_be_bytes)),
            Encoding::Utf16Be
        );
        assert_eq!(Encoding::of_part(b""), Encoding::Utf8);
        assert_eq!(
            Encoding::of_part(&[0; 300]),
            Encoding::Utf8,
            "filled up by a crash"
        );
        assert_eq!(Encoding::of_part(b"\n"), Encoding::Utf8);
        assert_eq!(Encoding::of_head(&[0xff, 0xfe]), Encoding::Utf16Le);
    }

    #[test]
    fn a_line_end_of_utf_16_is_found_at_whole_characters_only() {
        // U+0A00 and U+000A: the bytes 00 0A 0A 00 in one order.
        let bytes = utf16("\u{a00}\n", u16::to_le_bytes);
        assert_eq!(Encoding::Utf16Le.line_length(&bytes), Some(4));
        assert_eq!(Encoding::Utf16Le.line_length(&bytes[..3]), None);
        assert_eq!(
            Encoding::Utf16Be.line_length(&utf16("\u{a00}\n", u16::to_be_bytes)),
            Some(4)
        );
        assert_eq!(Encoding::Utf8.line_length(b"a\nb"), Some(2));
    }
}

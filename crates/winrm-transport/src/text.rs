//! Text out of bytes that were cut anywhere.

/// Makes text of UTF-8 that arrives in pieces: a character cut between two pieces stays whole, one byte order mark at
/// the very beginning is dropped, and what is no UTF-8 becomes U+FFFD.
///
/// ```
/// use winrm_transport::TextDecoder;
///
/// let mut decoder = TextDecoder::default();
/// assert_eq!(decoder.push(b"na\xc3"), "na");
/// assert_eq!(decoder.push(b"\xafve"), "\u{ef}ve");
/// assert_eq!(decoder.finish(), "");
/// ```
#[derive(Debug, Clone, Default)]
pub struct TextDecoder {
    /// The beginning of a character, at most three bytes.
    pending: Vec<u8>,
    begun: bool,
}

impl TextDecoder {
    /// The text of the next piece, as far as its characters are complete.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.pending.extend_from_slice(bytes);
        let cut = complete(&self.pending);
        let text = self.text(cut);
        self.pending.drain(..cut);
        text
    }

    /// What is left when no more will come: nothing, unless a character was never finished.
    pub fn finish(mut self) -> String {
        self.text(self.pending.len())
    }

    fn text(&mut self, cut: usize) -> String {
        let text = String::from_utf8_lossy(&self.pending[..cut]);
        if self.begun || text.is_empty() {
            return text.into_owned();
        }
        self.begun = true;
        text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
    }
}

/// How many bytes make complete characters, or can never make one.
fn complete(bytes: &[u8]) -> usize {
    let mut done = 0;
    loop {
        match std::str::from_utf8(&bytes[done..]) {
            Ok(_) => return bytes.len(),
            Err(error) => match error.error_len() {
                Some(bad) => done += error.valid_up_to() + bad,
                None => return done + error.valid_up_to(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn in_pieces(bytes: &[u8], size: usize) -> String {
        let mut decoder = TextDecoder::default();
        let mut text: String = bytes.chunks(size).map(|piece| decoder.push(piece)).collect();
        text.push_str(&decoder.finish());
        text
    }

    proptest! {
        #[test]
        fn text_does_not_depend_on_where_it_was_cut(bytes: Vec<u8>, size in 1_usize..8) {
            let whole = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(in_pieces(&bytes, size), whole.strip_prefix('\u{feff}').unwrap_or(&whole));
        }

        #[test]
        fn characters_stay_whole_in_any_pieces(text: String, size in 1_usize..5) {
            prop_assert_eq!(in_pieces(text.as_bytes(), size), text.strip_prefix('\u{feff}').unwrap_or(&text));
        }
    }

    #[test]
    fn one_mark_is_dropped_also_when_it_comes_in_pieces() {
        assert_eq!(in_pieces("\u{feff}\u{feff}a".as_bytes(), 1), "\u{feff}a");
    }
}

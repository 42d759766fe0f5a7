//! The `multipart/encrypted` form of a sealed body.
//!
//! It looks like MIME but is not: the data part is binary, follows its head without a blank line and ends by its
//! length, with the closing boundary right behind it. Source: MS-WSMV 2.2.9.1.

use crate::ntlm::seal::{BadSignature, SIGNATURE_LEN, Sealer};

/// The content type of a request sealed by what `Negotiate` agreed on.
pub(crate) const CONTENT_TYPE: &str = "multipart/encrypted;\
    protocol=\"application/HTTP-SPNEGO-session-encrypted\";boundary=\"Encrypted Boundary\"";

/// What is said of the sealed parts then.
pub(crate) const PROTOCOL: &str = "application/HTTP-SPNEGO-session-encrypted";

/// Why a sealed answer was refused. The connection cannot be used after any of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsealError {
    /// Not in the agreed form.
    #[error("sealed answer is malformed")]
    Framing,
    /// Changed on the way, or out of step.
    #[error("sealed answer has a wrong signature")]
    Signature,
}

/// What seals the bodies of one connection: the security context of its authentication. Both sides count messages.
pub(crate) trait Protection: Send + Sync {
    /// The content type that the sealed parts name.
    fn protocol(&self) -> &'static str;

    /// The content type of the whole body.
    fn content_type(&self) -> &'static str;

    /// Appends the length of the header in four bytes, the header, and data of the length of `plain`.
    fn seal_into(&mut self, plain: &[u8], out: &mut Vec<u8>);

    /// Whether a header of a peer may have this length.
    fn header_fits(&self, length: usize) -> bool;

    /// The plain text, checked. After a failure the context is of no more use.
    fn unseal_body(&mut self, header: &[u8], data: &[u8]) -> Result<Vec<u8>, BadSignature>;
}

impl Protection for Sealer {
    fn protocol(&self) -> &'static str {
        PROTOCOL
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn seal_into(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&(SIGNATURE_LEN as u32).to_le_bytes());
        let at = out.len();
        out.extend_from_slice(&[0; SIGNATURE_LEN]);
        out.extend_from_slice(plain);
        let signature = self.seal(&mut out[at + SIGNATURE_LEN..]);
        out[at..at + SIGNATURE_LEN].copy_from_slice(&signature);
    }

    fn header_fits(&self, length: usize) -> bool {
        length == SIGNATURE_LEN
    }

    fn unseal_body(&mut self, header: &[u8], data: &[u8]) -> Result<Vec<u8>, BadSignature> {
        let mut plain = data.to_vec();
        self.unseal(header, &mut plain).map(|()| plain)
    }
}

/// Seals one body.
pub(crate) fn wrap<P: Protection + ?Sized>(sealer: &mut P, plain: &str) -> Vec<u8> {
    let protocol = sealer.protocol();
    let mut out = Vec::with_capacity(plain.len() + 384);
    out.extend_from_slice(
        format!(
            "--Encrypted Boundary\r\n\
             \tContent-Type: {protocol}\r\n\
             \tOriginalContent: type=application/soap+xml;charset=UTF-8;Length={}\r\n\
             --Encrypted Boundary\r\n\
             \tContent-Type: application/octet-stream\r\n",
            plain.len()
        )
        .as_bytes(),
    );
    sealer.seal_into(plain.as_bytes(), &mut out);
    out.extend_from_slice(b"--Encrypted Boundary--\r\n");
    out
}

/// Opens one sealed body.
pub(crate) fn unwrap<P: Protection + ?Sized>(sealer: &mut P, body: &[u8]) -> Result<Vec<u8>, UnsealError> {
    let (header, data) = cut(body, |length| sealer.header_fits(length)).ok_or(UnsealError::Framing)?;
    sealer
        .unseal_body(header, data)
        .map_err(|_| UnsealError::Signature)
}

/// Cuts header and cipher text out, by length.
fn cut(body: &[u8], header_fits: impl FnOnce(usize) -> bool) -> Option<(&[u8], &[u8])> {
    let mut rest = body;
    is_boundary(line(&mut rest)?).then_some(())?;
    let mut length = None;
    loop {
        let head = line(&mut rest)?;
        if is_boundary(head) {
            break;
        }
        length = length.or_else(|| original_length(head));
    }
    let kind = std::str::from_utf8(line(&mut rest)?).ok()?;
    kind.to_ascii_lowercase()
        .contains("application/octet-stream")
        .then_some(())?;
    let header_length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    header_fits(header_length).then_some(())?;
    let (header, rest) = rest[4..].split_at_checked(header_length)?;
    let (data, tail) = rest.split_at_checked(length?)?;
    let tail = tail.strip_suffix(b"\r\n").unwrap_or(tail);
    is_boundary(tail.strip_suffix(b"--")?).then_some((header, data))
}

/// One line without its CRLF; none longer than a head line can be.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().take(512).position(|byte| *byte == b'\n')?;
    let (found, after) = (&rest[..end], &rest[end + 1..]);
    *rest = after;
    found.strip_suffix(b"\r")
}

/// With a blank after the dashes as Exchange writes it, or without.
fn is_boundary(line: &[u8]) -> bool {
    matches!(line, b"--Encrypted Boundary" | b"-- Encrypted Boundary")
}

fn original_length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?.trim();
    let (name, value) = head.split_once(':')?;
    if !name.eq_ignore_ascii_case("OriginalContent") {
        return None;
    }
    value.split(';').find_map(|field| {
        let (key, value) = field.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case("length")
            .then(|| value.trim().parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pair() -> (Sealer, Sealer) {
        (Sealer::client(&[9; 16]), Sealer::server(&[9; 16]))
    }

    #[test]
    fn the_frame_is_byte_for_byte_what_windows_expects() {
        let sealed = wrap(&mut Sealer::client(&[0x55; 16]), "<s:Envelope/>");
        let text = String::from_utf8_lossy(&sealed);
        let head = "--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n\
                    \tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=13\r\n\
                    --Encrypted Boundary\r\n\tContent-Type: application/octet-stream\r\n";
        assert!(text.starts_with(head));
        assert_eq!(&sealed[head.len()..head.len() + 8], [16, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(
            sealed.len(),
            head.len() + 4 + 16 + 13 + "--Encrypted Boundary--\r\n".len()
        );
        assert!(sealed.ends_with(b"--Encrypted Boundary--\r\n"));
    }

    #[test]
    fn what_one_side_wraps_the_other_unwraps_in_all_accepted_spellings() {
        for (from, to) in [
            ("\t", "\t"),
            ("\t", ""),
            ("--Encrypted", "-- Encrypted"),
            (";Length", "; length"),
        ] {
            let (mut client, mut server) = pair();
            let sealed = wrap(&mut client, "<s:Envelope/>");
            // Only the head is text; the cipher text stays as it is.
            let at = sealed.windows(13).position(|w| w == b"octet-stream\r").unwrap() + 14;
            let mut spelt = String::from_utf8(sealed[..at].to_vec())
                .unwrap()
                .replace(from, to)
                .into_bytes();
            spelt.extend(&sealed[at..sealed.len() - 2]);
            assert_eq!(
                unwrap(&mut server, &spelt),
                Ok(b"<s:Envelope/>".to_vec()),
                "{from:?} -> {to:?}"
            );
        }
    }

    #[test]
    fn a_frame_that_is_cut_or_longer_than_it_says_is_refused() {
        let sealed = wrap(&mut Sealer::client(&[9; 16]), "<s:Envelope/>");
        for end in 0..sealed.len() - 2 {
            assert!(
                unwrap(&mut Sealer::server(&[9; 16]), &sealed[..end]).is_err(),
                "cut at {end}"
            );
        }
        let text = String::from_utf8_lossy(&sealed).into_owned();
        assert!(text.contains("Length=13"));
        let mut longer = sealed.clone();
        let at = longer.windows(2).position(|w| w == b"13").unwrap();
        longer[at + 1] = b'2';
        assert_eq!(
            unwrap(&mut Sealer::server(&[9; 16]), &longer),
            Err(UnsealError::Framing)
        );
        let mut changed = sealed;
        let last = changed.len() - 30;
        changed[last] ^= 1;
        assert_eq!(
            unwrap(&mut Sealer::server(&[9; 16]), &changed),
            Err(UnsealError::Signature)
        );
    }

    proptest! {
        #[test]
        fn any_text_survives_and_later_messages_too(texts in prop::collection::vec(".{0,60}", 1..5)) {
            let (mut client, mut server) = pair();
            for text in texts {
                let sealed = wrap(&mut client, &text);
                prop_assert_eq!(unwrap(&mut server, &sealed), Ok(text.into_bytes()));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unwrap(&mut pair().1, &bytes);
            let mut looks_right = b"--Encrypted Boundary\r\n\tOriginalContent: type=x;Length=".to_vec();
            looks_right.extend(&bytes);
            let _ = unwrap(&mut pair().1, &looks_right);
        }
    }
}

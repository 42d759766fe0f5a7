//! The `multipart/encrypted` framing of sealed messages. Source: MS-WSMV 2.2.9.1.

/// Protocol named in both headers.
const PROTOCOL: &str = "application/HTTP-SPNEGO-session-encrypted";
const BOUNDARY: &[u8] = b"--Encrypted Boundary";
/// Length of an NTLM signature.
const SIGNATURE: usize = 16;

/// Why a body is not framed as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FramingError {
    #[error("content type names another protocol or boundary")]
    ContentType,
    #[error("a part header is not as it must be")]
    Header,
    #[error("signature of another length than 16")]
    Signature,
    #[error("data does not match the length named")]
    Length,
    #[error("no closing boundary right after the data")]
    Closing,
}

/// A sealed message without its frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sealed<'a> {
    pub(super) signature: &'a [u8],
    pub(super) data: &'a [u8],
}

/// Whether a request claims to be sealed.
pub(super) fn is_sealed(content_type: &str) -> bool {
    content_type
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("multipart/encrypted")
}

/// Content type of a sealed answer.
pub(super) fn content_type() -> String {
    format!("multipart/encrypted;protocol=\"{PROTOCOL}\";boundary=\"Encrypted Boundary\"")
}

/// Takes the frame off. The data is cut by its length, never searched, because it is binary.
pub(super) fn unframe<'a>(content_type: &str, body: &'a [u8]) -> Result<Sealed<'a>, FramingError> {
    let claims = content_type.to_ascii_lowercase();
    let names = |part: &str| claims.contains(&part.to_ascii_lowercase());
    if !names(PROTOCOL) || !names("boundary=\"encrypted boundary\"") {
        return Err(FramingError::ContentType);
    }
    let rest = expect_line(body, "--Encrypted Boundary")?;
    let rest = expect_line(rest, &format!("Content-Type: {PROTOCOL}"))?;
    let (original, rest) = line(rest)?;
    let length = original
        .strip_prefix("OriginalContent: type=application/soap+xml;charset=")
        .and_then(|text| text.split_once(";Length="))
        .and_then(|(_, length)| length.parse::<usize>().ok())
        .ok_or(FramingError::Header)?;
    let rest = expect_line(rest, "--Encrypted Boundary")?;
    let rest = expect_line(rest, "Content-Type: application/octet-stream")?;
    let (signature_length, rest) = rest.split_at_checked(4).ok_or(FramingError::Signature)?;
    if signature_length != (SIGNATURE as u32).to_le_bytes() {
        return Err(FramingError::Signature);
    }
    let (signature, rest) = rest.split_at_checked(SIGNATURE).ok_or(FramingError::Signature)?;
    let (data, closing) = rest.split_at_checked(length).ok_or(FramingError::Length)?;
    match closing
        .strip_prefix(BOUNDARY)
        .and_then(|end| end.strip_prefix(b"--"))
    {
        Some(b"" | b"\r\n") => Ok(Sealed { signature, data }),
        _ => Err(FramingError::Closing),
    }
}

/// Puts the frame on.
pub(super) fn frame(signature: &[u8; SIGNATURE], data: &[u8]) -> Vec<u8> {
    let head = format!(
        "--Encrypted Boundary\r\n\tContent-Type: {PROTOCOL}\r\n\tOriginalContent: \
         type=application/soap+xml;charset=UTF-8;Length={}\r\n--Encrypted Boundary\r\n\tContent-Type: \
         application/octet-stream\r\n",
        data.len()
    );
    let mut body = head.into_bytes();
    body.extend((SIGNATURE as u32).to_le_bytes());
    body.extend(signature);
    body.extend(data);
    body.extend(BOUNDARY);
    body.extend(b"--\r\n");
    body
}

/// One header line, with or without the TAB in front.
fn line(bytes: &[u8]) -> Result<(&str, &[u8]), FramingError> {
    let end = bytes
        .windows(2)
        .take(512)
        .position(|w| w == b"\r\n")
        .ok_or(FramingError::Header)?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| FramingError::Header)?;
    Ok((text.strip_prefix('\t').unwrap_or(text), &bytes[end + 2..]))
}

fn expect_line<'a>(bytes: &'a [u8], expected: &str) -> Result<&'a [u8], FramingError> {
    let (found, rest) = line(bytes)?;
    if found.eq_ignore_ascii_case(expected) {
        Ok(rest)
    } else {
        Err(FramingError::Header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data that holds everything a searching parser would trip over.
    const DATA: &[u8] = b"\r\n--Encrypted Boundary--\r\n\0\xFF";

    fn replaced(from: &str, to: &str) -> Vec<u8> {
        let body = frame(&[7; 16], b"data");
        let text: String = body.iter().map(|&b| char::from(b)).collect();
        text.replacen(from, to, 1)
            .chars()
            .map(|c| u8::try_from(c).unwrap())
            .collect()
    }

    #[test]
    fn a_frame_is_taken_off_as_it_was_put_on() {
        let body = frame(&[7; 16], DATA);
        assert_eq!(
            unframe(&content_type(), &body),
            Ok(Sealed {
                signature: &[7; 16],
                data: DATA
            })
        );
    }

    #[test]
    fn the_tab_before_a_header_may_be_missing() {
        let body = replaced("\tContent-Type", "Content-Type");
        assert!(unframe(&content_type(), &body).is_ok());
    }

    #[test]
    fn other_frames_are_refused() {
        let table = [
            (
                "--Encrypted Boundary--",
                "\r\n--Encrypted Boundary--",
                FramingError::Closing,
            ),
            ("--Encrypted Boundary--\r\n", "", FramingError::Closing),
            ("Length=4", "Length=5", FramingError::Closing),
            ("Length=4", "Length=400", FramingError::Length),
            ("Length=4", "Length=four", FramingError::Header),
            (
                "octet-stream\r\n",
                "octet-stream\r\n\r\n",
                FramingError::Signature,
            ),
            ("\x10\0\0\0", "\x11\0\0\0", FramingError::Signature),
            ("SPNEGO-session", "Kerberos-session", FramingError::Header),
        ];
        for (from, to, expected) in table {
            assert_eq!(
                unframe(&content_type(), &replaced(from, to)).err(),
                Some(expected),
                "{from:?} to {to:?}"
            );
        }
        let body = frame(&[7; 16], b"data");
        assert_eq!(
            unframe("multipart/encrypted", &body).err(),
            Some(FramingError::ContentType)
        );
        for end in 0..body.len() - 2 {
            assert!(unframe(&content_type(), &body[..end]).is_err(), "{end}");
        }
    }
}

//! Sealed bodies.

use crate::ntlm::seal::Sealer;
use crate::sealed::{UnsealError, unwrap, wrap};

const KEY: [u8; 16] = [0x55; 16];
const TEXT: &str = "<s:Envelope/>";

/// Reads `data` as a sealed answer, as head lines around a true one, and as the text of one.
///
/// # Panics
/// When anything but what the other side sealed comes out.
pub fn sealed(data: &[u8]) {
    if let Ok(plain) = unwrap(&mut Sealer::client(&KEY), data) {
        assert!(plain.len() < data.len());
    }
    around(data);
    changed(data);
    round_trip(data);
}

/// Foreign head lines may stand before a true body, but never change what it says.
fn around(head: &[u8]) {
    let frame = wrap(&mut Sealer::server(&KEY), TEXT);
    let (first, rest) = frame.split_at(b"--Encrypted Boundary\r\n".len());
    let spelt = [first, head, rest].concat();
    match unwrap(&mut Sealer::client(&KEY), &spelt) {
        Ok(plain) => assert_eq!(plain, TEXT.as_bytes()),
        Err(UnsealError::Framing | UnsealError::Signature) => {}
    }
}

/// One changed byte of the sealed part, or of its signature, is noticed.
fn changed(data: &[u8]) {
    let [at, mask, ..] = *data else { return };
    let mut frame = wrap(&mut Sealer::server(&KEY), TEXT);
    // From the signature to the last byte before the closing boundary.
    let begin = frame.len() - b"--Encrypted Boundary--\r\n".len() - TEXT.len() - 16;
    let at = begin + usize::from(at) % (TEXT.len() + 16);
    frame[at] ^= mask;
    let read = unwrap(&mut Sealer::client(&KEY), &frame);
    if mask == 0 {
        assert_eq!(read, Ok(TEXT.into()));
    } else {
        assert_eq!(read, Err(UnsealError::Signature));
    }
}

/// Several messages one after the other: the key stream and the count go on.
fn round_trip(data: &[u8]) {
    let (mut host, mut client) = (Sealer::server(&KEY), Sealer::client(&KEY));
    let mut last = None;
    for part in data.chunks(1 + data.len() / 3) {
        let text = String::from_utf8_lossy(part);
        let frame = wrap(&mut host, &text);
        assert_eq!(unwrap(&mut client, &frame), Ok(text.as_bytes().to_vec()));
        last = Some(frame);
    }
    if let Some(frame) = last {
        assert_eq!(
            unwrap(&mut client, &frame),
            Err(UnsealError::Signature),
            "said twice"
        );
    }
}

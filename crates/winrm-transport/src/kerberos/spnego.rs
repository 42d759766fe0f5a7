//! SPNEGO with Kerberos as the only mechanism.
//!
//! With one mechanism offered there is nothing to downgrade to, and neither side has to sign the offer (RFC 4178
//! section 5): a host that chooses another is refused.

use crate::ntlm::der::{Reader, wrap};

use super::read::MECHANISMS;

const SEQUENCE: u8 = 0x30;
const OID: u8 = 0x06;
const OCTETS: u8 = 0x04;
const SPNEGO_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];

/// The first token.
pub(super) fn init(kerberos: &[u8]) -> Vec<u8> {
    let mut fields = wrap(0xa0, &wrap(SEQUENCE, &wrap(OID, MECHANISMS[0])));
    fields.extend(wrap(0xa2, &wrap(OCTETS, kerberos)));
    let mut token = wrap(OID, SPNEGO_OID);
    token.extend(wrap(0xa0, &wrap(SEQUENCE, &fields)));
    wrap(0x60, &token)
}

/// A host's answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// With the Kerberos token inside, or a bare one.
    Token(&'a [u8]),
    /// Rejected, or another mechanism chosen, perhaps with a Kerberos error that says why.
    Declined(Option<&'a [u8]>),
    Malformed,
}

/// Reads a NegTokenResp. A bare Kerberos token is accepted as it is.
pub(super) fn parse(bytes: &[u8]) -> Answer<'_> {
    if bytes.first() == Some(&0x60) {
        return Answer::Token(bytes);
    }
    let body = Reader::new(bytes).expect(0xa1);
    let Some(fields) = body.and_then(|body| Reader::new(body).expect(SEQUENCE)) else {
        return Answer::Malformed;
    };
    let mut fields = Reader::new(fields);
    let (mut token, mut declined) = (None, false);
    while let Some((tag, content)) = fields.next() {
        let mut value = Reader::new(content);
        match tag {
            // Rejected, or a signature wanted: there is no offer to sign.
            0xa0 => declined |= matches!(value.expect(0x0a), Some([2 | 3])),
            0xa1 => declined |= !value.expect(OID).is_some_and(|oid| MECHANISMS.contains(&oid)),
            0xa2 => token = value.expect(OCTETS),
            _ => {}
        }
    }
    match token {
        token if declined => Answer::Declined(token),
        Some(token) => Answer::Token(token),
        None => Answer::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(fields: &[Vec<u8>]) -> Vec<u8> {
        wrap(0xa1, &wrap(SEQUENCE, &fields.concat()))
    }

    #[test]
    fn only_kerberos_is_an_answer() {
        let state = |n| wrap(0xa0, &wrap(0x0a, &[n]));
        let mechanism = |oid| wrap(0xa1, &wrap(OID, oid));
        let token = wrap(0xa2, &wrap(OCTETS, b"token"));
        for oid in MECHANISMS {
            let bytes = answer(&[state(0), mechanism(oid), token.clone()]);
            assert_eq!(parse(&bytes), Answer::Token(b"token"));
        }
        let ntlm = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a];
        assert_eq!(
            parse(&answer(&[state(1), mechanism(ntlm), token.clone()])),
            Answer::Declined(Some(b"token"))
        );
        assert_eq!(parse(&answer(&[state(2)])), Answer::Declined(None));
        assert_eq!(
            parse(&answer(&[state(3), token])),
            Answer::Declined(Some(b"token"))
        );
        assert_eq!(parse(&answer(&[state(0)])), Answer::Malformed);
        assert_eq!(parse(b"\x60\x01x"), Answer::Token(b"\x60\x01x"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&answer(&[bytes]));
        }
    }
}

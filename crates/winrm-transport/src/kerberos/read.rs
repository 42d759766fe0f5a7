//! The parts of Kerberos messages that are judged here, cut out of their DER.
//!
//! Nearly everything is a slice of the message: nothing is allocated by what a length says.
//! Source: RFC 4120 section 5 and appendix A.

use std::time::Duration;

use crate::ntlm::der::Reader;

use super::times;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const GENERAL_STRING: u8 = 0x1b;
pub(super) const SEQUENCE: u8 = 0x30;

pub(super) const AS_REQ: u8 = 0x6a;
pub(super) const AS_REP: u8 = 0x6b;
pub(super) const TGS_REQ: u8 = 0x6c;
pub(super) const TGS_REP: u8 = 0x6d;
pub(super) const AP_REQ: u8 = 0x6e;
const AP_REP: u8 = 0x6f;
const KRB_ERROR: u8 = 0x7e;

/// The object identifiers of Kerberos: the proper one, and the one with a wrong bit that Windows also says.
pub(super) const MECHANISMS: [&[u8]; 2] = [
    &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02],
    &[0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 0x01, 0x02, 0x02],
];

/// Kind of pre-authentication data that names cipher and salt. Source: RFC 4120 section 5.2.7.5.
const ETYPE_INFO2: u32 = 19;

/// The content of a message of this kind: its sequence of fields.
pub(super) fn message(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    Reader::new(Reader::new(bytes).expect(tag)?).expect(SEQUENCE)
}

/// The tag of a whole message.
pub(super) fn kind(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

/// The field `[number]` of a sequence.
fn field(sequence: &[u8], number: u8) -> Option<&[u8]> {
    let mut fields = Reader::new(sequence);
    while let Some((tag, content)) = fields.next() {
        if tag == 0xa0 | number {
            return Some(content);
        }
    }
    None
}

fn sequence(sequence: &[u8], number: u8) -> Option<&[u8]> {
    Reader::new(field(sequence, number)?).expect(SEQUENCE)
}

/// An unsigned number of up to 32 bits; what does not fit is none. Leading zeros are as good as none.
fn number(sequence: &[u8], at: u8) -> Option<u32> {
    let digits = Reader::new(field(sequence, at)?).expect(INTEGER)?;
    let significant = &digits[digits.iter().take_while(|digit| **digit == 0).count()..];
    (significant.len() <= 4).then(|| {
        significant
            .iter()
            .fold(0, |sum, digit| sum << 8 | u32::from(*digit))
    })
}

fn string(sequence: &[u8], at: u8) -> Option<&[u8]> {
    Reader::new(field(sequence, at)?).expect(GENERAL_STRING)
}

/// Cipher and cipher text of an EncryptedData.
fn encrypted(fields: &[u8], at: u8) -> Option<(u32, &[u8])> {
    let inner = sequence(fields, at)?;
    Some((number(inner, 0)?, Reader::new(field(inner, 2)?).expect(OCTETS)?))
}

/// Cipher and bytes of an EncryptionKey.
fn key(fields: &[u8], at: u8) -> Option<(u32, &[u8])> {
    let inner = sequence(fields, at)?;
    Some((number(inner, 0)?, Reader::new(field(inner, 1)?).expect(OCTETS)?))
}

/// A moment, in seconds since 1970.
fn moment(fields: &[u8], at: u8) -> Option<u64> {
    times::seconds(Reader::new(field(fields, at)?).expect(GENERALIZED_TIME)?)
}

/// The components of a PrincipalName; four are more than any has here.
fn principal(fields: &[u8], at: u8) -> Option<Vec<&[u8]>> {
    let mut names = Reader::new(sequence(sequence(fields, at)?, 1)?);
    let mut found = Vec::with_capacity(2);
    while let Some((tag, name)) = names.next() {
        if tag != GENERAL_STRING || found.len() == 4 {
            return None;
        }
        found.push(name);
    }
    Some(found)
}

/// What was asked of the KDC.
pub(super) struct Asked<'a> {
    pub(super) nonce: u32,
    pub(super) realm: &'a [u8],
    pub(super) service: Vec<&'a [u8]>,
}

impl<'a> Asked<'a> {
    pub(super) fn parse(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let body = sequence(message(bytes, tag)?, 4)?;
        Some(Self {
            nonce: number(body, 7)?,
            realm: string(body, 2)?,
            service: principal(body, 3)?,
        })
    }
}

/// The KDC's answer, as far as everybody can read it.
pub(super) struct Given<'a> {
    pub(super) client_realm: &'a [u8],
    pub(super) client: Vec<&'a [u8]>,
    /// Salt for the password, when said.
    pub(super) salt: Option<&'a [u8]>,
    /// The client's name as a whole, to be said to the service.
    pub(super) client_name: &'a [u8],
    /// The ticket as a whole.
    pub(super) ticket: &'a [u8],
    /// The service the ticket claims to be for.
    pub(super) ticket_service: Vec<&'a [u8]>,
    pub(super) sealed: (u32, &'a [u8]),
}

impl<'a> Given<'a> {
    pub(super) fn parse(bytes: &'a [u8], tag: u8) -> Option<Self> {
        let fields = message(bytes, tag)?;
        Some(Self {
            client_realm: string(fields, 3)?,
            client: principal(fields, 4)?,
            client_name: field(fields, 4)?,
            ticket: field(fields, 5)?,
            salt: sequence(fields, 2).and_then(salt),
            ticket_service: principal(message(field(fields, 5)?, 0x61)?, 2)?,
            sealed: encrypted(fields, 6)?,
        })
    }
}

/// The salt among pre-authentication data.
fn salt(padata: &[u8]) -> Option<&[u8]> {
    let mut entries = Reader::new(padata);
    while let Some((tag, entry)) = entries.next() {
        if tag == SEQUENCE && number(entry, 1) == Some(ETYPE_INFO2) {
            let info = Reader::new(field(entry, 2)?).expect(OCTETS)?;
            let first = Reader::new(Reader::new(info).expect(SEQUENCE)?).expect(SEQUENCE)?;
            return string(first, 1);
        }
    }
    None
}

/// What only the client and the KDC can read.
pub(super) struct Secret<'a> {
    pub(super) key: (u32, &'a [u8]),
    pub(super) nonce: u32,
    pub(super) realm: &'a [u8],
    pub(super) service: Vec<&'a [u8]>,
    /// From start to end, both by the clock of the KDC.
    pub(super) life: Option<Duration>,
}

impl<'a> Secret<'a> {
    /// Both tags are accepted for both answers, as RFC 4120 section 5.4.2 allows and MIT needs.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let fields = message(bytes, 0x79).or_else(|| message(bytes, 0x7a))?;
        Some(Self {
            key: key(fields, 0)?,
            nonce: number(fields, 2)?,
            realm: string(fields, 9)?,
            service: principal(fields, 10)?,
            life: life(fields),
        })
    }
}

/// Without a start, a ticket is good from the moment its owner logged in.
fn life(fields: &[u8]) -> Option<Duration> {
    let start = moment(fields, 6).or_else(|| moment(fields, 5))?;
    moment(fields, 7)?.checked_sub(start).map(Duration::from_secs)
}

/// An error of the KDC or the host.
pub(super) struct Complaint<'a> {
    pub(super) code: u32,
    /// Salt for the password, when the error only asks for pre-authentication.
    pub(super) salt: Option<&'a [u8]>,
}

impl<'a> Complaint<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let fields = message(bytes, KRB_ERROR)?;
        let data = field(fields, 12).and_then(|data| Reader::new(data).expect(OCTETS));
        Some(Self {
            code: number(fields, 6)?,
            salt: data
                .and_then(|data| Reader::new(data).expect(SEQUENCE))
                .and_then(salt),
        })
    }
}

/// Moment and sequence number, as either side of the last exchange says them, and the key to go on with.
pub(super) struct Proof<'a> {
    pub(super) time: &'a [u8],
    pub(super) micros: u32,
    pub(super) key: Option<(u32, &'a [u8])>,
    pub(super) sequence: Option<u32>,
}

impl<'a> Proof<'a> {
    /// What we say of ourselves in the token.
    pub(super) fn of_client(bytes: &'a [u8]) -> Option<Self> {
        let fields = message(bytes, 0x62)?;
        Some(Self {
            time: Reader::new(field(fields, 5)?).expect(GENERALIZED_TIME)?,
            micros: number(fields, 4)?,
            key: key(fields, 6),
            sequence: number(fields, 7),
        })
    }

    /// What the host answers.
    pub(super) fn of_host(bytes: &'a [u8]) -> Option<Self> {
        let fields = message(bytes, 0x7b)?;
        Some(Self {
            time: Reader::new(field(fields, 0)?).expect(GENERALIZED_TIME)?,
            micros: number(fields, 1)?,
            key: key(fields, 2),
            sequence: number(fields, 3),
        })
    }
}

/// The channel binding in the checksum of an authenticator, which says what it binds to. Source: RFC 4121 4.1.1.
pub(super) fn binding(authenticator: &[u8]) -> Option<&[u8]> {
    let checksum = sequence(message(authenticator, 0x62)?, 3)?;
    let value = Reader::new(field(checksum, 1)?).expect(OCTETS)?;
    (number(checksum, 0) == Some(0x8003) && value.starts_with(&[16, 0, 0, 0])).then_some(())?;
    value.get(4..20)
}

/// What a token carries. Source: RFC 4121 section 4.1.
pub(super) enum Token<'a> {
    /// From us: the sealed authenticator.
    Request((u32, &'a [u8])),
    /// From the host: its sealed proof.
    Reply((u32, &'a [u8])),
    /// From the host: why not.
    Error(Complaint<'a>),
}

impl<'a> Token<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let framed = Reader::new(bytes).expect(0x60)?;
        let mechanism = Reader::new(framed).expect(OID)?;
        // What follows the identifier is not DER: two bytes of token kind, then the message.
        let rest = framed.get(2 + mechanism.len()..)?;
        MECHANISMS.contains(&mechanism).then_some(())?;
        let (kind, inner) = rest.split_at_checked(2)?;
        match kind {
            [1, 0] => encrypted(message(inner, AP_REQ)?, 4).map(Self::Request),
            [2, 0] => encrypted(message(inner, AP_REP)?, 2).map(Self::Reply),
            [3, 0] => Complaint::parse(inner).map(Self::Error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), tag in any::<u8>()) {
            let framed = crate::ntlm::der::wrap(tag, &crate::ntlm::der::wrap(SEQUENCE, &bytes));
            for bytes in [&bytes, &framed] {
                let _ = Asked::parse(bytes, tag);
                let _ = Given::parse(bytes, tag);
                let _ = Secret::parse(bytes);
                let _ = Complaint::parse(bytes);
                let _ = Proof::of_host(bytes);
                let _ = Token::parse(bytes);
            }
        }
    }
}

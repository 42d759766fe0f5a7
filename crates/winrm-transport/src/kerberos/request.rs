//! The token for the host, made of a ticket that was kept.
//!
//! Source: RFC 4120 section 5.5.1 (AP-REQ and authenticator), RFC 4121 section 4.1.1 (its checksum).

use std::time::Duration;

use crate::ntlm::der::wrap;

use super::crypto::usage;
use super::kept::Ticket;
use super::read::{AP_REQ, GENERAL_STRING, GENERALIZED_TIME, INTEGER, MECHANISMS, OCTETS, OID, SEQUENCE};
use super::times;

const BIT_STRING: u8 = 0x03;
const AUTHENTICATOR: u8 = 0x62;
/// The host is to prove itself: bit 2.
const MUTUAL_REQUIRED: &[u8] = &[0, 0x20, 0, 0, 0];
/// Kind of checksum that carries flags and channel binding.
const GSS_CHECKSUM: u32 = 0x8003;
/// Mutual authentication, replay and sequence detection, confidentiality, integrity.
const FLAGS: u32 = 0x02 | 0x04 | 0x08 | 0x10 | 0x20;

/// A token with a fresh key and sequence number, bound to no channel. `None` without randomness.
pub(super) fn token(ticket: &Ticket) -> Option<Vec<u8>> {
    let sealed = ticket
        .key
        .encrypt(usage::AUTHENTICATOR, &authenticator(ticket, now()))?;
    let encrypted = sequence(&[field(0, int(ticket.key.etype())), field(2, wrap(OCTETS, &sealed))]);
    let request = sequence(&[
        field(0, int(5)),
        field(1, int(14)),
        field(2, wrap(BIT_STRING, MUTUAL_REQUIRED)),
        field(3, ticket.sealed.clone()),
        field(4, encrypted),
    ]);
    let framed = [wrap(OID, MECHANISMS[0]), vec![1, 0], wrap(AP_REQ, &request)];
    Some(wrap(0x60, &framed.concat()))
}

fn authenticator(ticket: &Ticket, now: Duration) -> Vec<u8> {
    let no_channel = [&16_u32.to_le_bytes()[..], &[0; 16], &FLAGS.to_le_bytes()].concat();
    let checksum = sequence(&[field(0, int(GSS_CHECKSUM)), field(1, wrap(OCTETS, &no_channel))]);
    let fresh: [u8; 32] = rand::random();
    let fresh = &fresh[..ticket.key.len().min(32)];
    let key = sequence(&[field(0, int(ticket.key.etype())), field(1, wrap(OCTETS, fresh))]);
    // Some take the number for a signed one, and it has to grow.
    let first = rand::random::<u32>() & 0x3fff_ffff;
    let fields = [
        field(0, int(5)),
        field(1, wrap(GENERAL_STRING, &ticket.realm)),
        field(2, ticket.client.clone()),
        field(3, checksum),
        field(4, int(now.subsec_micros())),
        field(5, wrap(GENERALIZED_TIME, times::text(now.as_secs()).as_bytes())),
        field(6, key),
        field(7, int(first)),
    ];
    wrap(AUTHENTICATOR, &sequence(&fields))
}

#[expect(
    clippy::disallowed_methods,
    reason = "the host compares the wall clock with its own; nothing is stored or decided by it"
)]
fn now() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}

fn field(number: u8, content: Vec<u8>) -> Vec<u8> {
    wrap(0xa0 | number, &content)
}

fn sequence(fields: &[Vec<u8>]) -> Vec<u8> {
    wrap(SEQUENCE, &fields.concat())
}

fn int(number: u32) -> Vec<u8> {
    let bytes = number.to_be_bytes();
    let leading = bytes.iter().take(3).take_while(|byte| **byte == 0).count();
    let digits = &bytes[leading..];
    // A first bit of one would be a sign.
    let sign: &[u8] = if digits[0] & 0x80 == 0 { &[] } else { &[0] };
    wrap(INTEGER, &[sign, digits].concat())
}

#[cfg(test)]
mod tests {
    use super::super::crypto::Key;
    use super::super::read::{self, Proof, Token};
    use super::*;

    #[test]
    fn what_is_made_is_read_again_with_the_key_of_the_ticket() {
        for (etype, length) in [(17, 16), (18, 32)] {
            let key = Key::new(etype, &vec![7; length]).unwrap();
            let ticket = Ticket {
                sealed: wrap(0x61, b"ticket"),
                realm: b"LAB.TEST".to_vec(),
                client: wrap(SEQUENCE, b"client"),
                key: key.clone(),
            };
            let made = token(&ticket).unwrap();
            let Some(Token::Request((used, sealed))) = Token::parse(&made) else {
                panic!("no request")
            };
            let opened = key.decrypt(usage::AUTHENTICATOR, sealed).unwrap();
            let proof = Proof::of_client(&opened).unwrap();
            let (proof_etype, fresh) = proof.key.unwrap();
            assert_eq!(
                (used, proof_etype, fresh.len(), proof.time.len()),
                (etype, etype, length, 15)
            );
            assert!(proof.sequence.is_some() && proof.micros < 1_000_000);
            assert_eq!(read::binding(&opened), Some(&[0; 16][..]));
            let again = token(&ticket).unwrap();
            assert_ne!(made, again, "every token has a key of its own");
        }
    }

    #[test]
    fn numbers_are_as_short_as_they_can_be_and_never_negative() {
        for (number, expected) in [
            (0, &[2, 1, 0][..]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (0x8003, &[2, 3, 0, 0x80, 3]),
            (u32::MAX, &[2, 5, 0, 255, 255, 255, 255]),
        ] {
            assert_eq!(int(number), expected);
        }
    }
}

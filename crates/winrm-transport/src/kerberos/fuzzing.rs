//! What must hold for any bytes that a KDC or a host may send in the name of Kerberos.
//!
//! Part of [`crate::fuzzing`], which says how it is used; here because the decoders are private to this module.

pub(super) mod build;

use std::sync::LazyLock;

use crate::fuzzing::within;
use crate::ntlm::der::wrap;
use crate::sealed::Protection as _;

use self::build::{
    MOMENT, OCTETS, SERVICE, at, encrypted, key_of, login, octets, ours, reply_around, request, seq, token,
};
use super::crypto::usage;
use super::read::{self, Asked, Complaint, Given, Proof, Secret, Token};
use super::spnego::{self, Answer};
use super::witness::Witness;
use super::wrap::Wrapper;

/// Flags of a host's wrap token: from the acceptor, sealed, with the acceptor's key. Source: RFC 4121 4.2.2.
const FLAGS: u8 = 7;
const HEAD: usize = 16;
/// Our own token, made once: sealing is most of what an input costs here.
static OURS: LazyLock<Vec<u8>> = LazyLock::new(ours);

/// Reads `data` as every message of a KDC and of a host, as what is sealed in one, and as a sealed body.
///
/// # Panics
/// When anything is believed that was not sealed with the right key for this very request, or parts do not lie
/// within the message.
pub fn kerberos(data: &[u8]) {
    messages(data);
    frames(data);
    proof(data);
    ticket(data);
    unsealed(data);
    round_trip(data);
}

/// The parsers, bare and below a frame that fits.
fn messages(data: &[u8]) {
    for tag in [read::AS_REP, read::TGS_REP, 0x62, 0x79, 0x7b, 0x7e] {
        let framed = wrap(tag, &wrap(0x30, data));
        for bytes in [data, &framed] {
            let _ = Asked::parse(bytes, tag);
            if let Some(given) = Given::parse(bytes, tag) {
                assert!(within(given.sealed.1, bytes) && within(given.client_realm, bytes));
                assert!(given.client.len() <= 4 && given.ticket_service.len() <= 4);
            }
            if let Some(secret) = Secret::parse(bytes) {
                assert!(within(secret.key.1, bytes) && secret.service.len() <= 4);
            }
            if let Some(salt) = Complaint::parse(bytes).and_then(|complaint| complaint.salt) {
                assert!(within(salt, bytes));
            }
            for proof in [Proof::of_client(bytes), Proof::of_host(bytes)]
                .into_iter()
                .flatten()
            {
                assert!(within(proof.time, bytes));
            }
        }
    }
}

/// SPNEGO around a token, and the frame of the token itself.
fn frames(data: &[u8]) {
    match spnego::parse(data) {
        Answer::Token(part) | Answer::Declined(Some(part)) => assert!(within(part, data)),
        Answer::Declined(None) | Answer::Malformed => {}
    }
    let answer = |state: u8| {
        let state = at(0, wrap(0x0a, &[state]));
        wrap(0xa1, &seq(&[state, at(2, octets(data))]))
    };
    assert_eq!(spnego::parse(&answer(0)), Answer::Token(data));
    assert_eq!(spnego::parse(&answer(2)), Answer::Declined(Some(data)));
    let first = spnego::init(data);
    assert!(first.ends_with(&wrap(OCTETS, data)));
    for bytes in [
        data,
        &token([1, 0], data),
        &token([2, 0], data),
        &token([3, 0], data),
    ] {
        if let Some(Token::Request((_, sealed)) | Token::Reply((_, sealed))) = Token::parse(bytes) {
            assert!(within(sealed, bytes));
            let login = login();
            let believed = Witness::after_kdc(&login, SERVICE, key_of(2)).finish(&OURS, bytes);
            assert!(believed.is_err(), "a proof without the key");
        }
    }
}

/// Whatever a host seals with the right key: its proof must be for our moment.
fn proof(data: &[u8]) {
    let sealed = encrypted(&key_of(2), usage::AP_REP, data);
    let theirs = token([2, 0], &wrap(0x6f, &seq(&[at(2, sealed)])));
    let login = login();
    if Witness::after_kdc(&login, SERVICE, key_of(2))
        .finish(&OURS, &theirs)
        .is_ok()
    {
        let proof = Proof::of_host(data).expect("what was believed is a proof");
        assert_eq!((proof.time, proof.micros), (MOMENT, 5));
        assert!(proof.sequence.is_some());
    }
}

/// Whatever a KDC seals with the right key: it must be the answer to our question.
fn ticket(data: &[u8]) {
    let login = login();
    let asked = request(read::TGS_REQ, SERVICE, 8);
    let judge = |reply: &[u8]| Witness::after_kdc(&login, SERVICE, key_of(1)).judge(&asked, reply);
    assert!(judge(data).is_err(), "a ticket without the key");
    let reply = reply_around(read::TGS_REP, SERVICE, &key_of(1), usage::TGS_REP, data);
    if judge(&reply).is_ok() {
        let secret = Secret::parse(data).expect("what was believed is an answer");
        assert_eq!(secret.nonce, 8);
        assert_eq!(
            secret.service.join(&b'/').to_ascii_lowercase(),
            SERVICE.to_ascii_lowercase().as_bytes()
        );
    }
}

/// No bytes make a sealed body without the key, however they are divided.
fn unsealed(data: &[u8]) {
    for at in [0, HEAD, data.len() / 2] {
        let Some((header, body)) = data.split_at_checked(at) else {
            continue;
        };
        assert!(client().unseal_body(header, body).is_err());
    }
    let mut head = vec![5, 4, FLAGS, 0xff];
    head.extend(data.iter().take(4));
    head.resize(8, 0);
    head.extend(70_u64.to_be_bytes());
    assert!(client().unseal_body(&head, data).is_err());
}

/// What the host seals comes out, with any rotation and filler; once, in order, unchanged.
fn round_trip(data: &[u8]) {
    let Some((&[filler, high, low, at, mask], plain)) = data.split_first_chunk() else {
        return;
    };
    let mut client = client();
    let next = from_host(71, 0, 28, plain);
    assert!(client.unseal_body(&next, b"").is_err(), "one is missing");
    let token = from_host(70, filler % 64, u16::from_be_bytes([high, low]), plain);
    let mut changed = token.clone();
    let at = usize::from(at) % token.len();
    changed[at] ^= mask;
    // The rotation itself is not protected: another one may mean the same, but never something else.
    if mask != 0 && !(6..8).contains(&at) {
        assert!(client.unseal_body(&changed, b"").is_err(), "byte {at}");
    }
    let (header, body) = token.split_at(token.len().min(60));
    assert_eq!(client.unseal_body(header, body), Ok(plain.to_vec()));
    assert!(client.unseal_body(header, body).is_err(), "said twice");
    assert_eq!(client.unseal_body(&next, b""), Ok(plain.to_vec()));
}

fn client() -> Wrapper {
    Wrapper::new(key_of(9), true, 5, 70)
}

/// As a host seals.
fn from_host(number: u64, filler: u8, rotation: u16, plain: &[u8]) -> Vec<u8> {
    let mut head = vec![5, 4, FLAGS, 0xff, 0, filler, 0, 0];
    head.extend(number.to_be_bytes());
    let message = [plain, &vec![0; usize::from(filler)], &head].concat();
    let mut body = key_of(9)
        .encrypt(usage::ACCEPTOR_SEAL, &message)
        .expect("there is randomness");
    let turn = usize::from(rotation) % body.len();
    body.rotate_right(turn);
    head[6..8].copy_from_slice(&rotation.to_be_bytes());
    [head, body].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    #[test]
    fn every_file_of_the_corpus_keeps_the_promises() {
        crate::fuzzing::replay("kerberos", super::kerberos);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_keep_the_promises(data in prop::collection::vec(any::<u8>(), 0..400)) {
            super::kerberos(&data);
        }
    }
}

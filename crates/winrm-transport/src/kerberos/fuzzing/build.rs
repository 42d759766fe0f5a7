//! The other side's messages, built by hand.

use crate::account::Account;
use crate::kerberos::crypto::{Key, usage};
use crate::kerberos::read;
use crate::kerberos::settings::{KerberosSettings, Login};
use crate::ntlm::der::wrap;

const SEQUENCE: u8 = 0x30;
pub(in crate::kerberos) const OCTETS: u8 = 0x04;
#[cfg(test)]
pub(in crate::kerberos) const PASSWORD: &str = "S3cret!pass";
pub(in crate::kerberos) const SERVICE: &str = "HTTP/host.lab.test";
#[cfg(test)]
pub(in crate::kerberos) const SALT: &str = "LAB.TESTalice";

pub(in crate::kerberos) fn login() -> Login {
    let account = Account::parse("alice@lab.test", "not a real password".to_owned().into());
    account
        .and_then(|account| KerberosSettings::default().login(&account))
        .expect("a name with its realm")
}

pub(in crate::kerberos) fn seq(fields: &[Vec<u8>]) -> Vec<u8> {
    wrap(SEQUENCE, &fields.concat())
}

pub(in crate::kerberos) fn at(number: u8, content: Vec<u8>) -> Vec<u8> {
    wrap(0xa0 | number, &content)
}

pub(in crate::kerberos) fn int(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    wrap(0x02, &[&[0][..], &bytes].concat())
}

pub(in crate::kerberos) fn string(text: &str) -> Vec<u8> {
    wrap(0x1b, text.as_bytes())
}

pub(in crate::kerberos) fn octets(bytes: &[u8]) -> Vec<u8> {
    wrap(OCTETS, bytes)
}

pub(in crate::kerberos) fn name(text: &str) -> Vec<u8> {
    let parts: Vec<_> = text.split('/').map(string).collect();
    seq(&[at(0, int(2)), at(1, seq(&parts))])
}

pub(in crate::kerberos) fn encrypted(key: &Key, usage: i32, plain: &[u8]) -> Vec<u8> {
    seq(&[
        at(0, int(18)),
        at(
            2,
            octets(
                &key.encrypt(usage, plain)
                    .expect("keys of the right length, and randomness"),
            ),
        ),
    ])
}

pub(in crate::kerberos) fn key_of(byte: u8) -> Key {
    Key::new(18, &[byte; 32]).expect("keys of the right length, and randomness")
}

pub(in crate::kerberos) fn key(byte: u8) -> Vec<u8> {
    seq(&[at(0, int(18)), at(1, octets(&[byte; 32]))])
}

pub(in crate::kerberos) fn request(tag: u8, service: &str, nonce: u32) -> Vec<u8> {
    let body = seq(&[at(2, string("LAB.TEST")), at(3, name(service)), at(7, int(nonce))]);
    wrap(tag, &seq(&[at(1, int(5)), at(4, body)]))
}

pub(in crate::kerberos) const MOMENT: &[u8] = b"20260101120000Z";

pub(in crate::kerberos) fn token(kind: [u8; 2], message: &[u8]) -> Vec<u8> {
    let framed = [&wrap(0x06, read::MECHANISMS[0])[..], &kind, message].concat();
    wrap(0x60, &framed)
}

pub(in crate::kerberos) fn ours() -> Vec<u8> {
    let mut checksum = vec![16, 0, 0, 0];
    checksum.extend([0; 20]);
    let authenticator = seq(&[
        at(3, seq(&[at(0, int(0x8003)), at(1, octets(&checksum))])),
        at(4, int(5)),
        at(5, wrap(0x18, MOMENT)),
        at(6, key(3)),
        at(7, int(40)),
    ]);
    let sealed = encrypted(&key_of(2), usage::AUTHENTICATOR, &wrap(0x62, &authenticator));
    token([1, 0], &wrap(0x6e, &seq(&[at(4, sealed)])))
}

/// An answer of the KDC with any secret part.
pub(in crate::kerberos) fn reply_around(
    tag: u8,
    ticket: &str,
    with: &Key,
    usage: i32,
    secret: &[u8],
) -> Vec<u8> {
    let ticket = wrap(0x61, &seq(&[at(1, string("LAB.TEST")), at(2, name(ticket))]));
    wrap(
        tag,
        &seq(&[
            at(3, string("LAB.TEST")),
            at(4, name("alice")),
            at(5, ticket),
            at(6, encrypted(with, usage, secret)),
        ]),
    )
}

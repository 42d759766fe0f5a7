//! With a KDC and a host of our own making: every rule broken once.

use super::*;
use crate::kerberos::fuzzing::build::{
    MOMENT, PASSWORD, SALT, SERVICE, at, encrypted, int, key, key_of, login, name, ours, reply_around,
    request, seq, string, token,
};
use crate::ntlm::der::wrap;

/// What a KDC says; each field is one that a liar may change.
#[derive(Clone, Copy)]
struct Says<'a> {
    nonce: u32,
    service: &'a str,
    ticket: &'a str,
    realm: &'a str,
    key: u8,
}

const TGT: Says<'static> = Says {
    nonce: 7,
    service: "krbtgt/LAB.TEST",
    ticket: "krbtgt/LAB.TEST",
    realm: "LAB.TEST",
    key: 1,
};
const TICKET: Says<'static> = Says {
    nonce: 8,
    service: SERVICE,
    ticket: SERVICE,
    key: 2,
    ..TGT
};

fn reply(tag: u8, says: Says<'_>, with: &Key, usage: i32) -> Vec<u8> {
    let secret = seq(&[
        at(0, key(says.key)),
        at(2, int(says.nonce)),
        at(9, string(says.realm)),
        at(10, name(says.service)),
    ]);
    reply_around(tag, says.ticket, with, usage, &wrap(0x7a, &secret))
}

fn as_reply(says: Says<'_>) -> Vec<u8> {
    let long_term = Key::from_password(18, PASSWORD, SALT.as_bytes()).unwrap();
    reply(read::AS_REP, says, &long_term, usage::AS_REP)
}

fn witness(login: &Login) -> Witness<'_> {
    Witness::new(login, PASSWORD, SERVICE)
}

fn with_tgt(login: &Login) -> Witness<'_> {
    let mut witness = witness(login);
    witness
        .judge(&request(read::AS_REQ, "krbtgt/LAB.TEST", 7), &as_reply(TGT))
        .unwrap();
    witness
}

fn with_ticket(login: &Login) -> Witness<'_> {
    let mut witness = with_tgt(login);
    let answer = reply(read::TGS_REP, TICKET, &key_of(1), usage::TGS_REP);
    witness
        .judge(&request(read::TGS_REQ, SERVICE, 8), &answer)
        .unwrap();
    witness
}

#[test]
fn the_first_answer_must_belong_to_the_request() {
    let login = login();
    let asked = request(read::AS_REQ, "krbtgt/LAB.TEST", 7);
    for lie in [
        Says { nonce: 6, ..TGT },
        Says {
            service: "krbtgt/EVIL.TEST",
            ..TGT
        },
        Says {
            realm: "EVIL.TEST",
            ..TGT
        },
    ] {
        let error = witness(&login).judge(&asked, &as_reply(lie)).unwrap_err();
        assert!(error.to_string().contains("does not belong"), "{error}");
    }
    let sealed_by_another = reply(read::AS_REP, TGT, &key_of(9), usage::AS_REP);
    assert!(witness(&login).judge(&asked, &sealed_by_another).is_err());
}

#[test]
fn the_ticket_must_be_for_the_service_that_was_asked_for() {
    let login = login();
    let asked = request(read::TGS_REQ, SERVICE, 8);
    for (lie, taken) in [
        (TICKET, true),
        (Says { nonce: 7, ..TICKET }, false),
        (
            Says {
                service: "HTTP/evil.lab.test",
                ..TICKET
            },
            false,
        ),
        (
            Says {
                service: "HTTP/evil.lab.test",
                ticket: "HTTP/evil.lab.test",
                ..TICKET
            },
            false,
        ),
        // The name in front of the ticket would lead the library to another realm.
        (
            Says {
                ticket: "krbtgt/EVIL.TEST",
                ..TICKET
            },
            false,
        ),
        (
            Says {
                service: "krbtgt/NEXT.TEST",
                ticket: "krbtgt/NEXT.TEST",
                ..TICKET
            },
            true,
        ),
        (
            Says {
                service: "krbtgt/LAB.TEST",
                ticket: "krbtgt/LAB.TEST",
                ..TICKET
            },
            false,
        ),
    ] {
        let answer = reply(read::TGS_REP, lie, &key_of(1), usage::TGS_REP);
        let result = with_tgt(&login).judge(&asked, &answer);
        assert_eq!(result.is_ok(), taken, "{} {}", lie.service, lie.ticket);
    }
}

#[test]
fn preauthentication_is_asked_for_once_only() {
    let login = login();
    let mut witness = witness(&login);
    let asked = request(read::AS_REQ, "krbtgt/LAB.TEST", 7);
    let wanted = wrap(0x7e, &seq(&[at(6, int(25))]));
    witness.judge(&asked, &wanted).unwrap();
    assert!(witness.judge(&asked, &wanted).is_err());
}

fn theirs(moment: &[u8], micros: u32, with: &Key) -> Vec<u8> {
    let proof = seq(&[
        at(0, wrap(0x18, moment)),
        at(1, int(micros)),
        at(2, key(4)),
        at(3, int(50)),
    ]);
    let sealed = encrypted(with, usage::AP_REP, &wrap(0x7b, &proof));
    token([2, 0], &wrap(0x6f, &seq(&[at(2, sealed)])))
}

#[test]
fn the_host_must_prove_the_key_and_the_moment() {
    let login = login();
    let finish = |theirs: &[u8]| with_ticket(&login).finish(&ours(), theirs);
    assert!(finish(&theirs(MOMENT, 5, &key_of(2))).is_ok());
    for lie in [
        theirs(MOMENT, 5, &key_of(9)),
        theirs(MOMENT, 6, &key_of(2)),
        theirs(b"20260101120001Z", 5, &key_of(2)),
    ] {
        assert!(matches!(finish(&lie), Err(Error::Downgrade { .. })));
    }
    // Our own token, sent back.
    assert!(finish(&ours()).is_err());
    assert!(
        with_tgt(&login)
            .finish(&ours(), &theirs(MOMENT, 5, &key_of(1)))
            .is_err(),
        "no ticket yet"
    );
}

#[test]
fn the_channel_binding_takes_its_place_in_the_token() {
    let login = login();
    let witness = with_ticket(&login);
    let mut token = ours();
    witness.bind(&mut token, &[0xbb; 16]).unwrap();
    let Some(Token::Request((_, sealed))) = Token::parse(&token) else {
        panic!("no longer a token");
    };
    let opened = key_of(2).decrypt(usage::AUTHENTICATOR, sealed).unwrap();
    assert_eq!(read::binding(&opened), Some(&[0xbb; 16][..]));
    assert!(witness.finish(&token, &theirs(MOMENT, 5, &key_of(2))).is_ok());
}

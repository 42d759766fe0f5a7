use std::collections::HashSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;

use super::*;

fn ring_of(keys: &[(&str, u8)]) -> KeyRing {
    let lines = keys
        .iter()
        .map(|(id, byte)| format!("{id}:{}\n", BASE64_STANDARD.encode([*byte; 32])));
    KeyRing::parse(&SecretString::from(lines.collect::<String>())).unwrap()
}

fn name(text: &str) -> CredentialRef {
    CredentialRef::parse(text).unwrap()
}

fn a_credential() -> Credential {
    Credential::new("LabGatewaySvc", "Canary-7Qz".into()).unwrap()
}

#[test]
fn a_row_opens_under_its_own_name_and_key_only() {
    let ring = ring_of(&[("a", 1)]);
    let sealed = seal(&name("station-01"), &a_credential(), &ring).unwrap();
    let opened = open(&name("station-01"), &sealed, &ring).unwrap();
    assert_eq!(
        (opened.user(), opened.password().expose_secret()),
        ("LabGatewaySvc", "Canary-7Qz")
    );
    let refusal = |name_: &str, ring: &KeyRing| open(&name(name_), &sealed, ring).unwrap_err();
    assert_eq!(
        refusal("station-02", &ring),
        Unreadable::NotAuthentic,
        "copied to another name"
    );
    let other = ring_of(&[("a", 2)]);
    assert_eq!(
        refusal("station-01", &other),
        Unreadable::NotAuthentic,
        "another key of that id"
    );
    let unknown = Unreadable::UnknownKey { key_id: "a".into() };
    assert_eq!(refusal("station-01", &ring_of(&[("b", 1)])), unknown);
}

#[test]
fn a_row_moved_to_another_key_id_or_format_does_not_open() {
    let ring = ring_of(&[("a", 1), ("b", 1)]);
    let sealed = seal(&name("x"), &a_credential(), &ring).unwrap();
    let moved = Sealed {
        key_id: "b".into(),
        ..sealed.clone()
    };
    assert_eq!(
        open(&name("x"), &moved, &ring).unwrap_err(),
        Unreadable::NotAuthentic
    );
    let newer = Sealed { format: 2, ..sealed };
    assert_eq!(
        open(&name("x"), &newer, &ring).unwrap_err(),
        Unreadable::Format { format: 2 }
    );
}

#[test]
fn no_two_seals_have_the_same_nonce_or_bytes() {
    let ring = ring_of(&[("a", 1)]);
    let seals: Vec<_> = (0..500)
        .map(|_| seal(&name("x"), &a_credential(), &ring).unwrap())
        .collect();
    let nonces: HashSet<_> = seals.iter().map(|sealed| &sealed.nonce).collect();
    let texts: HashSet<_> = seals.iter().map(|sealed| &sealed.ciphertext).collect();
    assert_eq!((nonces.len(), texts.len()), (500, 500));
    assert!(seals.iter().all(|sealed| sealed.nonce.len() == 12));
}

#[test]
fn nothing_of_a_credential_shows() {
    let ring = ring_of(&[("a", 1)]);
    let credential = a_credential();
    let sealed = seal(&name("x"), &credential, &ring).unwrap();
    let shown = format!("{credential:?} {sealed:?} {ring:?}");
    assert!(
        !shown.contains("Canary") && !shown.contains("LabGateway"),
        "{shown}"
    );
    let bytes = String::from_utf8_lossy(&sealed.ciphertext).into_owned();
    assert!(
        !bytes.contains("Canary") && !bytes.contains("LabGateway"),
        "{bytes}"
    );
}

proptest! {
    #[test]
    fn every_credential_comes_back(user in "[^\\pC\\s]{1,60}", password in "\\PC{1,80}") {
        let ring = ring_of(&[("a", 1)]);
        let Ok(credential) = Credential::new(&user, password.clone().into()) else {
            return Ok(());
        };
        let sealed = seal(&name("x"), &credential, &ring).unwrap();
        let opened = open(&name("x"), &sealed, &ring).unwrap();
        prop_assert_eq!(opened.user(), user);
        prop_assert_eq!(opened.password().expose_secret(), password);
    }

    #[test]
    fn a_row_with_any_bit_turned_does_not_open(at in 0usize..10_000, bit in 0u8..8, of_nonce: bool) {
        let ring = ring_of(&[("a", 1)]);
        let mut sealed = seal(&name("x"), &a_credential(), &ring).unwrap();
        let bytes = if of_nonce { &mut sealed.nonce } else { &mut sealed.ciphertext };
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(open(&name("x"), &sealed, &ring).unwrap_err(), Unreadable::NotAuthentic);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        nonce in prop::collection::vec(any::<u8>(), 0..30),
        ciphertext in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let ring = ring_of(&[("a", 1)]);
        let sealed = Sealed { format: FORMAT, key_id: "a".into(), nonce, ciphertext };
        prop_assert!(open(&name("x"), &sealed, &ring).is_err());
    }
}

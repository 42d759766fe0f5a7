use proptest::prelude::*;
use secrecy::SecretString;

use super::keys::{Sender, seal_key, sign_key};
use super::*;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const SERVER_CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
const TARGET_INFO: &str = "02000c0044006f006d00610069006e0001000c0053006500720076006500720000000000";

fn challenge(flags: u32, info: &[u8]) -> Vec<u8> {
    let mut out = b"NTLMSSP\0".to_vec();
    out.extend(2_u32.to_le_bytes());
    out.extend([0, 0, 0, 0, 56, 0, 0, 0]);
    out.extend(flags.to_le_bytes());
    out.extend(SERVER_CHALLENGE);
    out.extend([0; 8]);
    out.extend((info.len() as u16).to_le_bytes());
    out.extend((info.len() as u16).to_le_bytes());
    out.extend(56_u32.to_le_bytes());
    out.extend([0; 8]);
    out.extend(info);
    out
}

fn identity(password: &SecretString) -> Identity<'_> {
    Identity {
        user: "User",
        domain: "Domain",
        password,
        target_name: "HTTP/host",
        channel_binding: None,
        must_seal: true,
        client_challenge: [0xaa; 8],
        exported_key: Zeroizing::new([0x55; 16]),
        now: 0,
    }
}

/// The worked example of MS-NLMP 4.2.4, also computed with pyspnego.
#[test]
fn the_worked_example_of_the_specification_comes_out() {
    let key = proof::ntowf_v2("User", "Domain", "Password");
    assert_eq!(hex(&*key), "0c868a403bfd7a93a3001ef22ef02e3f");
    let nt = proof::nt_response(&key, SERVER_CHALLENGE, [0xaa; 8], 0, &unhex(TARGET_INFO));
    assert_eq!(hex(&nt.proof), "68cd0ab851e51c96aabc927bebef6a1c");
    let lm = proof::lm_response(&key, SERVER_CHALLENGE, [0xaa; 8]);
    assert_eq!(hex(&lm), "86c35097ac9cec102554764a57cccc19aaaaaaaaaaaaaaaa");
    let base = proof::session_base_key(&key, &nt.proof);
    assert_eq!(hex(&*base), "8de40ccadbc14a82f15cb0ad0de95ca3");
    assert_eq!(
        hex(&seal::rc4_once(&base, &[0x55; 16])),
        "c5dad2544fc9799094ce1ce90bc9d03e"
    );
}

#[test]
fn keys_of_both_directions_come_out() {
    let key = [0x55; 16];
    assert_eq!(
        hex(&*sign_key(&key, Sender::Client)),
        "4788dc861b4782f35d43fd98fe1a2d39"
    );
    assert_eq!(
        hex(&*seal_key(&key, Sender::Client)),
        "59f600973cc4960a25480a7c196e4c58"
    );
    assert_eq!(
        hex(&*sign_key(&key, Sender::Server)),
        "d04d6f10741041d1d246d64188d7a8ad"
    );
    assert_eq!(
        hex(&*seal_key(&key, Sender::Server)),
        "9355f3a957c1583d25c4c2f11e40390e"
    );
}

#[test]
fn three_messages_in_a_row_are_sealed_as_recorded() {
    let mut sealer = Sealer::client(&[0x55; 16]);
    for (plain, signature, sealed) in [
        (
            messages::utf16("Plaintext"),
            "010000007fb38ec5c55d497600000000",
            "54e50165bf1936dc996020c1811b0f06fb5f",
        ),
        (
            b"<s:Envelope/>".to_vec(),
            "0100000044169d43917fa48801000000",
            "08b05ea591d43a8bf553347c92",
        ),
        (
            b"<s:Envelope/>".to_vec(),
            "01000000f9375b7b0b2582fa02000000",
            "f1f42ad97c34c9087a76358cea",
        ),
    ] {
        let mut data = plain;
        assert_eq!(hex(&sealer.seal(&mut data)), signature);
        assert_eq!(hex(&data), sealed);
    }
}

#[test]
fn the_spnego_signature_comes_out_and_the_key_stream_starts_anew() {
    assert_eq!(hex(&spnego::mech_types()), "300c060a2b06010401823702020a");
    let mut client = Sealer::client(&[0x55; 16]);
    let mut server = Sealer::server(&[0x55; 16]);
    let mic = client.sign_for_spnego(&spnego::mech_types());
    assert_eq!(hex(&mic), "0100000022a3984fefbb9c3200000000");
    server.verify_for_spnego(&spnego::mech_types(), &mic).unwrap();
    let mut data = b"body".to_vec();
    let signature = client.seal(&mut data);
    // The same first bytes of key stream as for the first message of a fresh context.
    let mut fresh = b"body".to_vec();
    Sealer::client(&[0x55; 16]).seal(&mut fresh);
    assert_eq!(data, fresh);
    server.unseal(&signature, &mut data).unwrap();
    assert_eq!(data, b"body");
}

#[test]
fn a_changed_or_repeated_message_is_refused() {
    let mut client = Sealer::client(&[7; 16]);
    let mut data = b"hello".to_vec();
    let signature = client.seal(&mut data);
    let mut changed = data.clone();
    changed[0] ^= 1;
    assert!(Sealer::server(&[7; 16]).unseal(&signature, &mut changed).is_err());
    let mut server = Sealer::server(&[7; 16]);
    let mut again = data.clone();
    server.unseal(&signature, &mut data).unwrap();
    assert!(server.unseal(&signature, &mut again).is_err());
    assert!(
        Sealer::server(&[7; 16])
            .unseal(&signature[..15], &mut again)
            .is_err()
    );
}

#[test]
fn the_third_message_carries_a_mic_over_all_three_and_never_the_session_key() {
    let password = SecretString::from("Password");
    let first = negotiate();
    assert_eq!(first.len(), 40);
    let second = challenge(flags::OURS, &unhex(TARGET_INFO));
    let (third, _) = authenticate(&first, &second, &identity(&password)).unwrap();
    let mut zeroed = third.clone();
    zeroed[72..88].fill(0);
    assert_eq!(
        third[72..88],
        proof::hmac_md5(&[0x55; 16], &[&first, &second, &zeroed])
    );
    assert!(!third.windows(16).any(|window| window == [0x55; 16]));
    let flags_av = [6, 0, 4, 0, 2, 0, 0, 0];
    assert!(third.windows(8).any(|window| window == flags_av));
}

#[test]
fn a_timestamp_of_the_server_is_used_and_silences_the_lm_response() {
    let password = SecretString::from("Password");
    let mut info = vec![7, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    info.extend([0; 4]);
    let (third, _) =
        authenticate(&negotiate(), &challenge(flags::OURS, &info), &identity(&password)).unwrap();
    assert_eq!(third[88..112], [0; 24]);
    assert_eq!(third[112 + 16 + 8..112 + 16 + 16], [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_challenge_that_weakens_the_protection_is_refused() {
    let password = SecretString::from("Password");
    for missing in [
        flags::EXTENDED_SESSION_SECURITY,
        flags::KEY_128,
        flags::SEAL,
        flags::SIGN,
        flags::KEY_EXCH,
    ] {
        let weak = challenge(flags::OURS & !missing, &unhex(TARGET_INFO));
        let refused = authenticate(&negotiate(), &weak, &identity(&password))
            .map(|_| ())
            .unwrap_err();
        assert!(matches!(refused, NtlmError::Downgrade(_)), "{missing:x}");
    }
    let unsealed = challenge(flags::OURS & !flags::SEAL, &unhex(TARGET_INFO));
    let over_tls = Identity {
        must_seal: false,
        ..identity(&password)
    };
    assert!(authenticate(&negotiate(), &unsealed, &over_tls).is_ok());
}

#[test]
fn spnego_tokens_are_read_back() {
    let token = unhex("a1143012a0030a0101a10b0609aabbccddeeff001122");
    assert!(matches!(spnego::parse(&token), Err(NtlmError::Downgrade(_))));
    let answer = spnego::response(b"third", b"mic");
    let read = spnego::parse(&answer).unwrap();
    assert_eq!((read.token, read.mic), (Some(&b"third"[..]), Some(&b"mic"[..])));
    assert!(spnego::init(&[0; 200]).starts_with(&[0x60, 0x81]));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let password = SecretString::from("x");
        let _ = authenticate(&negotiate(), &bytes, &identity(&password));
        let _ = spnego::parse(&bytes);
        let mut looks_right = b"NTLMSSP\0\x02\0\0\0".to_vec();
        looks_right.extend(&bytes);
        let _ = authenticate(&negotiate(), &looks_right, &identity(&password));
        let mut sealed = bytes.clone();
        let _ = Sealer::client(&[1; 16]).unseal(&bytes, &mut sealed);
    }

    #[test]
    fn arbitrary_target_info_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let password = SecretString::from("x");
        let _ = authenticate(&negotiate(), &challenge(flags::OURS, &bytes), &identity(&password));
    }
}

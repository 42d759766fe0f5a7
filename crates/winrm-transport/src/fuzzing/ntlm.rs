//! Tokens of the handshake.

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::within;
use crate::ntlm::seal::Sealer;
use crate::ntlm::{self, Challenge, Identity, der, flags, spnego as tokens};
use crate::tls;

const BINDING: [u8; 16] = [0x5a; 16];
/// Pairs of a target info. Source: MS-NLMP 2.2.2.1.
const FLAGS: u16 = 6;
const TARGET_NAME: u16 = 9;
const CHANNEL_BINDINGS: u16 = 10;
const TARGET: &str = "HTTP/lab-ws-01";

/// Reads `data` as the challenge of a host and answers it, sealed and not.
///
/// # Panics
/// When the answer gives up a protection or lets a pair of the peer stand in for one of ours.
pub fn ntlm(data: &[u8]) {
    if let Ok(challenge) = Challenge::parse(data) {
        assert!(challenge.target_info.len() <= 32);
        assert!(challenge.target_info.iter().all(|(_, value)| within(value, data)));
    }
    for (must_seal, channel_binding) in [(true, None), (false, Some(BINDING))] {
        let identity = Identity {
            user: "operator",
            domain: "LAB",
            password: &SecretString::from("not a real password"),
            target_name: TARGET,
            channel_binding,
            must_seal,
            client_challenge: [0xaa; 8],
            exported_key: Zeroizing::new([0x55; 16]),
            now: 0,
        };
        if let Ok((third, mut sealer)) = ntlm::authenticate(&ntlm::negotiate(), data, &identity) {
            check_third(&third, data, &identity);
            let mut text = *b"text";
            sealer.seal(&mut text);
        }
    }
}

fn check_third(third: &[u8], challenge: &[u8], identity: &Identity<'_>) {
    assert!(third.len() <= challenge.len() + 512, "answer out of nothing");
    let given = u32_at(third, 60);
    let mut needed = flags::UNICODE | flags::EXTENDED_SESSION_SECURITY | flags::KEY_128;
    if identity.must_seal {
        needed |= flags::SIGN | flags::SEAL | flags::KEY_EXCH;
    }
    assert_eq!(given & needed, needed, "a protection is gone");
    assert_eq!(given & !flags::OURS, 0, "a flag that was never asked for");
    assert_ne!(third[72..88], [0; 16], "no integrity code");
    let key = field(third, 52);
    assert_eq!(key.len(), if given & flags::KEY_EXCH == 0 { 0 } else { 16 });
    // After the proof, the head of the blob (28 bytes) and before its last four bytes.
    let response = field(third, 20);
    let pairs = pairs(&response[16 + 28..response.len() - 4]);
    let of = |wanted| {
        pairs
            .iter()
            .filter(move |(id, _)| *id == wanted)
            .map(|(_, value)| *value)
    };
    assert_eq!(of(FLAGS).count(), 1);
    assert!(of(FLAGS).all(|value| value.len() == 4 && value[0] & 2 == 2));
    let target: Vec<u8> = TARGET.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(of(TARGET_NAME).eq([target.as_slice()]));
    assert!(of(CHANNEL_BINDINGS).eq(identity.channel_binding.iter().map(|b| b.as_slice())));
}

/// The pairs before the end mark, which must be the last.
fn pairs(mut info: &[u8]) -> Vec<(u16, &[u8])> {
    let mut out = Vec::new();
    loop {
        let (id, length) = (u16_at(info, 0), usize::from(u16_at(info, 2)));
        let (value, rest) = info[4..].split_at(length);
        if id == 0 {
            assert!(value.is_empty() && rest.is_empty());
            return out;
        }
        out.push((id, value));
        info = rest;
    }
}

fn field(message: &[u8], at: usize) -> &[u8] {
    let (length, offset) = (u16_at(message, at), u32_at(message, at + 4));
    &message[offset as usize..][..usize::from(length)]
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

/// Reads `data` as a SPNEGO token and as a certificate, and takes it through our own tokens and back.
///
/// # Panics
/// When a token says more than was in it, or ours do not come back.
pub fn spnego(data: &[u8]) {
    if let Ok(answer) = tokens::parse(data) {
        assert!(
            [answer.token, answer.mic]
                .into_iter()
                .flatten()
                .all(|part| within(part, data))
        );
    }
    tls::channel_binding(data);
    let (token, mic) = data.split_at(data.len() / 2);
    let ours = tokens::response(token, mic);
    let back = tokens::parse(&ours).expect("our own token is read");
    assert_eq!((back.state, back.token, back.mic), (None, Some(token), Some(mic)));
    assert_eq!(token_of_init(&tokens::init(data)), Some(data));
    for tag in [0x04, 0x30, 0xa0] {
        let wrapped = der::wrap(tag, data);
        let mut reader = der::Reader::new(&wrapped);
        assert_eq!(reader.next(), Some((tag, data)));
        assert_eq!(reader.next(), None);
    }
    walk(data, 0);
    signed(data);
}

/// The signature over the offer is that of the other side over exactly this offer.
fn signed(data: &[u8]) {
    const KEY: [u8; 16] = [0x55; 16];
    let verify = |offer: &[u8], signature: &[u8]| Sealer::client(&KEY).verify_for_spnego(offer, signature);
    let mut signature = Sealer::server(&KEY).sign_for_spnego(data);
    assert!(verify(data, &signature).is_ok());
    assert!(verify(&[data, &[0]].concat(), &signature).is_err());
    let at = usize::from(data.first().copied().unwrap_or_default()) % signature.len();
    signature[at] ^= 1;
    assert!(verify(data, &signature).is_err(), "byte {at}");
    let ours = Sealer::client(&KEY).sign_for_spnego(data);
    assert!(verify(data, &ours).is_err(), "our own, sent back");
}

/// The NTLM message within a first token.
fn token_of_init(token: &[u8]) -> Option<&[u8]> {
    let mut outer = der::Reader::new(der::Reader::new(token).expect(0x60)?);
    outer.expect(0x06)?;
    let mut fields = der::Reader::new(der::Reader::new(outer.expect(0xa0)?).expect(0x30)?);
    fields.expect(0xa0)?;
    der::Reader::new(fields.expect(0xa2)?).expect(0x04)
}

/// Reads everything that can be read as nested values.
fn walk(data: &[u8], depth: usize) {
    let mut reader = der::Reader::new(data);
    let mut seen = 0;
    while let Some((_, content)) = reader.next() {
        seen += content.len() + 2;
        assert!(within(content, data) && seen <= data.len());
        if depth < 16 {
            walk(content, depth + 1);
        }
    }
}

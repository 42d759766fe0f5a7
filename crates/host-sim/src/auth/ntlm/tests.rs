use super::*;

const PASSWORD: &str = "Password";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// The worked example of MS-NLMP 4.2.4.
fn example_blob() -> Vec<u8> {
    let mut blob = hex("01010000000000000000000000000000aaaaaaaaaaaaaaaa00000000");
    blob.extend(hex(
        "02000c0044006f006d00610069006e0001000c0053006500720076006500720000000000",
    ));
    blob.extend([0; 4]);
    blob
}

#[test]
fn the_worked_example_of_the_specification_is_met() {
    let owf = ntowf_v2("User", PASSWORD, "Domain");
    assert_eq!(owf.to_vec(), hex("0c868a403bfd7a93a3001ef22ef02e3f"));
    let proof = hmac_md5(&owf, &[&hex("0123456789abcdef"), &example_blob()]);
    assert_eq!(proof.to_vec(), hex("68cd0ab851e51c96aabc927bebef6a1c"));
    let base_key = hmac_md5(&owf, &[&proof]);
    assert_eq!(base_key.to_vec(), hex("8de40ccadbc14a82f15cb0ad0de95ca3"));
    let exchanged = session_key(
        base_key,
        flag::KEY_EXCHANGE,
        &hex("c5dad2544fc9799094ce1ce90bc9d03e"),
    )
    .unwrap();
    assert_eq!(exchanged, [0x55; 16]);
}

fn names() -> Names<'static> {
    Names {
        computer: "SERVER",
        domain: "DOMAIN",
        dns: "server",
    }
}

fn negotiate(flags: u32) -> Vec<u8> {
    let mut message = b"NTLMSSP\0\x01\0\0\0".to_vec();
    message.extend(flags.to_le_bytes());
    message.extend([0; 16]);
    message
}

struct Client {
    user: &'static str,
    password: &'static str,
    pairs: Vec<(u16, Vec<u8>)>,
    spoil_mic: bool,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            user: "user",
            password: PASSWORD,
            pairs: Vec::new(),
            spoil_mic: false,
        }
    }
}

impl Client {
    /// Runs a whole handshake in which the exported session key is 55 55 ...
    fn run(self, level: CbtLevel, binding: Option<[u8; 16]>) -> Result<Option<Session>, NtlmError> {
        let first = negotiate(0xE208_8237);
        let acceptor = Acceptor::begin(&first, &names(), [7; 8], DateTime::UNIX_EPOCH).unwrap();
        let mut pairs = self.pairs;
        pairs.push((av::FLAGS, MIC_PRESENT.to_le_bytes().to_vec()));
        let mut blob = example_blob()[..BLOB_HEAD].to_vec();
        blob.extend(messages::target_info(&pairs));
        let owf = ntowf_v2(self.user, self.password, "");
        let proof = hmac_md5(&owf, &[&[7; 8], &blob]);
        let mut key = [0x55; 16];
        Rc4::new(&hmac_md5(&owf, &[&proof])).apply(&mut key);
        let response = [&proof[..], &blob].concat();
        let third = authenticate(
            acceptor.challenge(),
            &first,
            &response,
            self.user,
            &key,
            self.spoil_mic,
        );
        acceptor.accept(
            &third,
            &Account {
                user: "User",
                password: PASSWORD,
            },
            level,
            binding,
        )
    }
}

fn authenticate(
    second: &[u8],
    first: &[u8],
    response: &[u8],
    user: &str,
    key: &[u8],
    spoil_mic: bool,
) -> Vec<u8> {
    let user = messages::utf16(user);
    let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut payload = Vec::new();
    for part in [&[][..], response, &[], &user, &[], key] {
        let length = u16::try_from(part.len()).unwrap();
        message.extend(length.to_le_bytes());
        message.extend(length.to_le_bytes());
        message.extend(u32::try_from(88 + payload.len()).unwrap().to_le_bytes());
        payload.extend_from_slice(part);
    }
    message.extend(&second[20..24]);
    message.extend([0; 24]);
    message.extend(payload);
    let mut mic = hmac_md5(&[0x55; 16], &[first, second, &message]);
    mic[0] ^= u8::from(spoil_mic);
    message[72..88].copy_from_slice(&mic);
    message
}

#[test]
fn the_right_password_gives_a_sealing_session() {
    assert!(Client::default().run(CbtLevel::Relaxed, None).unwrap().is_some());
    assert!(
        Client {
            user: "user@lab",
            ..Client::default()
        }
        .run(CbtLevel::None, None)
        .is_ok()
    );
}

#[test]
fn wrong_credentials_are_told_apart() {
    let wrong = Client {
        password: "password",
        ..Client::default()
    };
    assert_eq!(
        wrong.run(CbtLevel::None, None).err(),
        Some(NtlmError::WrongPassword)
    );
    let wrong = Client {
        user: "other",
        ..Client::default()
    };
    assert_eq!(
        wrong.run(CbtLevel::None, None).err(),
        Some(NtlmError::UnknownUser)
    );
    let wrong = Client {
        spoil_mic: true,
        ..Client::default()
    };
    assert_eq!(wrong.run(CbtLevel::None, None).err(), Some(NtlmError::WrongMic));
}

#[test]
fn channel_bindings_are_judged_by_level() {
    let sends = |value: [u8; 16]| Client {
        pairs: vec![(av::CHANNEL_BINDINGS, value.to_vec())],
        ..Client::default()
    };
    let right = Some([9; 16]);
    use CbtLevel::{None as Off, Relaxed, Strict};
    let table = [
        (Off, None, None),
        (Off, Some([1; 16]), None),
        (Relaxed, None, None),
        (Relaxed, Some([0; 16]), None),
        (Relaxed, Some([1; 16]), Some(NtlmError::WrongBinding)),
        (Relaxed, right, None),
        (Strict, None, Some(NtlmError::NoBinding)),
        (Strict, Some([0; 16]), Some(NtlmError::NoBinding)),
        (Strict, Some([1; 16]), Some(NtlmError::WrongBinding)),
        (Strict, right, None),
    ];
    for (level, sent, expected) in table {
        let client = sent.map_or_else(Client::default, sends);
        assert_eq!(client.run(level, right).err(), expected, "{level:?} {sent:?}");
    }
}

#[test]
fn broken_messages_are_refused() {
    for bytes in [
        &b""[..],
        b"NTLMSSP\0",
        b"NTLMSSP\0\x02\0\0\0",
        &negotiate(0)[..13],
    ] {
        assert!(Acceptor::begin(bytes, &names(), [0; 8], DateTime::UNIX_EPOCH).is_err());
    }
    let mut third = b"NTLMSSP\0\x03\0\0\0".to_vec();
    third.extend([0xFF; 90]);
    let acceptor = Acceptor::begin(&negotiate(0xE208_8237), &names(), [0; 8], DateTime::UNIX_EPOCH).unwrap();
    let account = Account {
        user: "User",
        password: PASSWORD,
    };
    assert_eq!(
        acceptor.accept(&third, &account, CbtLevel::None, None).err(),
        Some(NtlmError::Malformed)
    );
}

#[test]
fn a_client_without_unicode_is_answered_in_kind() {
    let acceptor = Acceptor::begin(&negotiate(0x0008_8206), &names(), [0; 8], DateTime::UNIX_EPOCH).unwrap();
    assert_eq!(acceptor.flags & (flag::UNICODE | flag::OEM), flag::OEM);
    assert_eq!(messages::field(acceptor.challenge(), 12).unwrap(), b"SERVER");
}

//! Sealing of messages with the key of a Kerberos context.
//!
//! A token is a head of 16 bytes, then the encryption of plain text and head, rotated to the right so that what is
//! not data stands in front: head, sealed head, checksum and confounder are the 60 bytes that WinRM calls the header.
//! Source: RFC 4121 sections 4.2.2 to 4.2.5; MS-KILE 3.4.5.4.1 for the rotation of 28.

use crate::ntlm::seal::BadSignature;
use crate::sealed::Protection;
use crate::settings::Settings;

use super::crypto::{CONFOUNDER_LEN, Key, MAC_LEN, usage};
use super::settings::KerberosScheme;

const HEAD_LEN: usize = 16;
/// Sealed head and checksum.
const ROTATION: usize = HEAD_LEN + MAC_LEN;
/// What stands before the data in a token of ours.
const HEADER_LEN: usize = HEAD_LEN + ROTATION + CONFOUNDER_LEN;
/// A host may put less in front, having rotated otherwise, or more, having padded. Never much more.
const HEADER_AT_MOST: usize = 256;

const FROM_ACCEPTOR: u8 = 1;
const SEALED: u8 = 2;
const ACCEPTOR_KEY: u8 = 4;

/// Both directions of one security context.
pub(super) struct Wrapper {
    key: Key,
    /// Which of the two keys of the handshake it is, said in every token.
    key_flag: u8,
    outgoing: u64,
    incoming: u64,
    names: Names,
}

/// How the sealed parts call themselves.
struct Names {
    protocol: &'static str,
    content_type: &'static str,
}

impl Wrapper {
    /// The client's side: the first numbers are those of the handshake.
    pub(super) fn new(key: Key, from_host: bool, outgoing: u32, incoming: u32) -> Self {
        Self {
            key,
            key_flag: if from_host { ACCEPTOR_KEY } else { 0 },
            outgoing: outgoing.into(),
            incoming: incoming.into(),
            names: Names::of(KerberosScheme::Negotiate),
        }
    }

    /// For the scheme that the handshake went by.
    pub(super) fn under(mut self, settings: &Settings) -> Self {
        self.names = Names::of(settings.kerberos.scheme);
        self
    }

    fn open(&mut self, token: &[u8]) -> Option<Vec<u8>> {
        let (head, body) = token.split_first_chunk::<HEAD_LEN>()?;
        let [_, _, flags, filler, e1, e2, r1, r2, ..] = *head;
        let expected = FROM_ACCEPTOR | SEALED | self.key_flag;
        // A token may also be only signed; that is never what was agreed here.
        (head.starts_with(&[5, 4]) && flags == expected && filler == 0xff).then_some(())?;
        let number = head.last_chunk().map(|n| u64::from_be_bytes(*n))?;
        (number == self.incoming && !body.is_empty()).then_some(())?;
        let mut body = body.to_vec();
        let rotation = usize::from(u16::from_be_bytes([r1, r2])) % body.len();
        body.rotate_left(rotation);
        let opened = self.key.decrypt(usage::ACCEPTOR_SEAL, &body)?;
        let (plain, sealed_head) = opened.split_last_chunk::<HEAD_LEN>()?;
        // The rotation came after the sealing, so it is not part of what was sealed.
        let agrees = sealed_head[..6] == head[..6] && sealed_head[8..] == head[8..];
        agrees.then_some(())?;
        let data = plain
            .len()
            .checked_sub(usize::from(u16::from_be_bytes([e1, e2])))?;
        self.incoming = self.incoming.wrapping_add(1);
        Some(plain[..data].to_vec())
    }
}

impl Names {
    fn of(scheme: KerberosScheme) -> Self {
        let (protocol, content_type) = match scheme {
            KerberosScheme::Negotiate => (crate::sealed::PROTOCOL, crate::sealed::CONTENT_TYPE),
            KerberosScheme::Kerberos => (
                "application/HTTP-Kerberos-session-encrypted",
                "multipart/encrypted;\
                 protocol=\"application/HTTP-Kerberos-session-encrypted\";boundary=\"Encrypted Boundary\"",
            ),
        };
        Self {
            protocol,
            content_type,
        }
    }
}

impl Protection for Wrapper {
    fn protocol(&self) -> &'static str {
        self.names.protocol
    }

    fn content_type(&self) -> &'static str {
        self.names.content_type
    }

    fn seal_into(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let mut head = [
            5,
            4,
            SEALED | self.key_flag,
            0xff,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        head[8..].copy_from_slice(&self.outgoing.to_be_bytes());
        let message = [plain, &head].concat();
        // Fails only when the system has no randomness; the host then refuses the empty token.
        let mut body = self
            .key
            .encrypt(usage::INITIATOR_SEAL, &message)
            .unwrap_or_default();
        self.outgoing = self.outgoing.wrapping_add(1);
        let rotation = ROTATION.min(body.len());
        body.rotate_right(rotation);
        head[6..8].copy_from_slice(&(ROTATION as u16).to_be_bytes());
        out.extend((HEADER_LEN as u32).to_le_bytes());
        out.extend(head);
        out.extend(body);
    }

    fn header_fits(&self, length: usize) -> bool {
        (HEAD_LEN..=HEADER_AT_MOST).contains(&length)
    }

    fn unseal_body(&mut self, header: &[u8], data: &[u8]) -> Result<Vec<u8>, BadSignature> {
        self.open(&[header, data].concat()).ok_or(BadSignature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn client() -> Wrapper {
        Wrapper::new(Key::new(18, &[9; 32]).unwrap(), true, 5, 70)
    }

    /// As a host seals: with any rotation, filler and flags.
    fn from_host(number: u64, flags: u8, filler: u16, rotation: u16, plain: &[u8]) -> Vec<u8> {
        let key = Key::new(18, &[9; 32]).unwrap();
        let mut head = vec![5, 4, flags, 0xff];
        head.extend(filler.to_be_bytes());
        head.extend([0, 0]);
        head.extend(number.to_be_bytes());
        let message = [plain, &vec![0; usize::from(filler)], &head].concat();
        let mut body = key.encrypt(usage::ACCEPTOR_SEAL, &message).unwrap();
        let turn = usize::from(rotation) % body.len();
        body.rotate_right(turn);
        head[6..8].copy_from_slice(&rotation.to_be_bytes());
        [head, body].concat()
    }

    const FLAGS: u8 = FROM_ACCEPTOR | SEALED | ACCEPTOR_KEY;

    #[test]
    fn sixty_bytes_stand_before_data_of_the_length_of_the_plain_text() {
        let (mut client, mut out) = (client(), Vec::new());
        client.seal_into(b"<s:Envelope/>", &mut out);
        assert_eq!(out.len(), 4 + 60 + 13);
        assert_eq!(&out[..8], [60, 0, 0, 0, 5, 4, 6, 0xff]);
        assert_eq!(&out[8..20], [0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 5]);
    }

    #[test]
    fn answers_are_read_with_every_rotation_and_filler_and_in_order_only() {
        let mut client = client();
        for (number, filler, rotation) in [(70, 0, 0), (71, 0, 28), (72, 16, 28), (73, 3, 1000)] {
            let token = from_host(number, FLAGS, filler, rotation, b"answer");
            let (header, data) = token.split_at(60);
            assert_eq!(
                client.unseal_body(header, data),
                Ok(b"answer".to_vec()),
                "{number}"
            );
            assert!(client.unseal_body(header, data).is_err(), "played back");
        }
        assert!(
            client
                .unseal_body(&from_host(75, FLAGS, 0, 28, b"answer"), b"")
                .is_err(),
            "one is missing"
        );
    }

    #[test]
    fn what_is_not_sealed_by_the_host_with_the_agreed_key_is_refused() {
        for flags in [
            SEALED | ACCEPTOR_KEY,
            FROM_ACCEPTOR | ACCEPTOR_KEY,
            FROM_ACCEPTOR | SEALED,
        ] {
            assert!(
                client()
                    .unseal_body(&from_host(70, flags, 0, 28, b"answer"), b"")
                    .is_err(),
                "{flags}"
            );
        }
        let token = from_host(70, FLAGS, 16, 28, b"answer");
        for at in 0..token.len() {
            // The rotation is the one field that nothing protects; turned wrongly, the checksum fails.
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert!(client().unseal_body(&changed, b"").is_err(), "byte {at}");
            assert!(client().unseal_body(&token[..at], b"").is_err(), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = client().unseal_body(&bytes, b"");
            let head = [&[5, 4, FLAGS, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 70][..], &bytes].concat();
            prop_assert!(client().unseal_body(&head, b"").is_err());
        }
    }
}

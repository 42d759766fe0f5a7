//! The magic packet itself.

use std::fmt;

use crate::{MacAddr, SecureOn};

const SYNC: [u8; 6] = [0xff; 6];
const REPETITIONS: usize = 16;
const PLAIN: usize = SYNC.len() + 6 * REPETITIONS;

/// The payload that wakes one machine: six times `ff`, sixteen times its address, and perhaps a password.
///
/// Source: AMD publication 20213, "Magic Packet Technology" (synchronization stream and sixteen
/// repetitions, anywhere in a frame); the SecureOn password follows directly, as network cards read it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MagicPacket {
    mac: MacAddr,
    secure_on: Option<SecureOn>,
    bytes: [u8; PLAIN + 6],
    length: usize,
}

impl MagicPacket {
    /// The packet for one machine, 102 bytes.
    pub fn new(mac: MacAddr) -> Self {
        let mut bytes = [0; PLAIN + 6];
        let (sync, addresses) = bytes.split_at_mut(SYNC.len());
        sync.copy_from_slice(&SYNC);
        for repetition in addresses.chunks_exact_mut(6).take(REPETITIONS) {
            repetition.copy_from_slice(&mac.octets());
        }
        Self {
            mac,
            secure_on: None,
            bytes,
            length: PLAIN,
        }
    }

    /// Appends a password; the packet becomes 106 or 108 bytes long. A password set before is replaced.
    #[must_use]
    pub fn with_secure_on(self, password: SecureOn) -> Self {
        let mut packet = Self::new(self.mac);
        packet.length = PLAIN + password.as_bytes().len();
        packet.bytes[PLAIN..packet.length].copy_from_slice(password.as_bytes());
        packet.secure_on = Some(password);
        packet
    }

    /// The address of the machine to wake.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The password, when the packet has one.
    pub fn secure_on(&self) -> Option<SecureOn> {
        self.secure_on
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Looks in a received payload for the packet of one machine, as its network card would: it may stand
    /// anywhere, other bytes may go before. Exactly four or six bytes after it are taken for a password,
    /// any other rest is ignored.
    pub fn find_in(payload: &[u8], mac: &MacAddr) -> Option<Self> {
        let packet = Self::new(*mac);
        let wanted = packet.as_bytes();
        let start = payload
            .windows(wanted.len())
            .position(|window| window == wanted)?;
        let rest = &payload[start + wanted.len()..];
        let password = match rest.len() {
            4 => rest.try_into().ok().map(SecureOn::four),
            6 => rest.try_into().ok().map(SecureOn::six),
            _ => None,
        };
        Some(password.map_or(packet, |password| packet.with_secure_on(password)))
    }
}

impl fmt::Debug for MagicPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the bytes: they contain the password.
        f.debug_struct("MagicPacket")
            .field("mac", &self.mac)
            .field("secure_on", &self.secure_on)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn a_mac() -> MacAddr {
        "00:1a:2b:3c:4d:5e".parse().unwrap()
    }

    #[test]
    fn six_ff_are_followed_by_sixteen_addresses() {
        let packet = MagicPacket::new(a_mac());
        let bytes = packet.as_bytes();
        assert_eq!(bytes.len(), 102);
        assert_eq!(bytes[..6], [0xff; 6]);
        assert_eq!(bytes[6..].chunks(6).count(), 16);
        assert!(bytes[6..].chunks(6).all(|chunk| chunk == a_mac().octets()));
    }

    #[test]
    fn a_password_is_the_last_thing_in_the_packet() {
        let four = MagicPacket::new(a_mac()).with_secure_on(SecureOn::four([1, 2, 3, 4]));
        assert_eq!(four.as_bytes().len(), 106);
        assert_eq!(four.as_bytes()[102..], [1, 2, 3, 4]);
        let six = four.with_secure_on(SecureOn::six([9, 8, 7, 6, 5, 4]));
        assert_eq!(six.as_bytes().len(), 108);
        assert_eq!(six.as_bytes()[102..], [9, 8, 7, 6, 5, 4]);
        assert_eq!(six.as_bytes()[..102], *MagicPacket::new(a_mac()).as_bytes());
    }

    #[test]
    fn the_debug_form_shows_no_password() {
        let packet = MagicPacket::new(a_mac()).with_secure_on(SecureOn::four([211, 212, 213, 214]));
        let shown = format!("{:?}", packet.secure_on());
        assert_eq!(shown, "Some(SecureOn(4 bytes))");
        assert!(!format!("{packet:?}").contains("211"), "{packet:?}");
    }

    #[test]
    fn a_packet_of_another_machine_is_not_found() {
        let other = MacAddr::new([2, 0, 0, 0, 0, 9]).unwrap();
        assert_eq!(
            MagicPacket::find_in(MagicPacket::new(a_mac()).as_bytes(), &other),
            None
        );
        assert_eq!(MagicPacket::find_in(&[0xff; 400], &a_mac()), None);
        assert_eq!(
            MagicPacket::find_in(&MagicPacket::new(a_mac()).as_bytes()[..101], &a_mac()),
            None
        );
    }

    #[test]
    fn an_address_that_begins_with_ff_is_found_after_more_ff() {
        let mac = MacAddr::new([0xff, 0xff, 0, 0, 0, 1]).unwrap();
        let payload = [&[0xff; 5][..], MagicPacket::new(mac).as_bytes()].concat();
        assert_eq!(MagicPacket::find_in(&payload, &mac), Some(MagicPacket::new(mac)));
    }

    proptest! {
        #[test]
        fn a_packet_is_found_wherever_it_stands(
            octets: [u8; 6],
            before in proptest::collection::vec(any::<u8>(), 0..64),
            password in proptest::option::of(any::<[u8; 6]>()),
        ) {
            let Ok(mac) = MacAddr::new(octets) else { return Ok(()) };
            let packet = match password {
                Some(bytes) => MagicPacket::new(mac).with_secure_on(SecureOn::six(bytes)),
                None => MagicPacket::new(mac),
            };
            let payload = [&before[..], packet.as_bytes()].concat();
            prop_assert_eq!(MagicPacket::find_in(&payload, &mac).map(|found| found.mac()), Some(mac));
            if before.is_empty() {
                prop_assert_eq!(MagicPacket::find_in(&payload, &mac), Some(packet));
            }
        }

        #[test]
        fn arbitrary_payloads_never_panic(payload: Vec<u8>, octets: [u8; 6]) {
            if let Ok(mac) = MacAddr::new(octets) {
                let _ = MagicPacket::find_in(&payload, &mac);
            }
        }
    }
}

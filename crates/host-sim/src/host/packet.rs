//! Recognising a magic packet.

/// Whether a datagram wakes the card with this MAC: six bytes FF and sixteen times the MAC anywhere in it, then the
/// SecureOn password if the card has one.
///
/// Source: AMD, Magic Packet Technology (publication 20213).
pub(super) fn wakes(payload: &[u8], mac: [u8; 6], secure_on: Option<[u8; 6]>) -> bool {
    let mut pattern = [0xFF_u8; 102];
    for slot in pattern[6..].chunks_exact_mut(6) {
        slot.copy_from_slice(&mac);
    }
    payload.windows(pattern.len()).enumerate().any(|(start, window)| {
        let rest = &payload[start + pattern.len()..];
        window == pattern && secure_on.is_none_or(|password| rest.starts_with(&password))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn packet(mac: [u8; 6]) -> Vec<u8> {
        let mut bytes = vec![0xFF; 6];
        bytes.extend(mac.repeat(16));
        bytes
    }

    #[test]
    fn only_its_own_packet_wakes_a_card() {
        assert!(wakes(&packet(MAC), MAC, None));
        assert!(!wakes(&packet([2, 0, 0, 0, 0, 8]), MAC, None));
        assert!(!wakes(&packet(MAC)[..101], MAC, None));
        assert!(!wakes(&[], MAC, None));
    }

    #[test]
    fn a_packet_counts_anywhere_in_the_payload() {
        let mut payload = vec![0xFF; 5];
        payload.extend(packet(MAC));
        payload.extend([1, 2, 3]);
        assert!(wakes(&payload, MAC, None));
    }

    #[test]
    fn a_card_with_a_password_wants_it_right_after_the_packet() {
        let password = [1, 2, 3, 4, 5, 6];
        let mut payload = packet(MAC);
        assert!(!wakes(&payload, MAC, Some(password)));
        payload.extend(password);
        assert!(wakes(&payload, MAC, Some(password)));
        payload.insert(102, 0);
        assert!(!wakes(&payload, MAC, Some(password)));
    }
}

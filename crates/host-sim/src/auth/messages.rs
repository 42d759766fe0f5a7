//! NTLM messages as bytes. Source: MS-NLMP 2.2.

/// Flags of NEGOTIATE, CHALLENGE and AUTHENTICATE.
pub(super) mod flag {
    pub(crate) const UNICODE: u32 = 0x0000_0001;
    pub(crate) const OEM: u32 = 0x0000_0002;
    pub(crate) const REQUEST_TARGET: u32 = 0x0000_0004;
    pub(crate) const SIGN: u32 = 0x0000_0010;
    pub(crate) const SEAL: u32 = 0x0000_0020;
    pub(crate) const NTLM: u32 = 0x0000_0200;
    pub(crate) const ALWAYS_SIGN: u32 = 0x0000_8000;
    pub(crate) const TARGET_TYPE_SERVER: u32 = 0x0002_0000;
    pub(crate) const EXTENDED_SECURITY: u32 = 0x0008_0000;
    pub(crate) const TARGET_INFO: u32 = 0x0080_0000;
    pub(crate) const VERSION: u32 = 0x0200_0000;
    pub(crate) const KEY_128: u32 = 0x2000_0000;
    pub(crate) const KEY_EXCHANGE: u32 = 0x4000_0000;
    pub(crate) const KEY_56: u32 = 0x8000_0000;
}

/// Attribute-value pairs of target info.
pub(super) mod av {
    pub(crate) const END: u16 = 0;
    pub(crate) const NETBIOS_COMPUTER: u16 = 1;
    pub(crate) const NETBIOS_DOMAIN: u16 = 2;
    pub(crate) const DNS_COMPUTER: u16 = 3;
    pub(crate) const DNS_DOMAIN: u16 = 4;
    pub(crate) const FLAGS: u16 = 6;
    pub(crate) const TIMESTAMP: u16 = 7;
    pub(crate) const CHANNEL_BINDINGS: u16 = 10;
}

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";

/// Whether a token is an NTLM message.
pub(super) fn is_ntlm(token: &[u8]) -> bool {
    token.starts_with(SIGNATURE)
}

/// Message type of an NTLM message.
pub(super) fn kind(message: &[u8]) -> Option<u32> {
    is_ntlm(message).then(|| u32_at(message, 8)).flatten()
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(two.try_into().ok()?))
}

/// The payload that the field at this place points to.
pub(super) fn field(message: &[u8], at: usize) -> Option<&[u8]> {
    let length = usize::from(u16_at(message, at)?);
    let offset = usize::try_from(u32_at(message, at.checked_add(4)?)?).ok()?;
    if length == 0 {
        return Some(&[]);
    }
    message.get(offset..offset.checked_add(length)?)
}

/// Text of a field: UTF-16LE, or one byte per character.
pub(super) fn text(bytes: &[u8], unicode: bool) -> String {
    if unicode {
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16_lossy(&units)
    } else {
        bytes.iter().map(|&b| char::from(b)).collect()
    }
}

pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Value of an attribute in target info.
pub(super) fn attribute(mut info: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let id = u16_at(info, 0)?;
        let length = usize::from(u16_at(info, 2)?);
        let value = info.get(4..4 + length)?;
        if id == av::END {
            return None;
        }
        if id == wanted {
            return Some(value);
        }
        info = &info[4 + length..];
    }
}

/// Writes target info.
pub(super) fn target_info(pairs: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut info = Vec::new();
    for (id, value) in pairs {
        info.extend(id.to_le_bytes());
        info.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
        info.extend(value);
    }
    info.extend([0; 4]);
    info
}

/// Writes a CHALLENGE.
pub(super) fn challenge(flags: u32, server_challenge: [u8; 8], target: &[u8], info: &[u8]) -> Vec<u8> {
    const HEAD: u32 = 56;
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(0);
    let field = |bytes: &[u8], offset: u32| {
        let mut field = Vec::with_capacity(8);
        field.extend(length(bytes).to_le_bytes());
        field.extend(length(bytes).to_le_bytes());
        field.extend(offset.to_le_bytes());
        field
    };
    let mut message = Vec::with_capacity(160);
    message.extend(SIGNATURE);
    message.extend(2_u32.to_le_bytes());
    message.extend(field(target, HEAD));
    message.extend(flags.to_le_bytes());
    message.extend(server_challenge);
    message.extend([0; 8]);
    message.extend(field(info, HEAD + u32::from(length(target))));
    // Version 10.0, build 22631, NTLM revision 15.
    message.extend([10, 0, 0x67, 0x58, 0, 0, 0, 15]);
    message.extend(target);
    message.extend(info);
    message
}

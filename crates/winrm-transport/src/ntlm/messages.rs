//! The bytes of the three messages.

use super::NtlmError;

/// Negotiation flags. Source: MS-NLMP 2.2.2.5.
pub(crate) mod flags {
    pub(crate) const UNICODE: u32 = 0x1;
    pub(crate) const SIGN: u32 = 0x10;
    pub(crate) const SEAL: u32 = 0x20;
    pub(crate) const EXTENDED_SESSION_SECURITY: u32 = 0x8_0000;
    pub(crate) const KEY_128: u32 = 0x2000_0000;
    pub(crate) const KEY_EXCH: u32 = 0x4000_0000;
    /// What we ask for: the above with OEM, REQUEST_TARGET, NTLM, ALWAYS_SIGN, VERSION and 56.
    pub(crate) const OURS: u32 = 0xe208_8237;
}

/// Attribute-value pairs of the target info. Source: MS-NLMP 2.2.2.1.
pub(crate) mod av {
    pub(crate) const EOL: u16 = 0;
    pub(crate) const FLAGS: u16 = 6;
    pub(crate) const TIMESTAMP: u16 = 7;
    pub(crate) const TARGET_NAME: u16 = 9;
    pub(crate) const CHANNEL_BINDINGS: u16 = 10;
    /// In FLAGS: the third message carries an integrity code.
    pub(crate) const FLAG_MIC: u32 = 2;
}

const SIGNATURE: &[u8; 8] = b"NTLMSSP\0";
/// Product version 10.0, build 0, NTLM revision 15. Source: MS-NLMP 2.2.2.10.
const VERSION: [u8; 8] = [10, 0, 0, 0, 0, 0, 0, 15];
/// Where the integrity code stands in the third message.
pub(crate) const MIC_AT: usize = 72;
const PAYLOAD_AT: usize = 88;

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// Source: MS-NLMP 2.2.1.1.
pub(crate) fn negotiate() -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    out.extend(SIGNATURE);
    out.extend(1_u32.to_le_bytes());
    out.extend(flags::OURS.to_le_bytes());
    // Domain and workstation: empty, at the end of the message.
    for _ in 0..2 {
        out.extend([0, 0, 0, 0]);
        out.extend(40_u32.to_le_bytes());
    }
    out.extend(VERSION);
    out
}

/// The second message, as far as we need it. Source: MS-NLMP 2.2.1.2.
#[derive(Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) flags: u32,
    pub(crate) server_challenge: [u8; 8],
    pub(crate) target_info: Vec<(u16, &'a [u8])>,
}

impl<'a> Challenge<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, NtlmError> {
        let short = NtlmError::Malformed("ntlm challenge is too short");
        if bytes.first_chunk() != Some(SIGNATURE) {
            return Err(NtlmError::Malformed("ntlm challenge without its signature"));
        }
        if u32_at(bytes, 8) != Some(2) {
            return Err(NtlmError::Malformed("ntlm message is not a challenge"));
        }
        let flags = u32_at(bytes, 20).ok_or(short)?;
        let server_challenge = *bytes.get(24..32).and_then(|b| b.first_chunk()).ok_or(short)?;
        let length = usize::from(u16_at(bytes, 40).ok_or(short)?);
        let offset = u32_at(bytes, 44).ok_or(short)? as usize;
        let info = offset.checked_add(length).and_then(|end| bytes.get(offset..end));
        let info = info.ok_or(NtlmError::Malformed(
            "ntlm target info points outside of the message",
        ))?;
        Ok(Self {
            flags,
            server_challenge,
            target_info: pairs(info)?,
        })
    }

    /// The peer's clock as FILETIME, when it says it.
    pub(crate) fn timestamp(&self) -> Option<u64> {
        let (_, value) = self.target_info.iter().find(|(id, _)| *id == av::TIMESTAMP)?;
        Some(u64::from_le_bytes(*value.first_chunk()?))
    }
}

fn pairs(mut info: &[u8]) -> Result<Vec<(u16, &[u8])>, NtlmError> {
    let malformed = NtlmError::Malformed("ntlm target info is cut short");
    let mut out = Vec::new();
    while !info.is_empty() {
        let id = u16_at(info, 0).ok_or(malformed)?;
        let length = usize::from(u16_at(info, 2).ok_or(malformed)?);
        if id == av::EOL {
            break;
        }
        let value = info.get(4..4 + length).ok_or(malformed)?;
        if out.len() == 32 {
            return Err(NtlmError::Malformed("ntlm target info has too many pairs"));
        }
        out.push((id, value));
        info = &info[4 + length..];
    }
    Ok(out)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The third message, with room for the integrity code. Source: MS-NLMP 2.2.1.3.
pub(crate) struct Authenticate<'a> {
    pub(crate) lm: &'a [u8],
    pub(crate) nt: &'a [u8],
    pub(crate) domain: &'a str,
    pub(crate) user: &'a str,
    pub(crate) encrypted_key: &'a [u8],
    pub(crate) flags: u32,
}

impl Authenticate<'_> {
    pub(crate) fn encode(&self) -> Result<Vec<u8>, NtlmError> {
        let (domain, user) = (utf16(self.domain), utf16(self.user));
        let mut head = Vec::with_capacity(512);
        head.extend(SIGNATURE);
        head.extend(3_u32.to_le_bytes());
        let mut payload: Vec<u8> = Vec::new();
        // In the order of the head; the workstation stays empty.
        for value in [self.lm, self.nt, &domain, &user, &[], self.encrypted_key] {
            let too_long = NtlmError::Malformed("ntlm target info is too long to answer");
            let length = u16::try_from(value.len()).map_err(|_| too_long)?;
            let offset = u32::try_from(PAYLOAD_AT + payload.len()).map_err(|_| too_long)?;
            head.extend(length.to_le_bytes());
            head.extend(length.to_le_bytes());
            head.extend(offset.to_le_bytes());
            payload.extend(value);
        }
        head.extend(self.flags.to_le_bytes());
        head.extend(VERSION);
        head.extend([0; 16]);
        debug_assert_eq!(head.len(), PAYLOAD_AT);
        head.extend(payload);
        Ok(head)
    }
}

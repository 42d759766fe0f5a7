//! The NTLM acceptor: NTLMv2 only, with message integrity code and channel binding. Source: MS-NLMP 3.2.5, 3.3.2.

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use md4::{Digest as _, Md4};
use md5::Md5;
use subtle::ConstantTimeEq as _;

use super::messages::{self, av, flag};
use super::seal::{Rc4, Session};
use crate::spec::CbtLevel;

/// Flags the acceptor can grant.
const GRANTED: u32 = flag::SIGN
    | flag::SEAL
    | flag::NTLM
    | flag::ALWAYS_SIGN
    | flag::EXTENDED_SECURITY
    | flag::VERSION
    | flag::KEY_128
    | flag::KEY_EXCHANGE
    | flag::KEY_56;
/// Bytes of the client's blob before its target info.
const BLOB_HEAD: usize = 28;
/// "A MIC is present" in the flags attribute.
const MIC_PRESENT: u32 = 2;

/// Why a handshake was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NtlmError {
    #[error("malformed message")]
    Malformed,
    #[error("no NTLMv2 response")]
    NotVersion2,
    #[error("unknown user")]
    UnknownUser,
    #[error("wrong password")]
    WrongPassword,
    #[error("wrong message integrity code")]
    WrongMic,
    #[error("wrong channel binding")]
    WrongBinding,
    #[error("no channel binding")]
    NoBinding,
}

/// How the host calls itself.
pub(super) struct Names<'a> {
    pub(super) computer: &'a str,
    pub(super) domain: &'a str,
    pub(super) dns: &'a str,
}

/// The one account of a host.
pub(super) struct Account<'a> {
    pub(super) user: &'a str,
    pub(super) password: &'a str,
}

/// A handshake after its first message.
pub(super) struct Acceptor {
    negotiate: Vec<u8>,
    challenge: Vec<u8>,
    server_challenge: [u8; 8],
    flags: u32,
}

impl Acceptor {
    /// Answers a NEGOTIATE.
    pub(super) fn begin(
        negotiate: &[u8],
        names: &Names<'_>,
        server_challenge: [u8; 8],
        now: DateTime<Utc>,
    ) -> Result<Self, NtlmError> {
        if messages::kind(negotiate) != Some(1) {
            return Err(NtlmError::Malformed);
        }
        let asked = messages::u32_at(negotiate, 12).ok_or(NtlmError::Malformed)?;
        let unicode = asked & flag::UNICODE != 0;
        let mut flags = asked & GRANTED | flag::NTLM | flag::TARGET_INFO;
        flags |= if unicode { flag::UNICODE } else { flag::OEM };
        let mut target = Vec::new();
        if asked & flag::REQUEST_TARGET != 0 {
            flags |= flag::REQUEST_TARGET | flag::TARGET_TYPE_SERVER;
            target = if unicode {
                messages::utf16(names.computer)
            } else {
                names.computer.as_bytes().to_vec()
            };
        }
        let info = messages::target_info(&[
            (av::NETBIOS_DOMAIN, messages::utf16(names.domain)),
            (av::NETBIOS_COMPUTER, messages::utf16(names.computer)),
            (av::DNS_DOMAIN, messages::utf16(names.dns)),
            (av::DNS_COMPUTER, messages::utf16(names.dns)),
            (av::TIMESTAMP, file_time(now).to_le_bytes().to_vec()),
        ]);
        let challenge = messages::challenge(flags, server_challenge, &target, &info);
        Ok(Self {
            negotiate: negotiate.to_vec(),
            challenge,
            server_challenge,
            flags,
        })
    }

    /// The CHALLENGE to send.
    pub(super) fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// Judges an AUTHENTICATE. The session is there if keys for sealing were agreed.
    pub(super) fn accept(
        self,
        authenticate: &[u8],
        account: &Account<'_>,
        level: CbtLevel,
        binding: Option<[u8; 16]>,
    ) -> Result<Option<Session>, NtlmError> {
        let field = |at| messages::field(authenticate, at).ok_or(NtlmError::Malformed);
        let flags = messages::u32_at(authenticate, 60).ok_or(NtlmError::Malformed)? & self.flags;
        let unicode = self.flags & flag::UNICODE != 0;
        let domain = messages::text(field(28)?, unicode);
        let user = messages::text(field(36)?, unicode);
        if !is_user(&user, account.user) {
            return Err(NtlmError::UnknownUser);
        }
        let response = field(20)?;
        let (proof, blob) = response.split_at_checked(16).ok_or(NtlmError::NotVersion2)?;
        if blob.len() < BLOB_HEAD || !blob.starts_with(&[1, 1]) {
            return Err(NtlmError::NotVersion2);
        }
        let owf = ntowf_v2(&user, account.password, &domain);
        let expected = hmac_md5(&owf, &[&self.server_challenge, blob]);
        if !bool::from(expected.ct_eq(proof)) {
            return Err(NtlmError::WrongPassword);
        }
        let info = &blob[BLOB_HEAD..];
        let base_key = hmac_md5(&owf, &[proof]);
        let key = session_key(base_key, flags, field(52)?)?;
        self.check_mic(authenticate, info, &key)?;
        check_binding(info, level, binding)?;
        let seals =
            flags & (flag::EXTENDED_SECURITY | flag::KEY_128) == flag::EXTENDED_SECURITY | flag::KEY_128;
        Ok(seals.then(|| Session::new(&key)))
    }

    fn check_mic(&self, authenticate: &[u8], info: &[u8], key: &[u8; 16]) -> Result<(), NtlmError> {
        let flags = messages::attribute(info, av::FLAGS)
            .and_then(|value| messages::u32_at(value, 0))
            .unwrap_or(0);
        if flags & MIC_PRESENT == 0 {
            return Ok(());
        }
        let (head, rest) = authenticate.split_at_checked(72).ok_or(NtlmError::Malformed)?;
        let (mic, tail) = rest.split_at_checked(16).ok_or(NtlmError::Malformed)?;
        let expected = hmac_md5(key, &[&self.negotiate, &self.challenge, head, &[0; 16], tail]);
        if bool::from(expected.ct_eq(mic)) {
            Ok(())
        } else {
            Err(NtlmError::WrongMic)
        }
    }
}

fn check_binding(info: &[u8], level: CbtLevel, binding: Option<[u8; 16]>) -> Result<(), NtlmError> {
    let Some(expected) = binding.filter(|_| level != CbtLevel::None) else {
        return Ok(());
    };
    let sent = messages::attribute(info, av::CHANNEL_BINDINGS).filter(|value| value.iter().any(|b| *b != 0));
    match sent {
        Some(sent) if sent == expected => Ok(()),
        Some(_) => Err(NtlmError::WrongBinding),
        None if level == CbtLevel::Strict => Err(NtlmError::NoBinding),
        None => Ok(()),
    }
}

fn session_key(base_key: [u8; 16], flags: u32, encrypted: &[u8]) -> Result<[u8; 16], NtlmError> {
    if flags & flag::KEY_EXCHANGE == 0 {
        return Ok(base_key);
    }
    let mut key: [u8; 16] = encrypted.try_into().map_err(|_| NtlmError::Malformed)?;
    Rc4::new(&base_key).apply(&mut key);
    Ok(key)
}

/// `user`, or `user@anything`.
fn is_user(given: &str, known: &str) -> bool {
    let bare = given.split('@').next().unwrap_or_default();
    given.eq_ignore_ascii_case(known) || bare.eq_ignore_ascii_case(known)
}

/// Source: MS-NLMP 3.3.2. Only the user name is upper-cased.
fn ntowf_v2(user: &str, password: &str, domain: &str) -> [u8; 16] {
    let v1: [u8; 16] = Md4::digest(messages::utf16(password)).into();
    hmac_md5(
        &v1,
        &[&messages::utf16(&user.to_uppercase()), &messages::utf16(domain)],
    )
}

pub(super) fn hmac_md5(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    // HMAC pads a short key with zeros to the block length anyway.
    let mut block = [0_u8; 64];
    block[..16].copy_from_slice(key);
    let mut mac = <Hmac<Md5> as hmac::digest::KeyInit>::new(&block.into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Hundreds of nanoseconds since 1601.
fn file_time(at: DateTime<Utc>) -> u64 {
    const FROM_1601_TO_1970_SECONDS: i64 = 11_644_473_600;
    let ticks = (at.timestamp() + FROM_1601_TO_1970_SECONDS) * 10_000_000
        + i64::from(at.timestamp_subsec_nanos() / 100);
    u64::try_from(ticks).unwrap_or(0)
}

#[cfg(test)]
mod tests;

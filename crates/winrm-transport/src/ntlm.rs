//! NTLMv2: the three messages, the proof, and the sealing of what follows.
//!
//! Only what is still sound enough to use: NTLMv2, Unicode, extended session security, 128 bit, a message integrity
//! code always, a channel binding over TLS. Everything here is pure: bytes in, bytes out. Nothing panics on, or
//! allocates more than the size of, what a peer sends.
//!
//! Source: MS-NLMP sections 2.2 (messages), 3.3.2 (NTLMv2), 3.4 (session security).

pub(crate) mod der;
mod keys;
mod messages;
mod proof;
pub(crate) mod seal;
pub(crate) mod spnego;

pub(crate) use messages::{Challenge, flags};

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use self::messages::{Authenticate, av};
use self::seal::Sealer;

/// Why a message of the peer was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NtlmError {
    /// Not what the specification says; the text names the rule.
    #[error("{0}")]
    Malformed(&'static str),
    /// Well formed, but weaker than we accept.
    #[error("{0}")]
    Downgrade(&'static str),
}

/// Everything the client side of one handshake needs, randomness included, so that tests can fix it.
pub(crate) struct Identity<'a> {
    pub(crate) user: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) password: &'a SecretString,
    /// Such as `HTTP/host`.
    pub(crate) target_name: &'a str,
    /// The value of AV pair 10, over TLS.
    pub(crate) channel_binding: Option<[u8; 16]>,
    /// Refuse a challenge without SIGN and SEAL.
    pub(crate) must_seal: bool,
    pub(crate) client_challenge: [u8; 8],
    pub(crate) exported_key: Zeroizing<[u8; 16]>,
    /// Our clock, for peers that do not say theirs.
    pub(crate) now: u64,
}

/// The first message. Always the long form with the version field, which every acceptor understands.
pub(crate) fn negotiate() -> Vec<u8> {
    messages::negotiate()
}

/// Answers the challenge: the third message and the keys that both sides now share.
///
/// # Errors
/// A challenge that is malformed or drops a protection we insist on.
pub(crate) fn authenticate(
    negotiate: &[u8],
    challenge_bytes: &[u8],
    identity: &Identity<'_>,
) -> Result<(Vec<u8>, Sealer), NtlmError> {
    let challenge = Challenge::parse(challenge_bytes)?;
    check_flags(challenge.flags, identity.must_seal)?;
    let timestamp = challenge.timestamp();
    let info = target_info(&challenge, identity);
    let key = proof::ntowf_v2(identity.user, identity.domain, identity.password.expose_secret());
    let nt = proof::nt_response(
        &key,
        challenge.server_challenge,
        identity.client_challenge,
        timestamp.unwrap_or(identity.now),
        &info,
    );
    let lm = match timestamp {
        Some(_) => [0; 24],
        None => proof::lm_response(&key, challenge.server_challenge, identity.client_challenge),
    };
    let base_key = proof::session_base_key(&key, &nt.proof);
    let exchanged = challenge.flags & flags::KEY_EXCH != 0;
    let session_key = if exchanged {
        identity.exported_key.clone()
    } else {
        base_key.clone()
    };
    let encrypted_key = if exchanged {
        seal::rc4_once(&base_key, &*session_key)
    } else {
        Vec::new()
    };
    let mut message = Authenticate {
        lm: &lm,
        nt: &nt.response,
        domain: identity.domain,
        user: identity.user,
        encrypted_key: &encrypted_key,
        flags: challenge.flags & flags::OURS,
    }
    .encode()?;
    let mic = proof::hmac_md5(&*session_key, &[negotiate, challenge_bytes, &message]);
    message[messages::MIC_AT..messages::MIC_AT + 16].copy_from_slice(&mic);
    Ok((message, Sealer::client(&session_key)))
}

fn check_flags(given: u32, must_seal: bool) -> Result<(), NtlmError> {
    let missing = |needed: u32| given & needed != needed;
    if missing(flags::UNICODE) {
        return Err(NtlmError::Malformed("ntlm challenge without unicode"));
    }
    if missing(flags::EXTENDED_SESSION_SECURITY) {
        return Err(NtlmError::Downgrade(
            "ntlm challenge drops extended session security",
        ));
    }
    if missing(flags::KEY_128) {
        return Err(NtlmError::Downgrade("ntlm challenge drops 128-bit keys"));
    }
    if must_seal && missing(flags::SIGN | flags::SEAL | flags::KEY_EXCH) {
        return Err(NtlmError::Downgrade("ntlm challenge drops sealing"));
    }
    Ok(())
}

/// The target info of the challenge, with our own pairs instead of any the peer may have put there.
fn target_info(challenge: &Challenge<'_>, identity: &Identity<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    let mut put = |id: u16, value: &[u8]| {
        out.extend(id.to_le_bytes());
        out.extend((value.len() as u16).to_le_bytes());
        out.extend(value);
    };
    let mut known_flags = 0;
    for (id, value) in &challenge.target_info {
        match *id {
            av::FLAGS => known_flags = value.first_chunk().map_or(0, |v| u32::from_le_bytes(*v)),
            av::TARGET_NAME | av::CHANNEL_BINDINGS => {}
            id => put(id, value),
        }
    }
    put(av::FLAGS, &(known_flags | av::FLAG_MIC).to_le_bytes());
    if let Some(binding) = identity.channel_binding {
        put(av::CHANNEL_BINDINGS, &binding);
    }
    put(av::TARGET_NAME, &messages::utf16(identity.target_name));
    put(av::EOL, &[]);
    out
}

#[cfg(test)]
mod tests;

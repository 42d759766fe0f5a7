//! Judges what the KDC and the host answer, with keys of its own derivation.
//!
//! The library that makes the requests takes any answer that decrypts. That is not enough: an old answer, played
//! back, decrypts as well, and one for another service would let that service pose as the one we meant. So every
//! answer must carry the nonce of its request and the name that was asked for (RFC 4120 sections 3.1.5 and 3.3.4),
//! and the host's must carry the moment of ours (section 3.2.5).

use std::time::Duration;

use crate::error::{Error, Stage};

use super::crypto::{Key, usage};
use super::kept::Ticket;
use super::read::{self, Asked, Complaint, Given, Proof, Secret, Token};
use super::refusal::{KerberosRefusal, Meaning, Party, meaning};
use super::settings::Login;
use super::wrap::Wrapper;

/// The KDC wants proof of the password before it gives anything: the normal first answer.
const PREAUTH_REQUIRED: u32 = 25;

/// What is known so far in one login.
pub(super) struct Witness<'a> {
    login: &'a Login,
    password: &'a str,
    /// Such as `HTTP/host`.
    service: &'a str,
    salt: Option<Vec<u8>>,
    key: Option<Key>,
    complete: bool,
    given: Option<(Ticket, Duration)>,
}

impl<'a> Witness<'a> {
    pub(super) fn new(login: &'a Login, password: &'a str, service: &'a str) -> Self {
        Self {
            login,
            password,
            service,
            salt: None,
            key: None,
            complete: false,
            given: None,
        }
    }

    /// With the key of a ticket for the service.
    pub(super) fn after_kdc(login: &'a Login, service: &'a str, key: Key) -> Self {
        Self {
            key: Some(key),
            complete: true,
            ..Self::new(login, "", service)
        }
    }

    /// The ticket for the service, and for how long it is good, once the KDC gave it.
    pub(super) fn given(&mut self) -> Option<(Ticket, Duration)> {
        self.given.take()
    }

    /// Judges one answer of the KDC to one request, both without their length.
    pub(super) fn judge(&mut self, request: &[u8], reply: &[u8]) -> Result<(), Error> {
        if let Some(complaint) = Complaint::parse(reply) {
            return self.complaint(request, &complaint);
        }
        match (read::kind(request), read::kind(reply)) {
            (Some(read::AS_REQ), Some(read::AS_REP)) => self.first(request, reply),
            (Some(read::TGS_REQ), Some(read::TGS_REP)) => self.second(request, reply),
            _ => Err(protocol("kdc answers something else than was asked")),
        }
    }

    fn complaint(&mut self, request: &[u8], complaint: &Complaint<'_>) -> Result<(), Error> {
        if complaint.code == PREAUTH_REQUIRED
            && read::kind(request) == Some(read::AS_REQ)
            && self.salt.is_none()
        {
            // A default salt is remembered too, so that this cannot be said a second time.
            self.salt = Some(match complaint.salt {
                Some(salt) => salt.to_vec(),
                None => self.default_salt(),
            });
            return Ok(());
        }
        Err(self.refused(complaint.code, Party::Kdc))
    }

    /// The ticket to ask for tickets.
    fn first(&mut self, request: &[u8], reply: &[u8]) -> Result<(), Error> {
        let malformed = || protocol("kdc answer is malformed");
        let asked = Asked::parse(request, read::AS_REQ).ok_or_else(malformed)?;
        let given = Given::parse(reply, read::AS_REP).ok_or_else(malformed)?;
        let (etype, sealed) = given.sealed;
        let salt = match (given.salt, self.salt.take()) {
            (Some(salt), _) => salt.to_vec(),
            (None, Some(salt)) => salt,
            (None, None) => [&[given.client_realm][..], &given.client].concat().concat(),
        };
        let long_term = Key::from_password(etype, self.password, &salt);
        let long_term = long_term.ok_or_else(|| self.refusal(KerberosRefusal::NoCipher))?;
        let opened = long_term.decrypt(usage::AS_REP, sealed);
        let opened = opened.ok_or_else(|| protocol("kdc answer is not sealed with the account's key"))?;
        let secret = Secret::parse(&opened).ok_or_else(malformed)?;
        let expected: [&[u8]; 2] = [b"krbtgt", asked.realm];
        if secret.nonce != asked.nonce || secret.realm != asked.realm || secret.service != expected {
            return Err(protocol("kdc answer does not belong to the request"));
        }
        self.take(secret.key)
    }

    /// The ticket for the service, or one for the next realm on the way to it.
    fn second(&mut self, request: &[u8], reply: &[u8]) -> Result<(), Error> {
        let malformed = || protocol("kdc answer is malformed");
        let asked = Asked::parse(request, read::TGS_REQ).ok_or_else(malformed)?;
        let given = Given::parse(reply, read::TGS_REP).ok_or_else(malformed)?;
        let key = self
            .key
            .take()
            .ok_or_else(|| protocol("kdc answers out of order"))?;
        let opened = key.decrypt(usage::TGS_REP, given.sealed.1);
        let opened = opened.ok_or_else(|| protocol("kdc answer is not sealed with the session's key"))?;
        let secret = Secret::parse(&opened).ok_or_else(malformed)?;
        let wanted = self.service.split('/').map(str::as_bytes);
        let is_service = same(&secret.service, wanted.clone());
        let is_referral =
            matches!(secret.service.as_slice(), [name, next] if *name == b"krbtgt" && *next != asked.realm);
        // The name in front of the ticket is not protected, but the library goes by it.
        let belongs = secret.nonce == asked.nonce
            && same(&asked.service, wanted)
            && given.ticket_service == secret.service;
        if !belongs || !(is_service || is_referral) {
            return Err(protocol("kdc answer does not belong to the request"));
        }
        self.complete = is_service;
        self.take(secret.key)?;
        if let (true, Some(life), Some(key)) = (is_service, secret.life, &self.key) {
            let ticket = Ticket {
                sealed: given.ticket.to_vec(),
                realm: given.client_realm.to_vec(),
                client: given.client_name.to_vec(),
                key: key.clone(),
            };
            self.given = Some((ticket, life));
        }
        Ok(())
    }

    fn take(&mut self, (etype, bytes): (u32, &[u8])) -> Result<(), Error> {
        let key = Key::new(etype, bytes).ok_or_else(|| self.refusal(KerberosRefusal::NoCipher))?;
        self.key = Some(key);
        Ok(())
    }

    fn default_salt(&self) -> Vec<u8> {
        format!("{}{}", self.login.realm, self.login.user).into_bytes()
    }

    /// Binds our token to a TLS channel. The library can do so as well, but adds an option two bytes long instead of
    /// four, for which MIT refuses the whole token (seen with sspi 0.23.1 and MIT 1.20).
    pub(super) fn bind(&self, token: &mut [u8], channel: &[u8; 16]) -> Result<(), Error> {
        self.bound(token, channel)
            .ok_or_else(|| protocol("our own token cannot be bound to the tls channel"))
    }

    /// Lengths do not change, so the new authenticator takes the place of the old one.
    fn bound(&self, token: &mut [u8], channel: &[u8; 16]) -> Option<()> {
        let key = self.key.as_ref().filter(|_| self.complete)?;
        let Token::Request((_, sealed)) = Token::parse(token)? else {
            return None;
        };
        let mut opened = key.decrypt(usage::AUTHENTICATOR, sealed)?;
        let at = place(&opened, read::binding(&opened)?);
        opened[at].copy_from_slice(channel);
        let resealed = key.encrypt(usage::AUTHENTICATOR, &opened)?;
        let at = place(token, sealed);
        (at.len() == resealed.len()).then(|| token[at].copy_from_slice(&resealed))
    }

    /// Judges the host's answer to our token and gives the sealing for what follows.
    pub(super) fn finish(self, ours: &[u8], theirs: &[u8]) -> Result<Wrapper, Error> {
        let key = self.key.as_ref().filter(|_| self.complete);
        let key = key.ok_or_else(|| protocol("kdc gave no ticket for the service"))?;
        let Some(Token::Request((_, sealed))) = Token::parse(ours) else {
            return Err(protocol("our own token is malformed"));
        };
        let opened_ours = key.decrypt(usage::AUTHENTICATOR, sealed);
        let client = opened_ours.as_ref().and_then(|opened| Proof::of_client(opened));
        let client = client.ok_or_else(|| protocol("our own token is malformed"))?;
        let sealed = match Token::parse(theirs) {
            Some(Token::Reply((_, sealed))) => sealed,
            Some(Token::Error(complaint)) => return Err(self.refused(complaint.code, Party::Host)),
            Some(Token::Request(_)) | None => return Err(protocol("host's token is malformed")),
        };
        let opened = key.decrypt(usage::AP_REP, sealed);
        let opened = opened.ok_or_else(|| downgrade("host did not prove to know the key of the ticket"))?;
        let host = Proof::of_host(&opened).ok_or_else(|| protocol("host's token is malformed"))?;
        if (host.time, host.micros) != (client.time, client.micros) {
            return Err(downgrade("host's proof is for another moment than ours"));
        }
        let (sent, received) = client
            .sequence
            .zip(host.sequence)
            .ok_or_else(|| protocol("no sequence number agreed"))?;
        let (from_host, agreed) = match (host.key, client.key) {
            (Some(key), _) => (true, key),
            (None, Some(key)) => (false, key),
            (None, None) => return Err(protocol("no key agreed")),
        };
        let agreed = Key::new(agreed.0, agreed.1).ok_or_else(|| self.refusal(KerberosRefusal::NoCipher))?;
        Ok(Wrapper::new(agreed, from_host, sent, received))
    }

    /// An error that somebody sent us.
    pub(super) fn refused(&self, code: u32, by: Party) -> Error {
        match meaning(code, by, self.service) {
            Meaning::Credentials(step) => Error::Unauthorized {
                offered: Vec::new(),
                used: "kerberos",
                step,
            },
            Meaning::Refusal(refusal) => self.refusal(refusal),
        }
    }

    fn refusal(&self, source: KerberosRefusal) -> Error {
        Error::Kerberos {
            service: self.service.to_owned(),
            source,
        }
    }
}

/// Where in `whole` its part lies.
fn place(whole: &[u8], part: &[u8]) -> std::ops::Range<usize> {
    let from = part.as_ptr().addr() - whole.as_ptr().addr();
    from..from + part.len()
}

/// Names are compared as Active Directory does, without regard to case.
fn same<'n>(found: &[&[u8]], wanted: impl Iterator<Item = &'n [u8]>) -> bool {
    let wanted: Vec<_> = wanted.collect();
    found.len() == wanted.len() && found.iter().zip(wanted).all(|(a, b)| a.eq_ignore_ascii_case(b))
}

fn protocol(what: &'static str) -> Error {
    Error::Protocol {
        what,
        during: Stage::Handshake,
    }
}

fn downgrade(what: &'static str) -> Error {
    Error::Downgrade {
        what,
        during: Stage::Handshake,
    }
}

#[cfg(test)]
mod tests;

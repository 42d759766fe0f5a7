//! Authentication of one connection: who we are, in two requests with empty bodies.
//!
//! Source: RFC 4559 for `Negotiate` over HTTP; section 4 there for why both requests share a connection.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret;
use secrecy::zeroize::{Zeroize, Zeroizing};

use crate::account::Account;
use crate::error::{Error, LostBecause, Stage};
use crate::exchange::{Answer, Connection, ExchangeError, SOAP, challenges, offered, refusal};
use crate::ntlm::seal::Sealer;
use crate::ntlm::{self, NtlmError, spnego};
use crate::peer::{Counters, Peer};
use crate::settings::AuthMethod;

const DURING: Stage = Stage::Handshake;
/// The scheme that says: look at the certificate of this connection. Source: DSP0226 annex C.
const MUTUAL: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual";

/// Makes the connection an authenticated one.
pub(crate) async fn authenticate(connection: &mut Connection, peer: &Peer) -> Result<(), Error> {
    let form = match peer.settings.auth {
        AuthMethod::Basic => {
            connection.authorization = Some(basic(&peer.settings.account)?);
            return Ok(());
        }
        AuthMethod::Certificate => {
            connection.authorization = Some(HeaderValue::from_static(MUTUAL));
            return Ok(());
        }
        AuthMethod::Ntlm => Form::Raw,
        AuthMethod::Negotiate => Form::Spnego,
        #[cfg(feature = "kerberos")]
        AuthMethod::Kerberos => return crate::kerberos::authenticate(connection, peer).await,
        #[cfg(not(feature = "kerberos"))]
        AuthMethod::Kerberos => {
            return Err(Error::Protocol {
                what: "kerberos is not part of this build",
                during: DURING,
            });
        }
    };
    let sealer = match negotiate(connection, peer, "Negotiate", form).await? {
        Outcome::Done(sealer) => sealer,
        Outcome::OnlyNtlmOffered => match negotiate(connection, peer, "NTLM", Form::Raw).await? {
            Outcome::Done(sealer) => sealer,
            Outcome::OnlyNtlmOffered => {
                return Err(Error::Protocol {
                    what: "host offers NTLM but does not answer it",
                    during: DURING,
                });
            }
        },
    };
    if peer.seals() {
        connection.sealer = Some(sealer);
    }
    Counters::add(&peer.counters.handshakes);
    Ok(())
}

/// User name and password for one header, marked as not to be shown.
fn basic(account: &Account) -> Result<HeaderValue, Error> {
    let mut plain = format!("{}:{}", account.basic_name(), account.password.expose_secret());
    let mut text = format!("Basic {}", STANDARD.encode(&plain));
    plain.zeroize();
    let value = HeaderValue::from_str(&text);
    text.zeroize();
    let mut value = value.map_err(|_| Error::Protocol {
        what: "credentials fit no header",
        during: DURING,
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// How NTLM messages are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Spnego,
}

enum Outcome {
    Done(Box<Sealer>),
    /// The host has no answer to `Negotiate`, but the bare scheme.
    OnlyNtlmOffered,
}

async fn negotiate(
    connection: &mut Connection,
    peer: &Peer,
    scheme: &'static str,
    form: Form,
) -> Result<Outcome, Error> {
    let first = ntlm::negotiate();
    let token = match form {
        Form::Raw => first.clone(),
        Form::Spnego => spnego::init(&first),
    };
    let answer = send(connection, scheme, &token).await?;
    if answer.status != 401 {
        return Err(unexpected(&answer));
    }
    let Some(token) = token_of(&answer, scheme)? else {
        let offered = offered(&answer.headers);
        if scheme == "Negotiate" && offered.iter().any(|scheme| scheme.eq_ignore_ascii_case("NTLM")) {
            return Ok(Outcome::OnlyNtlmOffered);
        }
        return Err(Error::Unauthorized {
            offered,
            used: used(peer),
            step: "first message",
        });
    };
    let (third, mut sealer) = respond(connection, peer, &first, &token)?;
    let answer = send(connection, scheme, &third.token).await?;
    if answer.status == 401 {
        let offered = offered(&answer.headers);
        return Err(Error::Unauthorized {
            offered,
            used: used(peer),
            step: "third message",
        });
    }
    if !matches!(answer.status, 200..=299 | 400 | 500) {
        return Err(unexpected(&answer));
    }
    if third.form == Form::Spnego {
        verify(&mut sealer, token_of(&answer, scheme)?.as_deref())?;
    }
    Ok(Outcome::Done(sealer))
}

struct Third {
    token: Vec<u8>,
    /// Hosts may answer a wrapped message with a bare one; we then go on as they do.
    form: Form,
}

fn respond(
    connection: &Connection,
    peer: &Peer,
    first: &[u8],
    token: &[u8],
) -> Result<(Third, Box<Sealer>), Error> {
    let (form, second) = if token.starts_with(b"NTLMSSP\0") {
        (Form::Raw, token)
    } else {
        let answer = spnego::parse(token).map_err(refused)?;
        let missing = NtlmError::Malformed("spnego answer carries no ntlm challenge");
        (Form::Spnego, answer.token.ok_or_else(|| refused(missing))?)
    };
    let settings = &peer.settings;
    let name = settings.server_name.as_ref().unwrap_or(&settings.endpoint.host);
    let identity = ntlm::Identity {
        user: &settings.account.user,
        domain: &settings.account.domain,
        password: &settings.account.password,
        target_name: &format!("HTTP/{name}"),
        channel_binding: connection.channel_binding,
        must_seal: peer.seals(),
        client_challenge: rand::random(),
        exported_key: Zeroizing::new(rand::random()),
        now: filetime_now(),
    };
    let (third, sealer) = ntlm::authenticate(first, second, &identity).map_err(refused)?;
    let mut sealer = Box::new(sealer);
    let token = match form {
        Form::Raw => third,
        Form::Spnego => {
            let mic = sealer.sign_for_spnego(&spnego::mech_types());
            spnego::response(&third, &mic)
        }
    };
    Ok((Third { token, form }, sealer))
}

/// The host's signature over the offered mechanisms: without it somebody between could have changed the offer.
fn verify(sealer: &mut Sealer, token: Option<&[u8]>) -> Result<(), Error> {
    let missing = NtlmError::Downgrade("host did not sign the offered mechanisms");
    let token = token.ok_or_else(|| refused(missing))?;
    let answer = spnego::parse(token).map_err(refused)?;
    let mic = answer.mic.ok_or_else(|| refused(missing))?;
    let wrong = NtlmError::Downgrade("host's signature over the offered mechanisms is wrong");
    sealer
        .verify_for_spnego(&spnego::mech_types(), mic)
        .map_err(|_| refused(wrong))
}

pub(crate) async fn send(
    connection: &mut Connection,
    scheme: &'static str,
    token: &[u8],
) -> Result<Answer, Error> {
    let value = HeaderValue::from_str(&format!("{scheme} {}", STANDARD.encode(token)));
    let mut value = value.map_err(|_| Error::Protocol {
        what: "token fits no header",
        during: DURING,
    })?;
    value.set_sensitive(true);
    let sent = connection
        .post(DURING, "/wsman", SOAP, Some((AUTHORIZATION, value)), Vec::new())
        .await;
    sent.map_err(|error| match error {
        ExchangeError::Failed(error) => error,
        ExchangeError::NotSent | ExchangeError::Unauthenticated { .. } => Error::ConnectionLost {
            during: DURING,
            source: LostBecause::Closed,
        },
    })
}

/// The token that came with `scheme`, if any.
pub(crate) fn token_of(answer: &Answer, scheme: &str) -> Result<Option<Vec<u8>>, Error> {
    let found =
        challenges(&answer.headers).find(|(s, rest)| s.eq_ignore_ascii_case(scheme) && !rest.is_empty());
    let Some((_, token)) = found else { return Ok(None) };
    let malformed = |_| Error::Protocol {
        what: "authentication token is not base64",
        during: DURING,
    };
    STANDARD.decode(token.trim()).map(Some).map_err(malformed)
}

/// A status that has no place in a handshake.
pub(crate) fn unexpected(answer: &Answer) -> Error {
    match answer.status {
        200..=299 => Error::Protocol {
            what: "host does not ask for authentication",
            during: DURING,
        },
        status => refusal(status, &answer.headers, DURING),
    }
}

fn refused(error: NtlmError) -> Error {
    match error {
        NtlmError::Malformed(what) => Error::Protocol { what, during: DURING },
        NtlmError::Downgrade(what) => Error::Downgrade { what, during: DURING },
    }
}

/// What was used, for the message that explains a refusal.
pub(crate) fn used(peer: &Peer) -> &'static str {
    match (peer.settings.auth, peer.seals()) {
        (AuthMethod::Basic, _) => "basic",
        (AuthMethod::Certificate, _) => "client certificate",
        (AuthMethod::Kerberos, _) => "kerberos",
        (_, true) => "ntlmv2, sealed",
        (_, false) => "ntlmv2 with channel binding",
    }
}

/// 100 ns since 1601, for hosts that do not say their own time.
#[expect(
    clippy::disallowed_methods,
    reason = "the message wants the wall clock; nothing is stored or decided by it"
)]
fn filetime_now() -> u64 {
    let since_1970 = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    (since_1970.as_secs() + 11_644_473_600) * 10_000_000 + u64::from(since_1970.subsec_nanos() / 100)
}

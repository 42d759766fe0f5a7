//! Authentication of one connection by Kerberos: one request with an empty body.

use secrecy::ExposeSecret;

use crate::error::{Error, Stage};
use crate::exchange::{Answer, Connection, offered};
use crate::handshake::{send, token_of, unexpected};
use crate::peer::{Counters, Peer};

use super::read::Token;
use super::refusal::Party;
use super::request;
use super::settings::KerberosScheme;
use super::spnego;
use super::tickets;
use super::witness::Witness;

const DURING: Stage = Stage::Handshake;

/// Makes the connection an authenticated one, the host included.
pub(crate) async fn authenticate(connection: &mut Connection, peer: &Peer) -> Result<(), Error> {
    let settings = &peer.settings;
    let login = settings.kerberos.login(&settings.account).map_err(|error| {
        // Checked when the client was made.
        tracing::debug!(%error, "settings no longer valid");
        protocol("kerberos settings are not valid")
    })?;
    let said = settings
        .kerberos
        .service_host
        .as_ref()
        .or(settings.server_name.as_ref());
    let service = format!("HTTP/{}", said.unwrap_or(&settings.endpoint.host));
    let kept = &settings.account.tickets;
    if let Some(ticket) = kept.find(&login, &service) {
        let witness = Witness::after_kdc(&login, &service, ticket.key.clone());
        let token = request::token(&ticket).ok_or_else(|| protocol("no randomness for a token"))?;
        match log_in(connection, peer, witness, token).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                kept.forget(&login, &service);
                // The host may have another key by now, or think of time otherwise than the KDC: a new ticket tells.
                if !matches!(error, Error::Unauthorized { .. } | Error::Kerberos { .. }) {
                    return Err(error);
                }
                tracing::debug!(%error, "host does not take the ticket of before");
            }
        }
    }
    let mut witness = Witness::new(&login, settings.account.password.expose_secret(), &service);
    let token = Box::pin(tickets::token(settings, &login, &service, &mut witness)).await?;
    let given = witness.given();
    log_in(connection, peer, witness, token).await?;
    if let Some((ticket, life)) = given {
        kept.keep(&login, &service, ticket, life);
    }
    Ok(())
}

/// Shows the token to the host, and judges its answer.
async fn log_in(
    connection: &mut Connection,
    peer: &Peer,
    witness: Witness<'_>,
    mut token: Vec<u8>,
) -> Result<(), Error> {
    let settings = &peer.settings;
    if let Some(channel) = &connection.channel_binding {
        witness.bind(&mut token, channel)?;
    }
    let (scheme, carried) = match settings.kerberos.scheme {
        KerberosScheme::Negotiate => ("Negotiate", spnego::init(&token)),
        KerberosScheme::Kerberos => ("Kerberos", token.clone()),
    };
    let answer = send(connection, scheme, &carried).await?;
    let back = token_of(&answer, scheme)?;
    let inner = back.as_deref().map(spnego::parse);
    if answer.status == 401 {
        return Err(refused(&answer, inner, &witness));
    }
    if !matches!(answer.status, 200..=299 | 400 | 500) {
        return Err(unexpected(&answer));
    }
    let inner = match inner {
        Some(spnego::Answer::Token(inner)) => inner,
        Some(spnego::Answer::Malformed) => return Err(protocol("host's token is malformed")),
        Some(spnego::Answer::Declined(_)) => {
            return Err(downgrade("host chose another mechanism than kerberos"));
        }
        None => return Err(downgrade("host does not prove who it is")),
    };
    let wrapper = witness.finish(&token, inner)?;
    if peer.seals() {
        connection.sealer = Some(Box::new(wrapper.under(settings)));
    }
    Counters::add(&peer.counters.handshakes);
    Ok(())
}

/// A 401: with an error of Kerberos inside, or because the host does not take Kerberos or this account.
fn refused(answer: &Answer, inner: Option<spnego::Answer<'_>>, witness: &Witness<'_>) -> Error {
    if let Some(spnego::Answer::Token(inner) | spnego::Answer::Declined(Some(inner))) = inner
        && let Some(Token::Error(complaint)) = Token::parse(inner)
    {
        return witness.refused(complaint.code, Party::Host);
    }
    Error::Unauthorized {
        offered: offered(&answer.headers),
        used: "kerberos",
        step: "service ticket, refused by the host",
    }
}

fn protocol(what: &'static str) -> Error {
    Error::Protocol { what, during: DURING }
}

fn downgrade(what: &'static str) -> Error {
    Error::Downgrade { what, during: DURING }
}

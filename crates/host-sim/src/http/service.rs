//! One HTTP request: authentication, sealing, SOAP, and the faults on the way.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::framing;
use super::wire::Wire;
use crate::auth::{Gate, Verdict};
use crate::effects::count;
use crate::faults::{At, Fault, Strike};
use crate::host::{Inner, ServiceStage};
use crate::wsman;

/// Largest request body.
const BODY_LIMIT: usize = 1024 * 1024;
const SOAP: &str = "application/soap+xml;charset=UTF-8";
/// The scheme that points at the client's certificate.
const MUTUAL: &str = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual";
const IDENTIFY_PATH: &str = "/wsman-anon/identify";

/// One TCP connection, as the requests on it see it.
pub(super) struct Connection {
    host: Arc<Inner>,
    peer: IpAddr,
    /// SHA-256 of the certificate shown, over TLS.
    certificate: Option<[u8; 32]>,
    /// SHA-256 of the certificate that the client showed.
    client_certificate: Option<[u8; 32]>,
    wire: Arc<Wire>,
    gate: Mutex<Gate>,
}

/// SHA-256 of the certificates of both sides of a TLS connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Certificates {
    pub(super) own: Option<[u8; 32]>,
    pub(super) client: Option<[u8; 32]>,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection aborted")]
pub(super) struct Aborted;

type Reply = Response<Full<Bytes>>;

impl Connection {
    pub(super) fn new(host: Arc<Inner>, peer: IpAddr, certificates: Certificates, wire: Arc<Wire>) -> Self {
        Self {
            host,
            peer,
            certificate: certificates.own,
            client_certificate: certificates.client,
            wire,
            gate: Mutex::default(),
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a fault strike at this message, if one is set for it.
    async fn strike(&self, at: At) -> Result<(), Aborted> {
        match self.host.faults.strike(at) {
            None => Ok(()),
            Some(Strike::Hang) => std::future::pending().await,
            Some(Strike::Reset) => {
                self.wire.reset_on_drop();
                Err(Aborted)
            }
        }
    }
}

/// Answers one request.
pub(super) async fn handle(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Reply, Aborted> {
    let host = &connection.host;
    count(&host.counts.requests);
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            return Ok(empty(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Err(_) => return Err(Aborted),
    };
    connection.wire.drip(host.faults.look(|f| match f {
        Fault::Drip { every } => Some(*every),
        _ => None,
    }));
    if let Some(refusal) = out_of_service(host) {
        return Ok(refusal);
    }
    let path = head.uri.path().trim_end_matches('/').to_ascii_lowercase();
    if path != "/wsman" && path != IDENTIFY_PATH {
        return Ok(empty(StatusCode::NOT_FOUND));
    }
    if head.method != Method::POST {
        return Ok(empty(StatusCode::METHOD_NOT_ALLOWED));
    }
    let text = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let anonymous = text("wsmanidentify").is_some_and(|v| v.eq_ignore_ascii_case("unauthenticated"));
    if path == IDENTIFY_PATH || anonymous {
        connection.strike(At::Identify).await?;
        return Ok(soap(StatusCode::OK, wsman::identify(false)));
    }
    let authorization = text("authorization");
    let place = connection.gate().place(authorization);
    if let Some(place) = place {
        connection.strike(place).await?;
    }
    let verdict = match authorization {
        Some(scheme) if scheme.trim().eq_ignore_ascii_case(MUTUAL) => by_certificate(&connection),
        _ => connection
            .gate()
            .check(host, authorization, connection.certificate),
    };
    let (user, token) = match verdict {
        Verdict::Pass { user, token } => (user, token),
        Verdict::Challenge(mut offers) => {
            if connection.certificate.is_some() && !host.spec.client_certificates.is_empty() {
                offers.push(MUTUAL.to_owned());
            }
            return Ok(challenge(offers));
        }
    };
    let mut reply = serve(&connection, &user, text("content-type").unwrap_or_default(), body).await?;
    if let Some(value) = token.and_then(|t| HeaderValue::try_from(t).ok()) {
        reply.headers_mut().append(header::WWW_AUTHENTICATE, value);
    }
    Ok(reply)
}

/// Whether the certificate of the connection is mapped to the account.
fn by_certificate(connection: &Connection) -> Verdict {
    let host = &connection.host;
    let shown = connection.client_certificate;
    if shown.is_some_and(|shown| host.spec.client_certificates.contains(&shown)) {
        return Verdict::Pass {
            user: host.spec.user.clone(),
            token: None,
        };
    }
    count(&host.counts.refused_credentials);
    Verdict::Challenge(Vec::new())
}

/// 503, while a fault says so or the service is coming up or going down.
fn out_of_service(host: &Inner) -> Option<Reply> {
    let ordered = host.faults.take(|f| match f {
        Fault::Http503 { retry_after } => Some(*retry_after),
        _ => None,
    });
    if ordered.is_none() && host.stage() == ServiceStage::Up {
        return None;
    }
    let mut reply = empty(StatusCode::SERVICE_UNAVAILABLE);
    if let Some(seconds) = ordered.flatten() {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    Some(reply)
}

/// The body of an authenticated request: unseal, carry out, seal.
async fn serve(
    connection: &Connection,
    user: &str,
    content_type: &str,
    body: Bytes,
) -> Result<Reply, Aborted> {
    if body.is_empty() {
        return Ok(empty(StatusCode::OK));
    }
    let host = &connection.host;
    let sealed = framing::is_sealed(content_type);
    let plain = if sealed {
        match unseal(connection, content_type, &body) {
            Some(plain) => plain,
            None => return Ok(last(empty(StatusCode::BAD_REQUEST))),
        }
    } else if connection.certificate.is_some() || host.spec.allow_unencrypted {
        body.to_vec()
    } else {
        // Clear text refused: 500 and nothing else.
        return Ok(empty(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let Some(request) = decode(content_type, &plain)
        .as_deref()
        .and_then(wsman::Request::parse)
    else {
        return Ok(empty(StatusCode::BAD_REQUEST));
    };
    let place = wsman::place_of(&request);
    if let Some((before, _)) = place {
        connection.strike(before).await?;
    }
    let answer = wsman::answer(host, user, connection.peer, &request).await;
    if let Some((_, Some(after))) = place {
        connection.strike(after).await?;
    }
    let text = spoil(host, answer.body);
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(strike) = host.faults.strike(At::MidBody) {
        connection.wire.cut_after(text.len() / 2, strike);
    }
    if !sealed {
        return Ok(soap(status, text));
    }
    let mut gate = connection.gate();
    let Some(session) = gate.session() else {
        return Ok(last(empty(StatusCode::BAD_REQUEST)));
    };
    let (signature, data) = session.seal(text.as_bytes());
    Ok(reply(
        status,
        framing::frame(&signature, &data).into(),
        &framing::content_type(),
    ))
}

fn unseal(connection: &Connection, content_type: &str, body: &[u8]) -> Option<Vec<u8>> {
    let log = |problem: &dyn std::fmt::Display| {
        tracing::debug!(host.name = %connection.host.spec.name, error = %problem, "sealed message refused");
    };
    let sealed = framing::unframe(content_type, body)
        .inspect_err(|e| log(e))
        .ok()?;
    let mut gate = connection.gate();
    gate.session()?
        .unseal(sealed.signature, sealed.data)
        .inspect_err(|e| log(e))
        .ok()
}

/// Text of a request: UTF-8, or UTF-16 when it begins with that byte order mark.
fn decode(content_type: &str, bytes: &[u8]) -> Option<String> {
    let units = |read: fn([u8; 2]) -> u16| -> Option<String> {
        let units: Vec<u16> = bytes[2..]
            .chunks_exact(2)
            .map(|pair| read([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xFF, 0xFE, ..] => units(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => units(u16::from_be_bytes),
        _ if content_type.to_ascii_lowercase().contains("charset=utf-16") => None,
        _ => {
            let text = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
            String::from_utf8(text.to_vec()).ok()
        }
    }
}

fn spoil(host: &Inner, text: String) -> String {
    if host
        .faults
        .take(|f| (*f == Fault::MalformedXml).then_some(()))
        .is_some()
    {
        return wsman::malformed(&text);
    }
    let size = host.faults.take(|f| match f {
        Fault::HugeXml(size) => Some(*size),
        _ => None,
    });
    match size {
        Some(size) => wsman::huge(&text, size),
        None => text,
    }
}

fn challenge(offers: Vec<String>) -> Reply {
    let mut reply = empty(StatusCode::UNAUTHORIZED);
    for offer in offers.into_iter().filter_map(|o| HeaderValue::try_from(o).ok()) {
        reply.headers_mut().append(header::WWW_AUTHENTICATE, offer);
    }
    reply
}

/// The connection is closed after this reply.
fn last(mut reply: Reply) -> Reply {
    reply
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

fn soap(status: StatusCode, text: String) -> Reply {
    reply(status, text.into(), SOAP)
}

fn empty(status: StatusCode) -> Reply {
    reply(status, Bytes::new(), "")
}

fn reply(status: StatusCode, body: Bytes, content_type: &str) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    // HTTP.sys sends no reason phrase.
    if let Ok(none) = ReasonPhrase::try_from(&b""[..]) {
        reply.extensions_mut().insert(none);
    }
    reply
        .headers_mut()
        .insert(header::SERVER, HeaderValue::from_static("Microsoft-HTTPAPI/2.0"));
    if let Some(value) = HeaderValue::from_str(content_type).ok().filter(|v| !v.is_empty()) {
        reply.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    reply
}

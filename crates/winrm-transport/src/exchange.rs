//! One request and its answer on one connection that is ours alone.
//!
//! NTLM authenticates a connection, and sealing counts messages on it, so there is no pool here: a request takes
//! the connection by value and gives it back with a complete answer. Whatever else happens, a dropped future
//! included, ends the connection.

mod talk;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
    USER_AGENT,
};
use hyper::{Method, Request, Response};
use tokio::time::{Instant, timeout};

pub(crate) use crate::challenge::{challenges, offered};
use crate::connect::Stream;
use crate::error::{Error, LostBecause, Stage};
use crate::peer::{Counters, Peer};
use crate::sealed::{self, Protection, UnsealError};
use crate::soap::{self, Document, Fault};

use self::talk::{Sender, Socket, Talk};
use self::wire::Wire;

pub(crate) const SOAP: &str = "application/soap+xml;charset=UTF-8";

/// Bytes of an answer for which room is made at once when they are announced.
const USUAL_ANSWER: u64 = 16 * 1024;
/// Pieces that one answer may come in: ten times what the largest one takes in packets. Each costs a turn of the
/// connection's work, so that an answer in chunks of one byte would keep a core busy for long.
const MAX_PIECES: usize = 16 * 1024;

/// An open connection.
pub(crate) struct Connection {
    peer: Arc<Peer>,
    /// Absent while the connection rests.
    sender: Option<Sender>,
    wire: Wire<Talk>,
    /// Present once authentication has been completed over plain HTTP, except with Basic.
    pub(crate) sealer: Option<Box<dyn Protection>>,
    /// Sent with every request: Basic only.
    pub(crate) authorization: Option<HeaderValue>,
    /// Of the certificate of this very connection.
    pub(crate) channel_binding: Option<[u8; 16]>,
    last_used: Instant,
}

/// An HTTP answer, complete.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What a host said to a SOAP request.
pub(crate) enum Reply {
    Envelope(Document),
    Fault(Fault),
}

/// Why there is no complete answer.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// Not a byte of the request has left: the host had closed the idle connection.
    NotSent,
    /// 401: given before execution, so the request may be repeated once after authenticating.
    Unauthenticated {
        offered: Vec<String>,
    },
    Failed(Error),
}

impl ExchangeError {
    pub(crate) fn lost(during: Stage, source: LostBecause) -> Self {
        Self::Failed(Error::ConnectionLost { during, source })
    }

    fn protocol(during: Stage, what: &'static str) -> Self {
        Self::Failed(Error::Protocol { what, during })
    }
}

impl Connection {
    pub(crate) async fn start(peer: Arc<Peer>, stream: Stream) -> Result<Self, Error> {
        let lost = |error| Error::ConnectionLost {
            during: Stage::Connect,
            source: LostBecause::Transport(error),
        };
        let channel_binding = match &stream {
            Stream::Plain(_) => None,
            Stream::Tls(_, binding) => Some(*binding),
        };
        let (sender, talk) = Talk::begin(Socket::new(stream)).await.map_err(lost)?;
        let last_used = Instant::now();
        Ok(Self {
            peer,
            sender: Some(sender),
            wire: Wire::start(talk),
            sealer: None,
            authorization: None,
            channel_binding,
            last_used,
        })
    }

    /// Whether it is worth trying; a host may still close it a moment later.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_open() && self.last_used.elapsed() < self.peer.settings.timeouts.idle
    }

    /// Whether it is open, as far as anybody noticed.
    pub(crate) fn is_open(&self) -> bool {
        !self.wire.has_ended() && !self.sender.as_ref().is_some_and(Sender::is_closed)
    }

    /// Lets go of everything that only calls need, until the next one. Cheap, and does nothing when there is still
    /// something under way.
    pub(crate) fn rest(&mut self) {
        if self.sender.as_ref().is_some_and(Sender::is_ready) {
            self.wire.change(Talk::rest);
            self.wire.advance();
            // Only now: to be told that it is gone would wake the task for idle times.
            self.sender = None;
        }
    }

    /// The opposite of [`Connection::rest`].
    async fn attend(&mut self) -> Result<(), ExchangeError> {
        if self.sender.is_some() {
            return Ok(());
        }
        let mut resting = None;
        self.wire.change(|talk| match talk {
            Talk::Resting(socket) => {
                resting = Some(socket);
                Some(Talk::Between)
            }
            other => Some(other),
        });
        let socket = resting.ok_or(ExchangeError::NotSent)?;
        let (sender, talk) = Talk::begin(socket).await.map_err(|_| ExchangeError::NotSent)?;
        self.wire.change(|_| Some(talk));
        self.sender = Some(sender);
        Ok(())
    }

    /// Sends one SOAP request, sealed where sealing was agreed, and reads the whole answer.
    pub(crate) async fn exchange(
        mut self,
        during: Stage,
        request: &soap::request::Request,
    ) -> Result<(Self, Reply), ExchangeError> {
        self.attend().await?;
        // Nothing may be sealed before it is sure to be sent: both sides count.
        let sender = self.sender.as_mut().ok_or(ExchangeError::NotSent)?;
        let ready = self.wire.until(sender.ready()).await;
        ready.map_err(|_| ExchangeError::NotSent)?;
        let (content_type, body) = match &mut self.sealer {
            Some(sealer) => (sealer.content_type(), sealed::wrap(&mut **sealer, &request.xml)),
            None => (SOAP, request.xml.clone().into_bytes()),
        };
        let answer = self.post(during, "/wsman", content_type, None, body).await?;
        let status = answer.status;
        let envelope = self.open(during, answer)?;
        let root = soap::parse(envelope, &self.peer.settings.limits)
            .map_err(|soap::Malformed(what)| ExchangeError::protocol(during, what))?;
        let fault = Fault::find(&root);
        match soap::relates_to(&root) {
            Some(id) if id.eq_ignore_ascii_case(&request.message_id) => {}
            // A fault about a header it could not read has nothing to relate to.
            None if fault.is_some() => {}
            _ => {
                return Err(ExchangeError::protocol(
                    during,
                    "answer relates to another request",
                ));
            }
        }
        match fault {
            Some(fault) => Ok((self, Reply::Fault(fault))),
            None if status == 200 => Ok((self, Reply::Envelope(root))),
            None => Err(ExchangeError::protocol(during, "error status without a fault")),
        }
    }

    /// Sends one HTTP request and reads the whole answer, in the time an answer may take.
    pub(crate) async fn post(
        &mut self,
        during: Stage,
        path: &'static str,
        content_type: &'static str,
        extra: Option<(HeaderName, HeaderValue)>,
        body: Vec<u8>,
    ) -> Result<Answer, ExchangeError> {
        let waited = self.peer.settings.timeouts.answer();
        let request = self.request(path, content_type, extra, body);
        let done = timeout(waited, self.send(during, request)).await;
        self.last_used = Instant::now();
        done.unwrap_or_else(|_| Err(ExchangeError::lost(during, LostBecause::Silence { waited })))
    }

    fn request(
        &self,
        path: &'static str,
        content_type: &'static str,
        extra: Option<(HeaderName, HeaderValue)>,
        body: Vec<u8>,
    ) -> Request<Full<Bytes>> {
        let length = body.len();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = hyper::Uri::from_static(path);
        let headers = request.headers_mut();
        headers.insert(HOST, self.peer.authority.clone());
        // An empty body would go without it, and the host would then wait for one or refuse.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(USER_AGENT, self.peer.user_agent.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some((name, value)) = extra {
            headers.insert(name, value);
        }
        request
    }

    async fn send(&mut self, during: Stage, request: Request<Full<Bytes>>) -> Result<Answer, ExchangeError> {
        let sender = self.sender.as_mut().ok_or(ExchangeError::NotSent)?;
        let peer = &self.peer;
        let answered = async {
            sender.ready().await.map_err(|_| ExchangeError::NotSent)?;
            Counters::add(&peer.counters.requests);
            let response = match sender.try_send_request(request).await {
                Ok(response) => response,
                Err(error) if error.message().is_some() => return Err(ExchangeError::NotSent),
                Err(error) => return Err(ExchangeError::lost(during, error.into_error().into())),
            };
            collect(response, peer.settings.limits.answer_bytes, during).await
        };
        self.wire.until(answered).await
    }

    /// Judges the status, then gives the plain text of the body.
    fn open(&mut self, during: Stage, answer: Answer) -> Result<Vec<u8>, ExchangeError> {
        match answer.status {
            401 => {
                return Err(ExchangeError::Unauthenticated {
                    offered: offered(&answer.headers),
                });
            }
            200 | 400 | 500 => {}
            status => return Err(ExchangeError::Failed(refusal(status, &answer.headers, during))),
        }
        let Some(sealer) = &mut self.sealer else {
            return plain(during, answer);
        };
        if is_of_type(&answer.headers, "multipart/encrypted") {
            return sealed::unwrap(&mut **sealer, &answer.body).map_err(|error| {
                ExchangeError::protocol(
                    during,
                    match error {
                        UnsealError::Framing => "sealed answer is malformed",
                        UnsealError::Signature => "sealed answer has a wrong signature",
                    },
                )
            });
        }
        if answer.status == 400 || answer.body.is_empty() {
            return Err(ExchangeError::protocol(
                during,
                "host did not accept the sealed request",
            ));
        }
        let what = "answer to a sealed request is not sealed";
        Err(ExchangeError::Failed(Error::Downgrade { what, during }))
    }
}

fn plain(during: Stage, answer: Answer) -> Result<Vec<u8>, ExchangeError> {
    if ["application/soap+xml", "text/xml"]
        .iter()
        .any(|kind| is_of_type(&answer.headers, kind))
    {
        return Ok(answer.body);
    }
    if answer.body.is_empty() {
        // AllowUnencrypted=false looks like this.
        return Err(ExchangeError::protocol(
            during,
            "host refuses clear text (empty answer)",
        ));
    }
    Err(ExchangeError::Failed(Error::NotWinRm {
        status: answer.status,
        during,
    }))
}

async fn collect(response: Response<Incoming>, limit: usize, during: Stage) -> Result<Answer, ExchangeError> {
    let (head, mut incoming) = response.into_parts();
    let too_large = || ExchangeError::protocol(during, "answer is larger than allowed");
    let announced = incoming.size_hint().lower();
    if announced > limit as u64 {
        return Err(too_large());
    }
    // Into one buffer, never a list of pieces: each piece would keep the read buffer that it came in, and a peer may
    // send bytes one by one. What is announced is believed only as far as it is usual.
    let mut body = Vec::with_capacity(announced.min(USUAL_ANSWER) as usize);
    let mut pieces = 0;
    while let Some(frame) = incoming.frame().await {
        pieces += 1;
        if pieces > MAX_PIECES {
            return Err(ExchangeError::protocol(during, "answer comes in too many pieces"));
        }
        let frame = frame.map_err(|error| ExchangeError::lost(during, LostBecause::Transport(error)))?;
        // Trailers say nothing to us.
        let Ok(piece) = frame.into_data() else { continue };
        if body.len() + piece.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

/// What a status other than 200, 400, 401 and 500 means.
pub(crate) fn refusal(status: u16, headers: &HeaderMap, during: Stage) -> Error {
    match status {
        503 => {
            let seconds = headers
                .get(RETRY_AFTER)
                .and_then(|v| v.to_str().ok()?.trim().parse().ok());
            let retry_after = seconds.map(|s: u64| Duration::from_secs(s.min(86_400)));
            Error::ServiceUnavailable { retry_after, during }
        }
        413 | 414 => Error::Protocol {
            what: "host finds the request too large",
            during,
        },
        status => Error::NotWinRm { status, during },
    }
}

/// Whether the content type begins with `kind`; parameters follow.
fn is_of_type(headers: &HeaderMap, kind: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.trim().get(..kind.len()))
        .is_some_and(|begin| begin.eq_ignore_ascii_case(kind))
}

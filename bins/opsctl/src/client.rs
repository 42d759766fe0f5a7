//! The API as typed calls.
//!
//! [`Client`] sends and judges; [`api`](self) names the calls; [`model`] has what the answers hold, read leniently so
//! that a newer service may say more and an older one less. [`Stream`] follows server-sent events over lost
//! connections, [`long`](self) the work of a call that was accepted.

mod api;
mod error;
mod long;
pub(crate) mod model;
mod sse;
mod stream;
mod tls;

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

pub(crate) use api::{Order, ReservationFilter};
pub(crate) use error::{ClientError, Refusal};
pub(crate) use long::{Outcome, Tracker};
pub(crate) use sse::Event;
pub(crate) use stream::Stream;

use crate::settings::Connection;

/// The longest answer that is read: ten thousand hosts take a few megabytes.
const MAX_BODY: usize = 32 * 1024 * 1024;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// However long the service asks us to wait before the next try, no longer than this.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What reads wait for unless told otherwise.
const READ: Duration = Duration::from_secs(30);
/// What long work waits for unless told otherwise.
pub(crate) const LONG: Duration = Duration::from_secs(15 * 60);

/// An answer as it came, and what we make of it.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    pub(crate) status: u16,
    pub(crate) document: Value,
    pub(crate) value: T,
}

/// Calls of one service.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Option<Duration>,
    retries: u32,
}

impl Client {
    /// Opens nothing yet.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub(crate) fn new(connection: &Connection) -> Result<Self, ClientError> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &connection.token {
            let mut value = HeaderValue::from_str(token.expose_secret())
                .map_err(|_| ClientError::Setting("the token cannot be sent in a header".into()))?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static("x-ops-token"), value);
        }
        let tls = tls::config(connection.url.scheme() == "https", connection.ca.as_deref())?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(headers)
            .user_agent(concat!("opsctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            // A redirect or a proxy of the environment would hand the token to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| ClientError::Setting(error::sentence(&error)))?;
        Ok(Self {
            http,
            base: connection.url.clone(),
            timeout: connection.timeout,
            retries: connection.retries,
        })
    }

    /// The instant until which a read is waited for.
    fn read_deadline(&self) -> Instant {
        Instant::now() + self.timeout.unwrap_or(READ)
    }

    /// The instant until which long work is waited for.
    pub(crate) fn long_deadline(&self) -> Instant {
        Instant::now() + self.timeout.unwrap_or(LONG)
    }

    /// The instant until which a stream is read, if it is bounded at all.
    pub(crate) fn stream_deadline(&self) -> Option<Instant> {
        self.timeout.map(|timeout| Instant::now() + timeout)
    }

    /// The address of a route: the base with its prefix, then the segments, whatever characters they hold.
    fn address(&self, segments: &[&str], query: &[(&str, String)]) -> Result<Url, ClientError> {
        let mut url = self.base.clone();
        for segment in segments {
            // These would name another route.
            if segment.is_empty() || *segment == "." || *segment == ".." {
                return Err(ClientError::Setting(format!("{segment:?} is no name")));
            }
        }
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments),
            Err(()) => return Err(ClientError::Setting("the address has no path".into())),
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    fn request(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<RequestBuilder, ClientError> {
        let request = self.http.request(method, self.address(segments, query)?);
        Ok(match body {
            Some(body) => request.json(body),
            None => request,
        })
    }

    /// Reads a document.
    async fn get<T: DeserializeOwned>(
        &self,
        segments: &[&str],
        query: &[(&str, String)],
    ) -> Result<Answer<T>, ClientError> {
        let request = self.request(Method::GET, segments, query, None)?;
        let answer = self.send(request, self.read_deadline(), false).await?;
        accept(answer)
    }

    /// Changes something, and reads what came of it.
    async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
        deadline: Instant,
    ) -> Result<Answer<T>, ClientError> {
        let none = Value::Object(serde_json::Map::new());
        // A JSON content type also where there is nothing to say: a form cannot set it.
        let request = self.request(method, segments, &[], Some(body.unwrap_or(&none)))?;
        let answer = self.send(request, deadline, true).await?;
        accept(answer)
    }

    /// Sends, again after a pause where the service is busy and says when to come back, and reads the whole answer.
    async fn send(
        &self,
        request: RequestBuilder,
        deadline: Instant,
        effect: bool,
    ) -> Result<Raw, ClientError> {
        let mut tries = 0;
        loop {
            let again = request.try_clone();
            let answer = self.send_once(request_or(again)?, deadline, effect).await?;
            let pause = answer.pause().filter(|_| tries < self.retries);
            match pause.map(|pause| pause.min(LONGEST_PAUSE)) {
                Some(pause) if Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                    tries += 1;
                }
                _ => return Ok(answer),
            }
        }
    }

    async fn send_once(
        &self,
        request: RequestBuilder,
        deadline: Instant,
        effect: bool,
    ) -> Result<Raw, ClientError> {
        let exchange = async {
            let response = request
                .send()
                .await
                .map_err(|error| error::of_sending(&error, &self.base, effect))?;
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = read(response, effect).await?;
            Ok(Raw {
                status,
                headers,
                body,
            })
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TimedOut {
                what: "the service did not answer in time".into(),
            }),
        }
    }
}

fn request_or(request: Option<RequestBuilder>) -> Result<RequestBuilder, ClientError> {
    request.ok_or_else(|| ClientError::Setting("the request cannot be sent twice".into()))
}

/// Reads a body that is not longer than it may be.
async fn read(mut response: Response, effect: bool) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|_| ClientError::Cut { sent_effect: effect })?
    {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(ClientError::TooLong { limit: MAX_BODY });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// An answer before anything is made of it.
struct Raw {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Raw {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn retry_after_secs(&self) -> Option<u64> {
        self.header(RETRY_AFTER.as_str())
            .and_then(|value| value.trim().parse().ok())
    }

    /// How long to wait before the same call may succeed; none where that would not help.
    fn pause(&self) -> Option<Duration> {
        matches!(self.status, 409 | 423 | 429)
            .then(|| self.retry_after_secs())
            .flatten()
            .map(Duration::from_secs)
    }

    fn document(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    fn refusal(&self) -> Refusal {
        let document = self.document().filter(Value::is_object);
        Refusal::read(
            self.status,
            document,
            self.header("x-request-id"),
            self.retry_after_secs(),
        )
    }
}

/// A success as its type, anything else as a refusal.
fn accept<T: DeserializeOwned>(answer: Raw) -> Result<Answer<T>, ClientError> {
    if !(200..300).contains(&answer.status) {
        return Err(ClientError::Refused(Box::new(answer.refusal())));
    }
    typed(&answer)
}

fn typed<T: DeserializeOwned>(answer: &Raw) -> Result<Answer<T>, ClientError> {
    let unreadable = |why: serde_json::Error| ClientError::Unreadable { why: why.to_string() };
    let document: Value = serde_json::from_slice(&answer.body).map_err(unreadable)?;
    let value = T::deserialize(&document).map_err(unreadable)?;
    Ok(Answer {
        status: answer.status,
        document,
        value,
    })
}

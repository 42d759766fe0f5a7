//! What every answer has in common: the id of its call, and the headers that keep browsers from doing harm with it.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::ErrorFields;

/// By which a caller names its call, and we name ours.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a call; an extension of every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    /// The caller's own, if it is one that can stand in a log line; else a fresh one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut sent = headers.get_all(REQUEST_ID).iter();
        match (sent.next(), sent.next()) {
            (Some(id), None) if is_plain(id.as_bytes()) => Self(id.clone()),
            _ => Self::fresh(),
        }
    }

    fn fresh() -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self(HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unknown")))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("unknown")
    }
}

/// 1 to 128 characters of `A-Za-z0-9._:-`.
fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._:-".contains(byte);
    (1..=128).contains(&id.len()) && id.iter().all(plain)
}

/// Gives the call its id: in the request, in each line logged meanwhile, in the answer's header, and in its body if
/// that is an error.
pub(crate) async fn named(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    // At the level of errors, so that no filter takes the span away from the lines within it.
    let span = tracing::error_span!(
        "request",
        request.id = id.as_str(),
        caller = tracing::field::Empty
    );
    let mut response = next.run(request).instrument(span).await;
    if let Some(fields) = response.extensions_mut().remove::<ErrorFields>() {
        let mut body = (*fields.0).clone();
        body.insert("requestId".to_owned(), Value::from(id.as_str()));
        let bytes = Value::Object(body).to_string();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(bytes);
    }
    response.headers_mut().insert(REQUEST_ID, id.0);
    response
}

/// Answers are for the caller who asked: not to be kept, framed, or taken for what they do not say they are.
pub(crate) async fn kept_apart(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_echoed_only_when_it_can_stand_in_a_log_line() {
        let of = |sent: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for id in sent {
                headers.append(REQUEST_ID, HeaderValue::from_bytes(id).unwrap());
            }
            RequestId::of(&headers).as_str().to_owned()
        };
        assert_eq!(of(&[b"a.B_9:-"]), "a.B_9:-");
        assert_eq!(of(&[&[b'x'; 128]]).len(), 128);
        let long = [b'x'; 129];
        for bad in [
            &[][..],
            &[&b""[..]],
            &[&long],
            &[b"a b"],
            &[b"a\tb"],
            &[b"\xfc"],
            &[b"one", b"two"],
        ] {
            let id = of(bad);
            assert_eq!(id.len(), 32, "{bad:?} gave {id}");
            assert_ne!(id, of(bad), "a fresh one each time");
        }
    }
}

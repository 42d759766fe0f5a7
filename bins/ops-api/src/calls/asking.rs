//! How a call is asked for: by whom, whether its caller waits, and under which key.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use call_journal::IdempotencyKey;
use lab_model::is_false_word;

use crate::answers::RequestId;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::limits::OperationPlace;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// All that a call's headers and query say about the way it is carried out.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(super) caller: Arc<str>,
    pub(super) request_id: Option<String>,
    pub(super) wants_async: bool,
    pub(super) key: Option<IdempotencyKey>,
    /// Held until the work is over, however long the caller stays.
    pub(super) place: Option<OperationPlace>,
}

impl<S: Send + Sync> FromRequestParts<S> for Asking {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let extensions = &parts.extensions;
        let caller = extensions.get::<Caller>();
        Ok(Self {
            caller: caller.map_or_else(|| "anybody".into(), |caller| Arc::clone(&caller.name)),
            request_id: extensions.get::<RequestId>().map(|id| id.as_str().to_owned()),
            wants_async: prefers_async(&parts.headers) || asks_async(parts.uri.query()),
            key: key(&parts.headers).map_err(IntoResponse::into_response)?,
            place: extensions.get::<OperationPlace>().cloned(),
        })
    }
}

/// `Prefer: respond-async`, among others.
///
/// Source: RFC 7240; preferences are compared without regard to case, and may stand in several lines.
fn prefers_async(headers: &HeaderMap) -> bool {
    let lines = headers
        .get_all(PREFER)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut words = lines.flat_map(|line| line.split(',')).map(|word| {
        let word = word.split([';', '=']).next().unwrap_or_default();
        word.trim().to_owned()
    });
    words.any(|word| word.eq_ignore_ascii_case("respond-async"))
}

/// `?async=true`, with the false words of the contract.
fn asks_async(query: Option<&str>) -> bool {
    let pairs = query.unwrap_or_default().split('&');
    let mut values = pairs.filter_map(|pair| pair.strip_prefix("async="));
    values.any(|value| !value.is_empty() && !is_false_word(value))
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut sent = headers.get_all(KEY).iter();
    let Some(first) = sent.next() else {
        return Ok(None);
    };
    if sent.next().is_some() {
        return Err(ApiError::field("Idempotency-Key", "is there more than once"));
    }
    let text = first.to_str().unwrap_or_default();
    let key = IdempotencyKey::parse(text);
    key.map(Some)
        .map_err(|problem| ApiError::field("Idempotency-Key", problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_caller_that_does_not_wait_says_so_by_header_or_by_query() {
        for line in ["respond-async", "wait=10, Respond-Async", "respond-async; x=1"] {
            assert!(prefers_async(&headers(&[("prefer", line)])), "{line}");
        }
        assert!(prefers_async(&headers(&[
            ("prefer", "wait=5"),
            ("prefer", "respond-async")
        ])));
        assert!(!prefers_async(&headers(&[(
            "prefer",
            "return=minimal, not-respond-async"
        )])));
        assert!(!prefers_async(&headers(&[])));
        for (query, wanted) in [
            ("async=true", true),
            ("a=b&async=1", true),
            ("async=false", false),
            ("async=", false),
            ("async", false),
        ] {
            assert_eq!(asks_async(Some(query)), wanted, "{query}");
        }
    }

    #[test]
    fn a_key_is_one_and_printable() {
        assert_eq!(key(&headers(&[])).unwrap(), None);
        assert_eq!(
            key(&headers(&[("idempotency-key", "a-1")]))
                .unwrap()
                .unwrap()
                .as_str(),
            "a-1"
        );
        assert!(key(&headers(&[("idempotency-key", "a"), ("idempotency-key", "a")])).is_err());
        assert!(key(&headers(&[("idempotency-key", "")])).is_err());
    }
}

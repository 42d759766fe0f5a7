//! Who may call: the token of `OPS_SECRET`, in the header `X-Ops-Token` or, only without that header, in the
//! cookie `ops_token`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::error::ApiError;

/// Checks tokens in a time that does not depend on how much of them is right.
#[derive(Clone)]
pub(crate) struct TokenCheck {
    /// Digests have one length, so comparing them does not even show how long the token is.
    digest: Option<[u8; 32]>,
}

impl TokenCheck {
    /// Without a secret every caller passes; the service then listens on loopback only.
    pub(crate) fn new(secret: Option<&SecretString>) -> Self {
        Self {
            digest: secret.map(|secret| Sha256::digest(secret.expose_secret()).into()),
        }
    }

    fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(expected) = self.digest else { return true };
        let sent = match headers.get("x-ops-token") {
            Some(token) => Some(token.as_bytes().to_vec()),
            None => cookie(headers, "ops_token"),
        };
        let digest: [u8; 32] = Sha256::digest(sent.unwrap_or_default()).into();
        digest.ct_eq(&expected).into()
    }
}

fn cookie(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    pairs
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"').as_bytes().to_vec())
}

/// Lets a request through with the right token only.
pub(crate) async fn require_token(State(check): State<TokenCheck>, request: Request, next: Next) -> Response {
    if check.allows(request.headers()) {
        return next.run(request).await;
    }
    tracing::warn!(path = %request.uri().path(), "refused a call without the right token");
    ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized").into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn the_token_passes_by_header_or_by_cookie_and_the_header_wins() {
        let check = TokenCheck::new(Some(&"s3cret".into()));
        assert!(check.allows(&headers(&[("x-ops-token", "s3cret")])));
        assert!(check.allows(&headers(&[("cookie", "a=b; ops_token=s3cret; c=d")])));
        assert!(!check.allows(&headers(&[
            ("x-ops-token", "wrong"),
            ("cookie", "ops_token=s3cret")
        ])));
        assert!(!check.allows(&headers(&[("cookie", "ops_token=s3cre")])));
        assert!(!check.allows(&headers(&[])));
    }

    #[test]
    fn without_a_secret_everyone_passes() {
        assert!(TokenCheck::new(None).allows(&headers(&[])));
    }
}

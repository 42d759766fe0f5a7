//! `POST /api/session`: a cookie for a browser, in exchange for a token.

use axum::extract::{OriginalUri, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::{DateTime, SecondsFormat};
use ops_runtime::http::Peer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::auth::{COOKIE, Caller, LONGEST_SESSION_SECS, Role, SHORTEST_SESSION_SECS};
use crate::body::Body;
use crate::error::{ApiError, ErrorBody};

const USUAL_SECS: u32 = 3600;

/// How the session should be; all may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes the body, which is read field by field")]
pub(crate) struct SessionRequest {
    /// For how long, in seconds.
    #[schema(example = 3600, minimum = 60, maximum = 43200, default = 3600)]
    ttl_secs: Option<u32>,
    /// What it may do; the caller's own role when it is left out.
    #[schema(example = "viewer")]
    role: Option<Role>,
}

/// The session that the cookie stands for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionAnswer {
    /// What it may do.
    role: Role,
    /// When it ends.
    #[schema(example = "2026-03-01T10:00:00.000Z", format = DateTime)]
    expires_at: String,
}

/// Gives a cookie with at most the caller's own role
///
/// A session cannot outlive the one it was asked for with.
#[utoipa::path(
    post,
    path = "/api/session", operation_id = "open_session",
    tag = "service",
    request_body = SessionRequest,
    responses(
        (status = 200, description = "The cookie is in `Set-Cookie`.", body = SessionAnswer,
            headers(("Set-Cookie" = String, description = "`ops_token`, HttpOnly and Secure"))),
        (status = 409, description = "No `OPS_SECRET` is set from which a cookie could be made.", body = ErrorBody)
    )
)]
pub(crate) async fn open(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    peer: Option<Extension<Peer>>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let ttl = body.whole("ttlSecs", SHORTEST_SESSION_SECS..=LONGEST_SESSION_SECS)?;
    let role = body.parsed("role", |name| {
        Role::find(name).ok_or("must be viewer, operator or admin")
    })?;
    let role = role.unwrap_or(caller.role);
    if role > caller.role {
        let text = format!("the role {} is greater than the caller's own", role.as_str());
        return Err(ApiError::new(StatusCode::FORBIDDEN, "role_too_small", text));
    }
    let Some(key) = app.gate.check.sessions() else {
        let text = "OPS_SECRET is not set, from which session cookies are made";
        return Err(ApiError::new(StatusCode::CONFLICT, "sessions_off", text));
    };
    let now = app.gate.check.now();
    let wanted = now + i64::from(ttl.unwrap_or(USUAL_SECS));
    let until = caller.session_until.map_or(wanted, |until| until.min(wanted));
    let peer = peer.map(|Extension(peer)| peer);
    let below_prefix = app.gate.trust.below_prefix(peer, &headers, uri.path());
    let path = if below_prefix { "/ops/" } else { "/" };
    let cookie = format!(
        "{COOKIE}={}; Path={path}; Max-Age={}; HttpOnly; Secure; SameSite=Lax",
        key.mint(role, until),
        until - now
    );
    let cookie = HeaderValue::from_str(&cookie).map_err(|_| ApiError::internal())?;
    let expires_at = DateTime::from_timestamp(until, 0).ok_or_else(ApiError::internal)?;
    let answer = SessionAnswer {
        role,
        expires_at: expires_at.to_rfc3339_opts(SecondsFormat::Millis, true),
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(answer)).into_response())
}

//! The door before every guarded route: token, role, rate, origin; for what changes something also a place, the body
//! within its bounds, and the audit trail.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ops_runtime::SiteHandle;
use tracing::Instrument as _;

use super::peer::Trust;
use super::tokens::{TokenCheck, Unknown};
use super::{Caller, Role, origin};
use crate::audit::{Auditor, Change};
use crate::error::{ApiError, ErrorFields};
use crate::limits::{Failures, Operations, Rate};

/// What all doors share; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) check: TokenCheck,
    pub(crate) trust: Trust,
    failures: Failures,
    rate: Rate,
    operations: Operations,
    allowed_hosts: Arc<[String]>,
    body_timeout: Duration,
    body_max: usize,
    /// How long a question may take, of which only the database can take long.
    read_timeout: Duration,
    handle: SiteHandle,
    auditor: Auditor,
}

impl Gate {
    /// As the settings say.
    pub(crate) fn new(handle: &SiteHandle, check: TokenCheck) -> Self {
        let access = &handle.settings().api.access;
        Self {
            check,
            trust: Trust::new(&access.trusted_proxies),
            failures: Failures::default(),
            rate: Rate::new(access.limits.calls_per_minute),
            operations: Operations::new(access.limits.operations),
            allowed_hosts: access.allowed_hosts.clone().into(),
            body_timeout: access.limits.body_timeout,
            body_max: access.limits.body_max,
            read_timeout: access.limits.read_timeout,
            handle: handle.clone(),
            auditor: Auditor::new(handle.clone()),
        }
    }

    /// Who calls, as far as that may be asked: wrong tokens are counted for the address they come from.
    pub(crate) fn known(&self, request: &Request) -> Result<Caller, ApiError> {
        let from = self.trust.stranger(request);
        from.map_or(Ok(()), |from| self.failures.check(from))?;
        self.check.caller(request.headers()).map_err(|unknown| {
            if let (Some(from), Unknown::Token | Unknown::Internal) = (from, unknown) {
                self.failures.note(from);
            }
            match unknown {
                Unknown::Absent | Unknown::Token => ApiError::unauthorized(),
                // As callers behind such a proxy know it.
                Unknown::Internal => ApiError::unauthorized().with("success", false),
            }
        })
    }

    /// Who calls, if that caller may make this call now.
    fn enter(&self, request: &Request, role: Role) -> Result<Caller, Refused> {
        let unknown = |error| Refused { caller: None, error };
        let caller = self.known(request).map_err(unknown)?;
        tracing::Span::current().record("caller", &*caller.name);
        let checked = if caller.role < role {
            let text = format!("this needs the role {}", role.as_str());
            Err(ApiError::new(StatusCode::FORBIDDEN, "role_too_small", text))
        } else {
            self.rate
                .count(&caller)
                .and_then(|()| origin::check(request, &caller, &self.trust, &self.allowed_hosts))
        };
        match checked {
            Ok(()) => Ok(caller),
            Err(error) => Err(Refused {
                caller: Some(caller),
                error,
            }),
        }
    }

    /// The answer to a question, or a refusal when it takes too long. What follows the head of an answer, such as the
    /// events of a stream, has its own time.
    async fn answered(&self, answering: impl Future<Output = Response>) -> Response {
        match tokio::time::timeout(self.read_timeout, answering).await {
            Ok(answer) => answer,
            Err(_) => {
                if let Some(site) = self.handle.current() {
                    site.database.miss();
                }
                ApiError::database_late(self.read_timeout).into_response()
            }
        }
    }

    /// The whole body, within its time and length.
    async fn body(&self, body: Body) -> Result<Bytes, ApiError> {
        let reading = Limited::new(body, self.body_max).collect();
        match tokio::time::timeout(self.body_timeout, reading).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is longer than {} bytes", self.body_max),
            )),
            Ok(Err(_)) => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                "the body ends too early",
            )),
            Err(_) => Err(ApiError::new(
                StatusCode::REQUEST_TIMEOUT,
                "body_timeout",
                "the body did not arrive in time",
            )),
        }
    }
}

struct Refused {
    caller: Option<Caller>,
    error: ApiError,
}

/// The door of one route.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) gate: Gate,
    pub(crate) role: Role,
}

/// Lets a request through with a token whose role is great enough, within the caller's limits.
pub(crate) async fn admit(
    State(Door { gate, role }): State<Door>,
    route: MatchedPath,
    names: RawPathParams,
    mut request: Request,
    next: Next,
) -> Response {
    let changes = !request.method().is_safe();
    match gate.enter(&request, role) {
        Ok(caller) if !changes => {
            request.extensions_mut().insert(caller);
            gate.answered(next.run(request)).await
        }
        Ok(caller) => {
            let change = Change::new(&request, &route, &names, &caller, &gate.trust);
            let changed = change_something(&gate, change, caller, request, next).await;
            changed.unwrap_or_else(IntoResponse::into_response)
        }
        Err(Refused { caller, error }) => {
            tracing::warn!(path = %request.uri().path(), code = error.code(), "refused a call");
            let denied = matches!(error.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if changes && denied {
                let is_known = caller.is_some();
                let caller = caller.unwrap_or_else(Caller::unknown);
                let change = Change::new(&request, &route, &names, &caller, &gate.trust);
                gate.auditor.refused(change, &error, is_known);
            }
            error.into_response()
        }
    }
}

/// In a task of its own, so that a caller who hangs up does not stop the work halfway, and its outcome is known.
async fn change_something(
    gate: &Gate,
    mut change: Change,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    // First, so that a body that trickles in takes nobody's place.
    let body = gate.body(body).await?;
    let place = gate.operations.enter()?;
    change.read(&body);
    parts.extensions.insert(caller);
    parts.extensions.insert(place.clone());
    let request = Request::from_parts(parts, Body::from(body));
    let auditor = gate.auditor.clone();
    let working = async move {
        let begun = auditor.begin(change).await;
        // A panic in a handler is an outcome as well, and has to be in the trail.
        let handled = tokio::spawn(next.run(request).in_current_span()).await;
        let response = handled.unwrap_or_else(|_| ApiError::internal().into_response());
        let code = response.extensions().get::<ErrorFields>().map(ErrorFields::code);
        auditor.end(begun, response.status(), code).await;
        drop(place);
        response
    };
    let working = tokio::spawn(working.in_current_span());
    working.await.map_err(|_| ApiError::internal())
}

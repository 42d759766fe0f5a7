//! What a caller is told when something is refused or fails: JSON, a stable code, never a library's own text.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What every refusal and every failure looks like. Some carry more fields beside these, for example `host` and
/// `holder` of a host that is busy.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// One sentence for people. Its words may change, except where the older contract fixes them.
    #[schema(example = "guardGrace must be a number from 0 to 3600, is \"soon\"")]
    pub(crate) error: String,
    /// One stable word for programs.
    #[schema(example = "invalid_field")]
    pub(crate) code: String,
    /// The id of this call, as in the header `X-Request-ID` and in the log.
    #[schema(example = "5f0c3c1e9a7b4d52a1f3b3a6d0c9e871", max_length = 128)]
    pub(crate) request_id: String,
    /// The field of the body or of the query that is at fault.
    #[schema(example = "guardGrace")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) field: Option<String>,
}

/// The fields of an error, beside the answer that was made of them: the id of the call is added on the way out, and
/// the audit trail reads the code.
#[derive(Debug, Clone)]
pub(crate) struct ErrorFields(pub(crate) Arc<Map<String, Value>>);

impl ErrorFields {
    /// The stable word.
    pub(crate) fn code(&self) -> &str {
        self.0.get("code").and_then(Value::as_str).unwrap_or_default()
    }
}

/// An answer that is not the one the caller hoped for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
    retry_after_secs: Option<u64>,
    /// `WWW-Authenticate`, which a 401 has to have.
    challenge: bool,
}

impl ApiError {
    /// `error` is the sentence, `code` the stable word for programs.
    pub(crate) fn new(status: StatusCode, code: &str, error: impl Into<String>) -> Self {
        let mut body = Map::new();
        body.insert("error".into(), Value::String(error.into()));
        body.insert("code".into(), Value::String(code.into()));
        Self {
            status,
            body,
            retry_after_secs: None,
            challenge: false,
        }
    }

    /// No token, or none that is known; the contract fixes the sentence.
    pub(crate) fn unauthorized() -> Self {
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized");
        refusal.challenge = true;
        refusal
    }

    /// A value of the request that cannot be used; nothing was done.
    pub(crate) fn field(field: &str, problem: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_field",
            format!("{field} {problem}"),
        )
        .with("field", field)
    }

    /// Something the contract words exactly, with status 400.
    pub(crate) fn required(error: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "missing_field", error)
    }

    /// The database does not answer now; nothing was done that could not be recorded.
    pub(crate) fn database_unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database_unavailable",
            "Database not available",
        )
        .retry_after(5)
    }

    /// The database has not answered a question in time.
    pub(crate) fn database_late(waited: Duration) -> Self {
        let waited = waited.as_secs();
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "database_unavailable",
            format!("Database not available: no answer within {waited} s"),
        )
        .retry_after(5)
    }

    /// The process is on its way down.
    pub(crate) fn stopping() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the service is stopping",
        )
        .retry_after(10)
    }

    /// A fault of ours; the log has the details.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "Internal server error",
        )
    }

    /// Adds a field to the answer.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.into(), value.into());
        self
    }

    /// Says when trying again makes sense.
    pub(crate) fn retry_after(mut self, secs: u64) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }

    /// The status it is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable word.
    pub(crate) fn code(&self) -> &str {
        self.body.get("code").and_then(Value::as_str).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn body(&self) -> Map<String, Value> {
        self.body.clone()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let fields = ErrorFields(Arc::new(self.body));
        let mut response = (self.status, Json(&*fields.0)).into_response();
        response.extensions_mut().insert(fields);
        if self.challenge {
            let scheme = HeaderValue::from_static("Bearer realm=\"lab-ops\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(header::RETRY_AFTER, secs.into());
        }
        response
    }
}

impl From<reservation_engine::StoreError> for ApiError {
    fn from(error: reservation_engine::StoreError) -> Self {
        use reservation_engine::StoreError;
        match &error {
            StoreError::Unavailable(_) => Self::database_unavailable(),
            StoreError::Fenced { host } => Self::new(
                StatusCode::CONFLICT,
                "claim_lost",
                "another worker took over the host",
            )
            .with("host", host.as_str()),
            StoreError::Refused { .. } => {
                tracing::error!(error = %ops_runtime::Chain(&error), "the database refused a statement");
                Self::internal()
            }
        }
    }
}

impl From<heartbeat_store::HeartbeatStoreError> for ApiError {
    fn from(error: heartbeat_store::HeartbeatStoreError) -> Self {
        use heartbeat_store::HeartbeatStoreError;
        match &error {
            HeartbeatStoreError::Unavailable(_) => Self::database_unavailable(),
            HeartbeatStoreError::Refused { .. } => {
                tracing::error!(error = %ops_runtime::Chain(&error), "the database refused a statement");
                Self::internal()
            }
        }
    }
}

/// Puts refusals of the framework itself (a body that is too long, a query that cannot be read) into JSON as well.
pub(crate) async fn in_json(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    if status.is_success() || kind.is_some_and(|kind| kind == "application/json") {
        return response;
    }
    // A redirect, or an answer without a body such as 304, is no error.
    if status.is_redirection() || status.is_informational() {
        return response;
    }
    let (code, text) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is too long"),
        _ => ("bad_request", "the request cannot be read"),
    };
    ApiError::new(status, code, text).into_response()
}

/// An unknown path, in JSON.
pub(crate) async fn not_found() -> Response {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "Not found").into_response()
}

/// A known path with another method, in JSON.
pub(crate) async fn wrong_method() -> Response {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Method not allowed",
    )
    .into_response()
}

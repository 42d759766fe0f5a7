//! What a caller is told when something is refused or fails: JSON, a stable code, never a library's own text.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

/// An answer that is not the one the caller hoped for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Map<String, Value>,
    retry_after_secs: Option<u64>,
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
        }
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

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    #[cfg(test)]
    pub(crate) fn body(&self) -> Map<String, Value> {
        self.body.clone()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Value::Object(self.body))).into_response();
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
    let (code, text) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is too long"),
        _ => ("bad_request", "the request cannot be read"),
    };
    ApiError::new(status, code, text).into_response()
}

/// An unknown path, in JSON.
pub(crate) async fn not_found() -> Response {
    (
        StatusCode::NOT_FOUND,
        Json(json!({"error": "Not found", "code": "not_found"})),
    )
        .into_response()
}

/// A known path with another method, in JSON.
pub(crate) async fn wrong_method() -> Response {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        Json(json!({"error": "Method not allowed", "code": "method_not_allowed"})),
    )
        .into_response()
}

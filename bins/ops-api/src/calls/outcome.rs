//! What comes of an order, before it is an answer of HTTP.

use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use call_journal::{CallEnd, CallId, CallState, StoredAnswer};
use serde_json::{Map, Value};

use crate::error::{ApiError, ErrorFields};

/// The doing of an order; it gets the id of the call it belongs to.
pub(crate) type Work = Box<dyn FnOnce(CallId) -> Doing + Send>;
/// The doing, under way.
pub(crate) type Doing = Pin<Box<dyn Future<Output = Result<(StatusCode, Value), Failure>> + Send>>;

/// Why an order was not carried out.
#[derive(Debug)]
pub(crate) struct Failure {
    error: ApiError,
    state: CallState,
    nothing_done: bool,
}

impl Failure {
    /// It was tried.
    pub(crate) fn tried(error: ApiError) -> Self {
        Self {
            error,
            state: CallState::Failed,
            nothing_done: false,
        }
    }

    /// Nothing was begun, so that the same may be asked for again under the same key.
    pub(crate) fn not_begun(error: ApiError) -> Self {
        Self {
            nothing_done: true,
            ..Self::tried(error)
        }
    }

    /// It was cut off.
    pub(crate) fn interrupted(error: ApiError) -> Self {
        Self {
            state: CallState::Interrupted,
            ..Self::tried(error)
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::tried(error)
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(super) state: CallState,
    status: StatusCode,
    body: Value,
    retry_after: Option<HeaderValue>,
    frees_key: bool,
}

impl Outcome {
    /// From what the work gave. Below 400 it succeeded.
    pub(super) fn of(done: Result<(StatusCode, Value), Failure>) -> Self {
        match done {
            Ok((status, body)) => Self {
                state: if status.as_u16() < 400 {
                    CallState::Succeeded
                } else {
                    CallState::Failed
                },
                status,
                body,
                retry_after: None,
                frees_key: false,
            },
            Err(failure) => Self {
                state: failure.state,
                frees_key: failure.nothing_done,
                ..Self::refused(failure.error)
            },
        }
    }

    /// From a refusal.
    pub(super) fn refused(error: ApiError) -> Self {
        let response = error.into_response();
        let fields = response.extensions().get::<ErrorFields>();
        Self {
            state: CallState::Failed,
            status: response.status(),
            body: Value::Object(fields.map(|fields| (*fields.0).clone()).unwrap_or_default()),
            retry_after: response.headers().get(header::RETRY_AFTER).cloned(),
            frees_key: false,
        }
    }

    /// From the journal.
    pub(super) fn stored(state: CallState, answer: StoredAnswer) -> Self {
        Self {
            state,
            status: StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            body: answer.body,
            retry_after: None,
            frees_key: false,
        }
    }

    /// For the journal.
    pub(super) fn end(&self) -> CallEnd {
        CallEnd {
            frees_key: self.frees_key,
            ..CallEnd::new(self.state, self.status.as_u16(), self.body.clone())
        }
    }

    /// The same, when nothing was begun.
    pub(super) fn freeing_key(self) -> Self {
        Self {
            frees_key: true,
            ..self
        }
    }

    /// Says in the answer that the database did not take it, where the answer says anything about that.
    pub(super) fn not_persisted(&mut self) {
        if let Some(persisted) = self.body.get_mut("persisted") {
            *persisted = Value::Bool(false);
        }
    }

    /// As the waiting caller gets it.
    pub(super) fn response(&self) -> Response {
        let mut response = (self.status, Json(&self.body)).into_response();
        if let Some(fields) = error_fields(&self.body) {
            response.extensions_mut().insert(ErrorFields(Arc::new(fields)));
        }
        if let Some(seconds) = &self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.clone());
        }
        response
    }
}

/// An error is known by its two fields; the answer of steps that failed has neither.
fn error_fields(body: &Value) -> Option<Map<String, Value>> {
    let map = body.as_object()?;
    (map.contains_key("error") && map.contains_key("code")).then(|| map.clone())
}

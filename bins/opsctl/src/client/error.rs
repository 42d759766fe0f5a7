//! Why a call did not give what was asked for.

use std::error::Error as _;
use std::fmt;

use serde_json::{Value, json};
use url::Url;

/// By what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The service answered, with a status that is no success.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No connection came about; nothing was sent.
    #[error("cannot reach {address}: {why}")]
    Unreachable { address: String, why: String },
    /// The connection broke before the answer was complete.
    #[error("the connection broke before the answer was complete")]
    Cut { sent_effect: bool },
    /// Nobody answered within the time that was given.
    #[error("{what}")]
    TimedOut { what: String },
    /// An answer that is longer than any should be.
    #[error("the answer is longer than {} MiB", .limit / (1024 * 1024))]
    TooLong { limit: usize },
    /// An answer that is not what the API describes.
    #[error("the answer cannot be read: {why}")]
    Unreadable { why: String },
    /// Something that was given cannot be used.
    #[error("{0}")]
    Setting(String),
}

impl ClientError {
    /// The error as a document, for programs.
    pub(crate) fn document(&self) -> Value {
        match self {
            Self::Refused(refusal) => refusal.document(),
            other => json!({"error": other.to_string(), "code": other.code()}),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Cut { .. } => "connection_cut",
            Self::TimedOut { .. } => "timed_out",
            Self::TooLong { .. } => "answer_too_long",
            Self::Unreadable { .. } => "answer_unreadable",
            Self::Setting(_) => "usage",
        }
    }
}

/// Problems of one file that are listed.
const MOST_PROBLEMS: usize = 50;

/// What the service said instead.
#[derive(Debug, Clone, Default, PartialEq, thiserror::Error)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) field: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) retry_after_secs: Option<u64>,
    /// The answer's own document.
    pub(crate) body: Option<Value>,
}

impl Refusal {
    /// Takes apart the answer's document, if it has one.
    pub(super) fn read(
        status: u16,
        document: Option<Value>,
        request_id: Option<&str>,
        retry_after_secs: Option<u64>,
    ) -> Self {
        let text = |key: &str| document.as_ref()?.get(key)?.as_str().map(str::to_owned);
        Self {
            status,
            error: text("error"),
            code: text("code"),
            field: text("field"),
            request_id: text("requestId").or_else(|| request_id.map(str::to_owned)),
            retry_after_secs,
            body: document,
        }
    }

    /// Whether a proxy answered because the service did not.
    pub(crate) fn is_a_proxys(&self) -> bool {
        match self.code.as_deref() {
            None => matches!(self.status, 502 | 504),
            Some(code) => matches!((self.status, code), (502 | 503, "unavailable") | (504, "timeout")),
        }
    }

    /// What is wrong with a file that was refused, a line for each.
    pub(crate) fn problems(&self) -> Vec<String> {
        let problems = self
            .body
            .as_ref()
            .and_then(|body| body.get("problems")?.as_array());
        problems
            .into_iter()
            .flatten()
            .take(MOST_PROBLEMS)
            .map(problem)
            .collect()
    }

    fn document(&self) -> Value {
        let mut document = self
            .body
            .clone()
            .unwrap_or_else(|| json!({"error": self.sentence()}));
        if let Some(object) = document.as_object_mut() {
            object.insert("status".into(), self.status.into());
        }
        document
    }

    fn sentence(&self) -> String {
        match &self.error {
            Some(error) => error.clone(),
            None => format!("the service answered {}", self.status),
        }
    }
}

/// `host "lab-ws-01", key "address": is missing`
fn problem(problem: &Value) -> String {
    let text = |key: &str| problem.get(key).and_then(Value::as_str);
    let mut line = String::new();
    for key in ["host", "key"] {
        if let Some(name) = text(key) {
            let comma = if line.is_empty() { "" } else { ", " };
            line += &format!("{comma}{key} {name:?}");
        }
    }
    match text("message") {
        Some(message) if line.is_empty() => message.to_owned(),
        Some(message) => format!("{line}: {message}"),
        None => problem.to_string(),
    }
}

impl fmt::Display for Refusal {
    /// `host 'x' not found in config [unknown_host, field host, HTTP 404, request 5f2c]`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [", self.sentence())?;
        if let Some(code) = &self.code {
            write!(f, "{code}, ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "field {field}, ")?;
        }
        write!(f, "HTTP {}", self.status)?;
        if let Some(id) = &self.request_id {
            write!(f, ", request {id}")?;
        }
        write!(f, "]")
    }
}

/// What went wrong before an answer began.
pub(super) fn of_sending(error: &reqwest::Error, base: &Url, effect: bool) -> ClientError {
    if error.is_connect() || error.is_builder() {
        return ClientError::Unreachable {
            address: base.to_string(),
            why: sentence(error),
        };
    }
    ClientError::Cut { sent_effect: effect }
}

/// The innermost cause, which says most.
pub(super) fn sentence(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    // An outermost error of the library would repeat the whole address.
    match error.source() {
        Some(_) => cause.to_string(),
        None => "the request cannot be sent".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_all_that_is_known() {
        let body =
            json!({"error": "host is no name", "code": "invalid_field", "field": "host", "requestId": "r-1"});
        let refusal = Refusal::read(400, Some(body), Some("r-2"), None);
        assert_eq!(
            refusal.to_string(),
            "host is no name [invalid_field, field host, HTTP 400, request r-1]"
        );
        let bare = Refusal::read(502, None, Some("r-2"), None);
        assert_eq!(
            bare.to_string(),
            "the service answered 502 [HTTP 502, request r-2]"
        );
    }

    #[test]
    fn what_is_wrong_with_a_file_is_a_line_for_each_problem() {
        let body = json!({"error": "refused", "problems": [
            {"host": "ws", "key": "address", "message": "is missing"}, {"host": null, "message": "no JSON"}, 7]});
        let refusal = Refusal::read(500, Some(body), None, None);
        let lines = ["host \"ws\", key \"address\": is missing", "no JSON", "7"];
        assert_eq!(refusal.problems(), lines);
        assert!(Refusal::read(500, None, None, None).problems().is_empty());
    }

    #[test]
    fn as_a_document_a_refusal_is_what_the_service_said_and_its_status() {
        let refusal = Refusal::read(
            409,
            Some(json!({"error": "busy", "holder": "w-1"})),
            None,
            Some(3),
        );
        let document = ClientError::Refused(Box::new(refusal)).document();
        assert_eq!(document, json!({"error": "busy", "holder": "w-1", "status": 409}));
    }
}

//! Why something failed or waits, in a form that programs and operators can both read.

use serde::{Deserialize, Serialize};

/// A reason: a stable code, the rung of the wake ladder where there is one, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable and machine-readable, such as `wake_no_answer` or `local_mode`.
    pub code: String,
    /// Which rung of the wake ladder failed, such as `tcp_port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// One sentence for the operator, without secrets.
    pub detail: String,
}

impl Reason {
    /// Makes a reason without a rung.
    #[must_use]
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            rung: None,
            detail: detail.into(),
        }
    }

    /// Names the rung of the wake ladder that failed.
    #[must_use]
    pub fn at_rung(mut self, rung: &str) -> Self {
        self.rung = Some(rung.to_owned());
        self
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.rung {
            Some(rung) => write!(f, "{} ({} at rung {rung})", self.detail, self.code),
            None => write!(f, "{} ({})", self.detail, self.code),
        }
    }
}

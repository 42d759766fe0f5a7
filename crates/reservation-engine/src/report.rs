//! What a station answers, made in few words.

use std::time::Duration;

use serde_json::Value;

use crate::ports::{Observation, StepOutcome, StepReport};

impl StepReport {
    /// A report that has no code and no details, of a host that was not looked at on the way.
    #[must_use]
    pub fn new(outcome: StepOutcome, message: impl Into<String>, duration: Duration) -> Self {
        Self {
            outcome,
            message: message.into(),
            response_code: None,
            details: Value::Null,
            duration,
            observed: None,
        }
    }
}

impl Observation {
    /// A host that answered, of which nothing else is known.
    #[must_use]
    pub fn answering() -> Self {
        Self {
            reachable: true,
            ..Self::default()
        }
    }
}

//! Work that was handed over, and what came of it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Maintenance, list, loose};

documents! {
    /// `GET /api/operations/{id}`, and what an accepted call says of itself
    Operation {
        #[serde(deserialize_with = "loose")]
        id: Option<String>,
        kind: Option<String>,
        state: Option<String>,
        host: Option<String>,
        #[serde(deserialize_with = "loose")]
        reservation_id: Option<String>,
        #[serde(deserialize_with = "loose")]
        lab_id: Option<String>,
        caller: Option<String>,
        created_at: Option<DateTime<Utc>>,
        started_at: Option<DateTime<Utc>>,
        ended_at: Option<DateTime<Utc>>,
        #[serde(deserialize_with = "list")]
        steps: Vec<OperationStep>,
        answer: Option<Value>,
    }

    /// One try of a step of it
    OperationStep {
        step: Option<String>,
        attempt: Option<u32>,
        state: Option<String>,
        started_at: Option<DateTime<Utc>>,
        duration_ms: Option<u64>,
        reason: Option<Value>,
    }

    /// What every answer to an order may say besides
    Told {
        maintenance: Option<Maintenance>,
    }

    /// The answer of a start or end
    StepsAnswer {
        success: Option<bool>,
        #[serde(deserialize_with = "list")]
        steps: Vec<StepAnswer>,
    }

    /// One step of it
    StepAnswer {
        action: Option<String>,
        success: Option<bool>,
        message: Option<String>,
        duration_ms: Option<u64>,
        warnings: Option<bool>,
        details: Option<Value>,
    }
}

/// `POST /api/wol`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Woken {
    pub(crate) success: Option<bool>,
    pub(crate) attempts_used: Option<u64>,
    pub(crate) duration_ms: Option<u64>,
    pub(crate) ping_target: Option<String>,
}

/// `POST /api/winrm`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ran {
    pub(crate) exit_code: Option<i64>,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    pub(crate) duration_ms: Option<u64>,
}

impl Operation {
    /// Whether nothing more will happen.
    pub(crate) fn is_over(&self) -> bool {
        let state = self.state.as_deref();
        state.is_some_and(|state| !matches!(state, "queued" | "pending" | "running" | "checking" | "waiting"))
    }

    /// Whether it did what it was for.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(self.state.as_deref(), Some("succeeded" | "completed" | "done"))
    }
}

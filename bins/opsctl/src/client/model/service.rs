//! The service itself: its workers, its health, and who changed what.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{list, loose};

documents! {
    /// `GET /api/audit`
    Audit {
        #[serde(deserialize_with = "list")]
        entries: Vec<AuditEntry>,
        #[serde(deserialize_with = "loose")]
        next: Option<String>,
    }

    /// One entry of it
    AuditEntry {
        at: Option<DateTime<Utc>>,
        caller: Option<String>,
        role: Option<String>,
        from: Option<String>,
        action: Option<String>,
        subject: Option<String>,
        status: Option<u16>,
        code: Option<String>,
    }
}

/// `GET /api/workers`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WorkerList {
    #[serde(deserialize_with = "list")]
    pub(crate) workers: Vec<Worker>,
}

/// One worker; its keys have underscores.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Worker {
    pub(crate) name: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) alive: Option<bool>,
    pub(crate) started_at: Option<DateTime<Utc>>,
    pub(crate) heartbeat_age_ms: Option<u64>,
    pub(crate) running: Option<u64>,
}

/// `GET /health`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Health {
    pub(crate) status: Option<String>,
}

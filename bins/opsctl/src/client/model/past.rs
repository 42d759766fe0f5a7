//! How hosts were, and what happened at them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::list;

documents! {
    /// `GET /api/hosts/{name}/history`
    History {
        step_secs: Option<u64>,
        #[serde(deserialize_with = "list")]
        points: Vec<Point>,
    }

    /// One step of it
    Point {
        at: Option<DateTime<Utc>>,
        known_secs: Option<f64>,
        share: Option<f64>,
        last: Option<Value>,
        changes: Option<u64>,
    }

    /// `GET /api/hosts/{name}/hours`
    Hours {
        #[serde(deserialize_with = "list")]
        hours: Vec<Hour>,
    }

    /// One hour of it
    Hour {
        hour: Option<DateTime<Utc>>,
        polls: Option<u64>,
        failures: Option<u64>,
        boots: Option<u64>,
        known_secs: Option<f64>,
        ready_share: Option<f64>,
        local_secs: Option<f64>,
        latency_ms: Option<Latency>,
    }

    /// How long polls took
    Latency {
        p50: Option<f64>,
        p95: Option<f64>,
        p99: Option<f64>,
    }

    /// `GET /api/events`
    EventList {
        #[serde(deserialize_with = "list")]
        events: Vec<Value>,
        next: Option<i64>,
        more: Option<bool>,
    }

    /// One event of it
    Event {
        id: Option<i64>,
        host: Option<String>,
        kind: Option<String>,
        at: Option<DateTime<Utc>>,
        stored_at: Option<DateTime<Utc>>,
        payload: Option<Value>,
    }
}

//! Reservations, what becomes of them, and what was done for them.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Claim, list, loose, truth};

documents! {
    /// `GET /api/reservations`
    ReservationList {
        #[serde(deserialize_with = "list")]
        reservations: Vec<Booking>,
        #[serde(deserialize_with = "loose")]
        next: Option<String>,
    }

    /// One reservation, short
    Booking {
        #[serde(deserialize_with = "loose")]
        reservation_id: Option<String>,
        #[serde(deserialize_with = "loose")]
        lab_id: Option<String>,
        host: Option<String>,
        status: Option<String>,
        start: Option<DateTime<Utc>>,
        end: Option<DateTime<Utc>>,
    }

    /// `GET /api/reservations/{id}/explain`
    Explanation {
        #[serde(deserialize_with = "loose")]
        reservation_id: Option<String>,
        #[serde(deserialize_with = "loose")]
        lab_id: Option<String>,
        status: Option<String>,
        starts_at: Option<DateTime<Utc>>,
        ends_at: Option<DateTime<Utc>>,
        host: Option<String>,
        summary: Option<String>,
        next: Option<Next>,
        wait: Option<Wait>,
        last_failure: Option<LastFailure>,
        claim: Option<Claim>,
        lead: Option<EffectiveLead>,
    }

    /// `GET /api/hosts/{name}/explain`
    HostExplanation {
        host: Option<String>,
        presence: Option<String>,
        summary: Option<String>,
        next: Option<Next>,
        #[serde(deserialize_with = "loose")]
        next_for: Option<String>,
        claim: Option<Claim>,
        lead: Option<EffectiveLead>,
        #[serde(deserialize_with = "list")]
        reservations: Vec<Explanation>,
    }

    /// What happens next
    Next {
        what: Option<String>,
        at: Option<DateTime<Utc>>,
    }

    /// What is waited for
    Wait {
        code: Option<String>,
        detail: Option<String>,
        until: Option<DateTime<Utc>>,
    }

    /// Why the last try failed
    LastFailure {
        code: Option<String>,
        detail: Option<String>,
        rung: Option<String>,
        step: Option<String>,
        attempt: Option<u32>,
        at: Option<DateTime<Utc>>,
        gave_up: Option<bool>,
    }

    /// How early the host is woken, as the planner has it
    EffectiveLead {
        effective_secs: Option<f64>,
    }

    /// `GET /api/reservations/timeline`
    Timeline {
        reservation: Option<Booking>,
        host: Option<TimelineHost>,
        #[serde(deserialize_with = "list")]
        operations: Vec<Row>,
        under_way: Option<String>,
        heartbeat: Option<TimelineHeartbeat>,
        pagination: Option<Pagination>,
    }

    /// The host of a timeline
    TimelineHost {
        name: Option<String>,
    }

    /// The heartbeat of a timeline
    TimelineHeartbeat {
        timestamp: Option<DateTime<Utc>>,
        #[serde(deserialize_with = "truth")]
        ready: Option<bool>,
        #[serde(deserialize_with = "truth")]
        local_mode: Option<bool>,
        #[serde(deserialize_with = "truth")]
        local_session: Option<bool>,
    }

    /// One row of the history
    Row {
        #[serde(deserialize_with = "loose")]
        reservation_id: Option<String>,
        host: Option<String>,
        action: Option<String>,
        status: Option<String>,
        success: Option<bool>,
        message: Option<String>,
        response_code: Option<i64>,
        duration_ms: Option<u64>,
        created_at: Option<DateTime<Utc>>,
    }

    /// Which rows they are
    Pagination {
        offset: Option<u64>,
        returned: Option<u64>,
        total: Option<u64>,
        has_more: Option<bool>,
        next_offset: Option<u64>,
    }

    /// `GET /api/operations/recent`
    RecentOperations {
        #[serde(deserialize_with = "list")]
        operations: Vec<Row>,
        pagination: Option<Pagination>,
    }
}

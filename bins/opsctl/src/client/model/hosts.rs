//! Hosts and their heartbeats.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Booking, list, loose_list, truth};

documents! {
    /// `GET /api/hosts`
    HostList {
        #[serde(deserialize_with = "list")]
        hosts: Vec<Host>,
        generated_at: Option<DateTime<Utc>>,
    }

    /// One host of it, and `GET /api/hosts/{name}`
    Host {
        name: Option<String>,
        address: Option<String>,
        mac: Option<String>,
        #[serde(deserialize_with = "loose_list")]
        labs: Vec<String>,
        winrm: Option<Winrm>,
        liveness: Option<Liveness>,
        state: Option<StationState>,
        failures_in_row: Option<u64>,
        last_failure: Option<HostFailure>,
        maintenance: Option<Maintenance>,
        reservations: Option<Bookings>,
        claim: Option<Claim>,
        lead: Option<Lead>,
        config: Option<HostConfig>,
    }

    /// How the host is spoken to
    Winrm {
        transport: Option<String>,
        port: Option<u32>,
        tls: Option<bool>,
    }

    /// What matters here of the host's entry; the keys are those of `hosts.json`
    HostConfig {
        broadcast: Option<String>,
        #[serde(rename = "wol_port")]
        wol_port: Option<u32>,
    }

    /// How fresh the host is
    Liveness {
        verdict: Option<String>,
        reason: Option<String>,
        heartbeat_age_ms: Option<u64>,
    }

    /// What the station said last
    StationState {
        #[serde(deserialize_with = "truth")]
        ready: Option<bool>,
        #[serde(deserialize_with = "truth")]
        local_mode: Option<bool>,
        #[serde(deserialize_with = "truth")]
        local_session: Option<bool>,
        reported_at: Option<DateTime<Utc>>,
        clock_offset_ms: Option<i64>,
    }

    /// What went wrong on the host last
    HostFailure {
        code: Option<String>,
        text: Option<String>,
        at: Option<DateTime<Utc>>,
    }

    /// Why the host is out of use
    Maintenance {
        reason: Option<String>,
        owner: Option<String>,
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
    }

    /// Who has the host
    Bookings {
        current: Option<Booking>,
        next: Option<Booking>,
    }

    /// Who works on the host at this moment
    Claim {
        holder: Option<String>,
        left_ms: Option<u64>,
    }

    /// How early the host is woken
    Lead {
        ms: Option<u64>,
    }

    /// `POST /api/heartbeat/poll`
    Polled {
        heartbeat: Value,
        #[serde(rename = "last_event")]
        last_event: Option<Value>,
        #[serde(rename = "duration_ms")]
        duration_ms: Option<u64>,
        host: Option<String>,
        persisted: Option<bool>,
        #[serde(deserialize_with = "loose_list")]
        warnings: Vec<String>,
    }
}

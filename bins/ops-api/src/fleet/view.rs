//! One host as operators see it. Nothing here is a secret: what of the entry is shown is listed key by key.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use lab_model::Host;
use reservation_engine::Maintenance;
use serde::Serialize;
use utoipa::ToSchema;

/// A host of the catalog, how it was last seen, and who needs it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostView {
    /// Unique, whatever the case.
    #[schema(example = "lab-ws-01")]
    pub(crate) name: String,
    /// DNS name or IP address.
    #[schema(example = "10.0.0.11")]
    pub(crate) address: String,
    /// Hardware address for magic packets; null for a host that cannot be woken.
    #[schema(example = "00:11:22:33:44:55")]
    pub(crate) mac: Option<String>,
    /// The labs it serves.
    #[schema(example = json!(["7"]))]
    pub(crate) labs: Vec<String>,
    /// How remote commands reach it.
    pub(crate) winrm: WinrmView,
    /// The verdict on its heartbeats.
    pub(crate) liveness: LivenessView,
    /// What its last report said.
    pub(crate) state: StateView,
    /// How many polls failed since the last report.
    #[schema(example = 0)]
    pub(crate) failures_in_row: u32,
    /// Why the last poll failed; null after a good one.
    pub(crate) last_failure: Option<FailureView>,
    /// Why no reservation is started on it, when somebody said so.
    pub(crate) maintenance: Option<MaintenanceView>,
    /// What runs on it and what comes next, seven days ahead.
    pub(crate) reservations: ReservationsView,
    /// Who works on it at this moment.
    pub(crate) claim: Option<ClaimView>,
    /// How early it is woken.
    pub(crate) lead: LeadView,
}

/// How remote commands reach a host.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct WinrmView {
    /// `ntlm`, `negotiate`, `kerberos`, `certificate` or `basic`.
    #[schema(example = "ntlm")]
    pub(crate) transport: String,
    /// TCP port.
    #[schema(example = 5986)]
    pub(crate) port: u16,
    /// Whether the connection is TLS.
    pub(crate) tls: bool,
}

/// The verdict on a host's heartbeats.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LivenessView {
    /// `fresh`, `stale`, `silent`, `expected-off`, `never-seen`; `unknown` while the database does not answer.
    #[schema(example = "fresh")]
    pub(crate) verdict: &'static str,
    /// One line for people; its wording may change.
    #[schema(example = "it reported 12 s ago")]
    pub(crate) reason: String,
    /// How long ago the last report came, by our clock, when this was made; null when none ever did.
    #[schema(example = 12000)]
    pub(crate) heartbeat_age_ms: Option<u64>,
}

/// What a station last said of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateView {
    /// Whether it was ready for a session.
    pub(crate) ready: Option<bool>,
    /// Whether it was in local mode.
    pub(crate) local_mode: Option<bool>,
    /// Whether somebody sat at it.
    pub(crate) local_session: Option<bool>,
    /// When it wrote that, by its own clock.
    #[schema(example = "2026-03-01T09:00:00.000Z")]
    pub(crate) reported_at: Option<String>,
    /// When we read it, by our clock.
    #[schema(example = "2026-03-01T09:00:02.125Z")]
    pub(crate) observed_at: Option<String>,
    /// How far its stamp was ahead of ours, the report's age included; negative when behind.
    #[schema(example = -2125)]
    pub(crate) clock_offset_ms: Option<i64>,
}

/// Why a poll failed.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct FailureView {
    /// A stable word.
    #[schema(example = "unauthorized")]
    pub(crate) code: String,
    /// One line for people.
    #[schema(example = "the host refused the credentials")]
    pub(crate) text: String,
    /// When.
    #[schema(example = "2026-03-01T09:00:02.125Z")]
    pub(crate) at: Option<String>,
}

/// Why no reservation is started on a host.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct MaintenanceView {
    /// Why.
    #[schema(example = "robot arm is being replaced")]
    pub(crate) reason: String,
    /// Who said so.
    #[schema(example = "ana.ruiz")]
    pub(crate) owner: String,
    /// Since when.
    #[schema(example = "2026-03-01T08:12:30.250Z")]
    pub(crate) since: String,
    /// Until when; null until somebody ends it.
    #[schema(example = "2026-03-01T18:00:00.000Z")]
    pub(crate) until: Option<String>,
}

impl MaintenanceView {
    pub(crate) fn of(maintenance: &Maintenance) -> Self {
        Self {
            reason: maintenance.reason.clone(),
            owner: maintenance.owner.clone(),
            since: instant(maintenance.since),
            until: maintenance.until.map(instant),
        }
    }
}

/// What runs on a host and what comes next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct ReservationsView {
    /// The one whose time it is.
    pub(crate) current: Option<ReservationView>,
    /// The one that begins next.
    pub(crate) next: Option<ReservationView>,
}

/// A reservation, as far as a fleet view shows it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReservationView {
    /// Its id.
    #[schema(example = "0x5f3c")]
    pub(crate) reservation_id: String,
    /// Its lab.
    #[schema(example = "7")]
    pub(crate) lab_id: String,
    /// `CONFIRMED` or `ACTIVE`.
    #[schema(example = "ACTIVE")]
    pub(crate) status: String,
    /// When it begins.
    #[schema(example = "2026-03-01T09:00:00.000Z")]
    pub(crate) start: String,
    /// When it ends.
    #[schema(example = "2026-03-01T10:00:00.000Z")]
    pub(crate) end: String,
}

/// Who works on a host.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClaimView {
    /// The worker, and which of its flows.
    #[schema(example = "scheduler@lab-gateway:start")]
    pub(crate) holder: String,
    /// How much of the lease was left when this was made.
    #[schema(example = 12000)]
    pub(crate) left_ms: u64,
}

/// How early a host is woken.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct LeadView {
    /// Before the start of a reservation.
    #[schema(example = 120_000)]
    pub(crate) ms: u64,
}

impl WinrmView {
    pub(super) fn of(host: &Host) -> Self {
        Self {
            transport: host.winrm.transport.word().to_owned(),
            port: host.winrm.port,
            tls: host.winrm.use_tls,
        }
    }
}

/// An instant as the API writes it.
pub(crate) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The document of the contract's section 1.6. It borrows what was read, and is written once: this is the answer that
//! pages ask for most.

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, SecondsFormat, Utc};
use heartbeat_store::StoredHeartbeat;
use lab_model::Host;
use reservation_store::{OperationRow, ReservationRow};
use serde::{Serialize, Serializer};
use serde_json::Value;
use utoipa::ToSchema;

use super::Pagination;
use crate::error::ApiError;

/// Bytes of a usual answer.
const USUAL: usize = 8 * 1024;

/// A reservation's story. Its instants end in `+00:00`, in whole seconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimelineDocument<'a> {
    /// The reservation as it is stored.
    pub(super) reservation: ReservationView<'a>,
    /// The host of its lab, by the file as it is now.
    pub(super) host: HostView<'a>,
    /// What was done for it, oldest first.
    pub(super) operations: Vec<OperationView<'a>>,
    /// The newest of each phase.
    pub(super) phases: Phases<'a>,
    /// Which step is at work for it at this moment, which try that is, and why the one before failed; left out when none
    /// is. Its wording may change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(
        example = "waking, attempt 2, since 2026-03-02T08:58:41Z, by gateway-1/3; the last answer was: nothing answered (wake_no_answer)"
    )]
    pub(super) under_way: Option<String>,
    /// What the host reported last.
    pub(super) heartbeat: Option<HeartbeatView<'a>>,
    /// Where the page of `operations` lies.
    pub(super) pagination: Pagination,
}

/// A reservation as it is stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReservationView<'a> {
    /// Its id.
    #[schema(example = "0x5f3a")]
    reservation_id: &'a str,
    /// Its lab.
    #[schema(example = "12")]
    lab_id: Option<&'a str>,
    /// `PENDING`, `CONFIRMED`, `ACTIVE`, `COMPLETED` or `CANCELLED`.
    #[schema(example = "ACTIVE")]
    status: &'a str,
    /// When it starts.
    #[serde(serialize_with = "stamp")]
    #[schema(value_type = String, example = "2026-03-02T09:00:00+00:00")]
    start: DateTime<Utc>,
    /// When it ends.
    #[serde(serialize_with = "stamp")]
    #[schema(value_type = String, example = "2026-03-02T10:00:00+00:00")]
    end: DateTime<Utc>,
    /// Whose it is.
    #[schema(example = "0xde0b295669a9fd93d5f28d9ec85e40f4cb697bae")]
    wallet_address: Option<&'a str>,
    /// When it was written.
    #[serde(serialize_with = "maybe_stamp")]
    #[schema(value_type = Option<String>, example = "2026-03-01T17:00:00+00:00")]
    created_at: Option<DateTime<Utc>>,
    /// When it was last changed.
    #[serde(serialize_with = "maybe_stamp")]
    #[schema(value_type = Option<String>, example = "2026-03-02T09:00:01+00:00")]
    updated_at: Option<DateTime<Utc>>,
}

/// The host of a lab.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostView<'a> {
    /// Its name; null when the lab has none.
    #[schema(example = "lab-ws-01")]
    name: Option<&'a str>,
    /// The lab.
    #[schema(example = "12")]
    lab_id: Option<&'a str>,
    /// Its entry without secrets.
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
}

/// One try of one step.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OperationView<'a> {
    /// `wake`, `prepare`, `release`, `power:<mode>`, `scheduler:start`, ...
    #[schema(example = "prepare")]
    action: &'a str,
    /// `completed` or `failed`.
    #[schema(example = "completed")]
    status: &'a str,
    /// The same as a boolean.
    success: bool,
    /// One line.
    #[schema(example = "Exit code 0")]
    message: Option<&'a str>,
    /// Details, by the action.
    #[schema(value_type = Option<Object>)]
    payload: Option<&'a Value>,
    /// Exit code or HTTP-like status.
    #[schema(example = 0)]
    response_code: Option<i32>,
    /// How long it took.
    #[schema(example = 4120)]
    duration_ms: Option<i32>,
    /// When.
    #[serde(serialize_with = "stamp")]
    #[schema(value_type = String, example = "2026-03-02T08:58:30+00:00")]
    created_at: DateTime<Utc>,
}

/// The newest row of each phase.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phases<'a> {
    /// Begins with `wake` or `scheduler:start`.
    wake: Option<OperationView<'a>>,
    /// Begins with `prepare`.
    prepare: Option<OperationView<'a>>,
    /// Begins with `release`.
    release: Option<OperationView<'a>>,
    /// Begins with `power:`.
    power: Option<OperationView<'a>>,
    /// Begins with `scheduler:end`.
    scheduler_end: Option<OperationView<'a>>,
}

/// A host's newest report.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeartbeatView<'a> {
    /// When the station wrote it, by its clock.
    #[serde(serialize_with = "stamp")]
    #[schema(value_type = String, example = "2026-03-02T09:30:00+00:00")]
    timestamp: DateTime<Utc>,
    /// When it was read, by ours.
    #[serde(serialize_with = "stamp")]
    #[schema(value_type = String, example = "2026-03-02T09:30:02+00:00")]
    observed_at: DateTime<Utc>,
    /// Whether the station said it was ready.
    ready: Option<bool>,
    /// Whether it was in local mode.
    local_mode: Option<bool>,
    /// Whether somebody local was logged on.
    local_session: Option<bool>,
    /// The last power order it knew of.
    last_power: PowerView<'a>,
    /// The last forced log-off it knew of.
    last_forced_logoff: LogoffView<'a>,
    /// The whole document.
    #[schema(value_type = Object)]
    raw: &'a Value,
}

/// A power order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PowerView<'a> {
    /// When, by the station's clock.
    #[serde(serialize_with = "maybe_stamp")]
    #[schema(value_type = Option<String>, example = "2026-03-01T22:00:00+00:00")]
    timestamp: Option<DateTime<Utc>>,
    /// `shutdown`, `reboot`, `hibernate`.
    #[schema(example = "shutdown")]
    mode: Option<&'a str>,
}

/// A forced log-off.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogoffView<'a> {
    /// When, by the station's clock.
    #[serde(serialize_with = "maybe_stamp")]
    #[schema(value_type = Option<String>, example = "2026-03-01T21:59:00+00:00")]
    timestamp: Option<DateTime<Utc>>,
    /// Who.
    #[schema(example = "student")]
    user: Option<&'a str>,
}

/// Writes the document.
pub(super) fn answer(document: &TimelineDocument<'_>) -> Result<Response, ApiError> {
    let mut body = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut body, document).map_err(|error| {
        tracing::error!(%error, "a timeline could not be written");
        ApiError::internal()
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

impl<'a> ReservationView<'a> {
    pub(super) fn of(row: &'a ReservationRow) -> Self {
        Self {
            reservation_id: &row.reservation_id,
            lab_id: row.lab_id.as_deref(),
            status: &row.status,
            start: row.start,
            end: row.end,
            wallet_address: row.wallet_address.as_deref(),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl<'a> HostView<'a> {
    pub(super) fn of(host: Option<&'a Host>, reservation: &'a ReservationRow) -> Self {
        Self {
            name: host.map(|host| host.name.as_str()),
            lab_id: reservation.lab_id.as_deref(),
            config: host.map(Host::public_view),
        }
    }
}

impl<'a> OperationView<'a> {
    pub(super) fn of(row: &'a OperationRow) -> Self {
        Self {
            action: &row.action,
            status: &row.status,
            success: row.success,
            message: row.message.as_deref(),
            payload: row.payload.as_ref(),
            response_code: row.response_code,
            duration_ms: row.duration_ms,
            created_at: row.created_at,
        }
    }
}

impl<'a> Phases<'a> {
    /// `newest` comes newest first.
    pub(super) fn of(newest: impl Iterator<Item = &'a OperationRow>) -> Self {
        let mut phases = Self::default();
        for row in newest {
            if let Some(phase) = phases.of_action(&row.action) {
                phase.get_or_insert_with(|| OperationView::of(row));
            }
        }
        phases
    }

    fn of_action(&mut self, action: &str) -> Option<&mut Option<OperationView<'a>>> {
        let begins = |word: &str| action.starts_with(word);
        if begins("wake") || begins("scheduler:start") {
            Some(&mut self.wake)
        } else if begins("prepare") {
            Some(&mut self.prepare)
        } else if begins("release") {
            Some(&mut self.release)
        } else if begins("power:") {
            Some(&mut self.power)
        } else if begins("scheduler:end") {
            Some(&mut self.scheduler_end)
        } else {
            None
        }
    }
}

impl<'a> HeartbeatView<'a> {
    pub(super) fn of(stored: &'a StoredHeartbeat) -> Self {
        Self {
            timestamp: stored.timestamp,
            observed_at: stored.observed_at,
            ready: stored.ready,
            local_mode: stored.local_mode,
            local_session: stored.local_session,
            last_power: PowerView {
                timestamp: stored.last_power.timestamp,
                mode: stored.last_power.mode.as_deref(),
            },
            last_forced_logoff: LogoffView {
                timestamp: stored.last_forced_logoff.timestamp,
                user: stored.last_forced_logoff.user.as_deref(),
            },
            raw: &stored.raw,
        }
    }
}

/// `YYYY-MM-DDTHH:MM:SS+00:00`
fn stamp<S: Serializer>(at: &DateTime<Utc>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&at.to_rfc3339_opts(SecondsFormat::Secs, false))
}

fn maybe_stamp<S: Serializer>(at: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => stamp(at, to),
        None => to.serialize_none(),
    }
}

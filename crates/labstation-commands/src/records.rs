//! The records that heartbeat and status documents share.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::document::Node;

/// The last run of `prepare-session`. All stamps of a station are by its own clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperationRecord {
    /// When it ended.
    pub at: Option<DateTime<Utc>>,
    /// False also when it ended with warnings.
    pub success: Option<bool>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The account it was for; absent for the station's default.
    pub user: Option<String>,
}

/// The last run of `release-session`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseRecord {
    /// When it ended.
    pub at: Option<DateTime<Utc>>,
    /// False also when it ended with warnings, such as nobody being logged on.
    pub success: Option<bool>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// The account it was for; absent for the station's default.
    pub user: Option<String>,
    /// Whether a restart was ordered with it.
    pub reboot_requested: Option<bool>,
    /// Delay of that restart.
    pub reboot_timeout: Option<Duration>,
}

/// The last time somebody was logged off by the guard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForcedLogoff {
    /// When.
    pub at: Option<DateTime<Utc>>,
    /// Who.
    pub user: Option<String>,
}

/// The last shutdown or hibernation that was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PowerAction {
    /// When it was ordered.
    pub at: Option<DateTime<Utc>>,
    /// `shutdown` or `hibernate`.
    pub mode: Option<String>,
    /// Whether programs with unsaved work were closed.
    pub forced: Option<bool>,
    /// Whether the host could be woken again, by the station's judgement.
    pub wake_ready: Option<bool>,
}

/// Whether a network card can wake the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NicPower {
    /// The card's name in Windows.
    pub name: Option<String>,
    /// The station's verdict.
    pub wol_ready: Option<bool>,
    /// Whether the card reacts to magic packets.
    pub wake_on_magic_packet: Option<bool>,
    /// Whether Windows lets it wake the host.
    pub wake_armed: Option<bool>,
    /// What the station finds wrong.
    pub issues: Vec<String>,
}

/// What both documents say of the station's readiness and its last operations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Records {
    pub(crate) ready: Option<bool>,
    pub(crate) state: Option<String>,
    pub(crate) issues: Vec<String>,
    pub(crate) last_prepare: Option<OperationRecord>,
    pub(crate) last_release: Option<ReleaseRecord>,
    pub(crate) last_forced_logoff: Option<ForcedLogoff>,
    pub(crate) last_power_action: Option<PowerAction>,
    pub(crate) nics: Vec<NicPower>,
    pub(crate) armed_count: Option<u64>,
}

impl Records {
    pub(crate) fn read(document: Node<'_>) -> Self {
        let summary = document.get("summary");
        let operations = document.get("operations");
        let wake = document.get("wake");
        Self {
            ready: summary.get("ready").flag(),
            state: summary.get("state").text(),
            issues: summary.get("issues").texts(),
            last_prepare: operations.get("lastPrepareSession").filled_map().map(prepare),
            last_release: operations.get("lastReleaseSession").filled_map().map(release),
            last_forced_logoff: operations.get("lastForcedLogoff").filled_map().map(forced_logoff),
            last_power_action: operations.get("lastPowerAction").filled_map().map(power_action),
            nics: wake
                .get("nicPower")
                .members()
                .filter_map(Node::filled_map)
                .map(nic)
                .collect(),
            armed_count: wake.get("armedCount").count(),
        }
    }
}

fn prepare(record: Node<'_>) -> OperationRecord {
    OperationRecord {
        at: record.get("timestamp").stamp(),
        success: record.get("success").flag(),
        duration_ms: record.get("durationMs").count(),
        user: record.get("user").text(),
    }
}

fn release(record: Node<'_>) -> ReleaseRecord {
    let OperationRecord {
        at,
        success,
        duration_ms,
        user,
    } = prepare(record);
    ReleaseRecord {
        at,
        success,
        duration_ms,
        user,
        reboot_requested: record.get("rebootRequested").flag(),
        reboot_timeout: record.get("rebootTimeout").count().map(Duration::from_secs),
    }
}

fn forced_logoff(record: Node<'_>) -> ForcedLogoff {
    ForcedLogoff {
        at: record.get("timestamp").stamp(),
        user: record.get("user").text(),
    }
}

fn power_action(record: Node<'_>) -> PowerAction {
    PowerAction {
        at: record.get("timestamp").stamp(),
        mode: record.get("mode").text(),
        // Stations differ in the name of this one.
        forced: record.get("forced").flag().or_else(|| record.get("force").flag()),
        wake_ready: record.get("wakeReady").flag(),
    }
}

fn nic(entry: Node<'_>) -> NicPower {
    NicPower {
        name: entry.get("name").text(),
        wol_ready: entry.get("wolReady").flag(),
        wake_on_magic_packet: entry.get("wakeOnMagicPacket").flag(),
        wake_armed: entry.get("wakeArmed").flag(),
        issues: entry.get("complianceIssues").texts(),
    }
}

//! The heartbeat document.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::document::{Document, HeartbeatError, Node, SchemaVersion};
use crate::records::{ForcedLogoff, NicPower, OperationRecord, PowerAction, Records, ReleaseRecord};

/// One report of a station. Every field may be missing in a real one, and then is `None` or empty here.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// When the station wrote it, by the station's clock.
    pub reported_at: Option<DateTime<Utc>>,
    /// Version of the document's shape.
    pub schema: SchemaVersion,
    /// The computer's name, as Windows knows it.
    pub host: Option<String>,
    /// Version of the station software.
    pub station_version: Option<String>,
    /// Whether the station takes itself to be ready.
    pub ready: Option<bool>,
    /// The same as a word, such as `ready` or `needs-action`.
    pub state: Option<String>,
    /// What the station finds wrong.
    pub issues: Vec<String>,
    /// Whether the host is set aside for people in the room.
    pub local_mode: Option<bool>,
    /// Whether somebody other than the lab user is logged on.
    pub local_session: Option<bool>,
    /// The last time the guard logged somebody off.
    pub last_forced_logoff: Option<ForcedLogoff>,
    /// The last shutdown or hibernation ordered.
    pub last_power_action: Option<PowerAction>,
    /// The last `prepare-session`.
    pub last_prepare: Option<OperationRecord>,
    /// The last `release-session`.
    pub last_release: Option<ReleaseRecord>,
    /// The network cards.
    pub nics: Vec<NicPower>,
    /// How many devices can wake the host.
    pub armed_count: Option<u64>,
    /// The whole document, fields unknown here included.
    pub raw: Value,
    /// What an operator should know about the document itself.
    pub warnings: Vec<String>,
}

/// Reads a heartbeat as the station writes it: UTF-8 or UTF-16 with or without a byte order mark, raw control
/// characters in strings, `[]` for an empty map, `true` and `false` for 1 and 0.
///
/// # Errors
/// [`HeartbeatError`] only when there is no object to be had; [`HeartbeatError::Empty`] is worth a second
/// reading, since stations replace the file.
pub fn parse_heartbeat(bytes: &[u8]) -> Result<Heartbeat, HeartbeatError> {
    parse_heartbeat_document(bytes).map(|(heartbeat, _)| heartbeat)
}

/// The same, and the document as strict JSON for those who keep it: as it came, without byte order mark and blanks
/// around it, where it was that; mended where it was not.
///
/// # Errors
/// As for [`parse_heartbeat`].
pub fn parse_heartbeat_document(bytes: &[u8]) -> Result<(Heartbeat, String), HeartbeatError> {
    let Document {
        value,
        text,
        mut warnings,
    } = Document::read(bytes)?;
    let document = Node::root(&value);
    let status = document.get("status");
    let schema = SchemaVersion::read(document);
    let reported_at = document.get("timestamp").stamp();
    let records = Records::read(document);
    warnings.extend(schema.warning());
    if reported_at.is_none() {
        warnings.push("timestamp is absent or unreadable".to_owned());
    }
    if records.ready.is_none() {
        warnings.push("summary.ready is absent or unreadable".to_owned());
    }
    let heartbeat = Heartbeat {
        reported_at,
        schema,
        host: document.get("host").text(),
        station_version: document.get("version").text(),
        ready: records.ready,
        state: records.state,
        issues: records.issues,
        local_mode: status.get("localModeEnabled").flag(),
        local_session: status.get("localSessionActive").flag(),
        last_forced_logoff: records.last_forced_logoff,
        last_power_action: records.last_power_action,
        last_prepare: records.last_prepare,
        last_release: records.last_release,
        nics: records.nics,
        armed_count: records.armed_count,
        warnings,
        raw: value,
    };
    Ok((heartbeat, text))
}

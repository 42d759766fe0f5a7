//! The status document, as `status-json` prints it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::document::{Document, HeartbeatError, Node, SchemaVersion};
use crate::records::{ForcedLogoff, NicPower, OperationRecord, PowerAction, Records, ReleaseRecord};

/// What a station finds when it looks at its host. The same document is part of each heartbeat, as `status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// When the station looked, by the station's clock.
    pub reported_at: Option<DateTime<Utc>>,
    /// Version of the document's shape.
    pub schema: SchemaVersion,
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
    /// Who else is logged on.
    pub other_users: Vec<String>,
    /// State of the lab user's session, as Windows words it.
    pub lab_user_state: Option<String>,
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

/// Reads a status document with the same tolerance as [`parse_heartbeat`](crate::parse_heartbeat).
///
/// # Errors
/// [`HeartbeatError`] only when there is no object to be had.
pub fn parse_status(bytes: &[u8]) -> Result<Status, HeartbeatError> {
    let Document {
        value, mut warnings, ..
    } = Document::read(bytes)?;
    let document = Node::root(&value);
    let sessions = document.get("sessions");
    let schema = SchemaVersion::read(document);
    let records = Records::read(document);
    warnings.extend(schema.warning());
    let local_session = document.get("localSessionActive").flag();
    Ok(Status {
        reported_at: document.get("timestamp").stamp(),
        schema,
        ready: records.ready,
        state: records.state,
        issues: records.issues,
        local_mode: document.get("localModeEnabled").flag(),
        local_session: local_session.or_else(|| sessions.get("localSessionActive").flag()),
        other_users: sessions.get("otherUsers").texts(),
        lab_user_state: sessions.get("labUserState").text(),
        last_forced_logoff: records.last_forced_logoff,
        last_power_action: records.last_power_action,
        last_prepare: records.last_prepare,
        last_release: records.last_release,
        nics: records.nics,
        armed_count: records.armed_count,
        warnings,
        raw: value,
    })
}

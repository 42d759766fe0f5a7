//! The documents of the station: heartbeat and status, schema version 1.0.0.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::{Moment, Station};

const SCHEMA_VERSION: &str = "1.0.0";

/// Keys of the `operations` object; each is empty before its first time.
const OPERATION_KEYS: [&str; 5] = [
    "lastForcedLogoff",
    "lastPowerAction",
    "lastPrepareSession",
    "lastReleaseSession",
    "lastSafeguardReboot",
];

/// The station's form of an instant.
pub(super) fn stamp(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Station {
    pub(super) fn heartbeat_document(&self, moment: Moment) -> Value {
        json!({
            "timestamp": stamp(moment.station),
            "schemaVersion": SCHEMA_VERSION,
            "host": self.computer,
            "version": self.spec.version,
            "remoteAppEnabled": true,
            "autoStartConfigured": true,
            "wake": self.wake(),
            "summary": self.summary(),
            "operations": self.operations_object(),
            "status": self.status_document(moment),
        })
    }

    pub(super) fn status_document(&self, moment: Moment) -> Value {
        json!({
            "schemaVersion": SCHEMA_VERSION,
            "timestamp": stamp(moment.station),
            "identity": {
                "host": self.computer,
                "labUser": self.spec.lab_user,
                "labUserExists": true,
                "labUserEnabled": true,
            },
            "remoteAppEnabled": true,
            "winrm": {"ready": true, "serviceRunning": true, "httpsListener": true, "allowUnencrypted": false},
            "autoStartConfigured": true,
            "wake": self.wake(),
            "power": {
                "activePlan": "High performance",
                "sleepCompliant": true,
                "hibernateCompliant": true,
            },
            "policy": {"autoLogon": false, "rdpEnabled": true, "nlaRequired": true},
            "sessions": self.sessions_object(),
            "summary": self.summary(),
            "operations": self.operations_object(),
            "lastForcedLogoff": self.operations.get("lastForcedLogoff").cloned().unwrap_or_else(|| json!({})),
            "localSessionActive": !self.other_users().is_empty(),
            "localModeEnabled": self.local_mode,
        })
    }

    fn summary(&self) -> Value {
        let state = if self.ready { "ready" } else { "needs-action" };
        json!({"state": state, "ready": self.ready, "issues": self.issues})
    }

    fn operations_object(&self) -> Value {
        let entries = OPERATION_KEYS.iter().map(|&key| {
            let entry = self.operations.get(key).cloned().unwrap_or_else(|| json!({}));
            (key.to_owned(), entry)
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }

    fn sessions_object(&self) -> Value {
        let entries: Vec<Value> = self
            .sessions
            .iter()
            .map(|s| json!({"sessionId": s.id, "user": s.user, "state": "Active"}))
            .collect();
        let others: Vec<String> = self.other_users().into_iter().map(|s| s.user).collect();
        let lab_user_on = self.sessions.iter().any(|s| self.is_lab_user(&s.user));
        json!({
            "entries": entries,
            "labUserState": if lab_user_on { "Active" } else { "None" },
            "hasOtherUsers": !others.is_empty(),
            "localSessionActive": !others.is_empty(),
            "otherUsers": others,
        })
    }

    fn wake(&self) -> Value {
        let card = "Intel(R) Ethernet Connection I219-LM";
        let mac = self.mac.map(|byte| format!("{byte:02X}")).join("-");
        json!({
            "armedDevices": [card],
            "armedCount": 1,
            "programmableCount": 1,
            "nicPower": [{
                "name": card,
                "macAddress": mac,
                "wakeOnMagicPacket": true,
                "wakeOnPattern": false,
                "allowTurnOff": true,
                "wolReady": true,
                "wakeArmed": true,
                "complianceIssues": [],
            }],
            "nicNonCompliant": [],
        })
    }
}

//! What stands behind each table's name.
//!
//! Source of the first three: the older worker's contract, section 1.10. Ours compare names byte by byte; `host_name` is
//! the name in lower case.

use store_support::Dialect;

use crate::latency::BUCKETS;

pub(super) fn hosts(d: &Dialect) -> String {
    let mode = d.one_of("mode", &["pure", "hybrid"]);
    format!(
        "(id {id}, name VARCHAR(128) NOT NULL UNIQUE, address VARCHAR(255) NOT NULL, mac VARCHAR(32) NULL, \
         mode {mode} NOT NULL DEFAULT 'pure', last_seen DATETIME NULL, \
         created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         updated_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP{on_update}){engine}",
        id = d.id,
        on_update = d.on_update,
        engine = d.engine,
    )
}

pub(super) fn heartbeat(d: &Dialect, hosts: &str) -> String {
    format!(
        "(id {id}, host_id BIGINT NOT NULL, timestamp_utc DATETIME NOT NULL, ready BOOLEAN NULL, \
         local_mode BOOLEAN NULL, local_session BOOLEAN NULL, last_forced_logoff_ts DATETIME NULL, \
         last_forced_logoff_user VARCHAR(128) NULL, last_power_action_ts DATETIME NULL, \
         last_power_action_mode VARCHAR(32) NULL, raw_json LONGTEXT NOT NULL, \
         created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         FOREIGN KEY (host_id) REFERENCES {hosts} (id) ON DELETE CASCADE){engine}",
        id = d.id,
        engine = d.engine,
    )
}

pub(super) fn events(d: &Dialect, hosts: &str) -> String {
    format!(
        "(id {id}, host_id BIGINT NOT NULL, kind VARCHAR(64) NOT NULL, timestamp_utc DATETIME NOT NULL, \
         payload {json} NULL, created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP, \
         FOREIGN KEY (host_id) REFERENCES {hosts} (id) ON DELETE CASCADE){engine}",
        id = d.id,
        json = d.json,
        engine = d.engine,
    )
}

pub(super) fn host_state(d: &Dialect) -> String {
    format!(
        "(host_name VARCHAR(128) NOT NULL PRIMARY KEY, last_attempt_at DATETIME(6) NULL, \
         last_success_at DATETIME(6) NULL, failures_in_row INT NOT NULL DEFAULT 0, \
         last_error_code VARCHAR(64) NULL, last_error VARCHAR(512) NULL, ready BOOLEAN NULL, \
         local_mode BOOLEAN NULL, local_session BOOLEAN NULL, reported_at DATETIME(6) NULL, \
         clock_offset_ms BIGINT NULL, last_forced_logoff_ts DATETIME(6) NULL, \
         last_heartbeat_id BIGINT NULL, updated_at DATETIME(6) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}

/// Of the last document: its digest, when a row of it was last kept, and why it has none. The last power order and the
/// last boot, and how long the last poll took.
pub(super) const STATE_ADDED: &[(&str, &str)] = &[
    ("stored_digest", "VARCHAR(32) NULL"),
    ("stored_at", "DATETIME(6) NULL"),
    ("set_aside", "VARCHAR(255) NULL"),
    ("power_mode", "VARCHAR(32) NULL"),
    ("power_at", "DATETIME(6) NULL"),
    ("booted_at", "DATETIME(6) NULL"),
    ("took_ms", "INT NULL"),
];

/// How far the event file of each host was read. `version` grows with every step of the cursor.
pub(super) fn event_cursors(d: &Dialect) -> String {
    format!(
        "(host_name VARCHAR(128) NOT NULL PRIMARY KEY, file_offset BIGINT NOT NULL, anchor_len BIGINT NULL, \
         anchor_digest VARCHAR(32) NULL, version BIGINT NOT NULL, updated_at DATETIME(6) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}

/// Of the file that is read now, what stands before this place may have been stored before.
pub(super) const CURSORS_ADDED: &[(&str, &str)] = &[("repeats_until", "BIGINT NOT NULL DEFAULT 0")];

/// `at` is by our clock, `station_at` by the station's.
pub(super) fn host_changes(d: &Dialect) -> String {
    format!(
        "(id {id}, host_name VARCHAR(128) NOT NULL, at DATETIME(6) NOT NULL, field VARCHAR(16) NOT NULL, \
         old_value VARCHAR(64) NULL, new_value VARCHAR(64) NULL, station_at DATETIME(6) NULL){engine}",
        id = d.id,
        engine = d.engine_exact,
    )
}

/// Every column but the key is a sum: what two schedulers counted adds up.
pub(super) fn host_hours(d: &Dialect) -> String {
    let buckets: String = (0..BUCKETS)
        .map(|bucket| format!("b{bucket} INT NOT NULL DEFAULT 0, "))
        .collect();
    format!(
        "(host_name VARCHAR(128) NOT NULL, hour DATETIME NOT NULL, polls BIGINT NOT NULL DEFAULT 0, \
         failures BIGINT NOT NULL DEFAULT 0, ready_ms BIGINT NOT NULL DEFAULT 0, known_ms BIGINT NOT NULL DEFAULT 0, \
         local_ms BIGINT NOT NULL DEFAULT 0, boots BIGINT NOT NULL DEFAULT 0, {buckets}PRIMARY KEY (host_name, hour)){engine}",
        engine = d.engine_exact,
    )
}

/// The number of the last batch that each recorder committed, so that one whose commit got no answer is known.
pub(super) fn writers(d: &Dialect) -> String {
    format!(
        "(writer VARCHAR(64) NOT NULL PRIMARY KEY, batch BIGINT NOT NULL, updated_at DATETIME(6) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}

/// How far each task of the retention has come.
pub(super) fn retention(d: &Dialect) -> String {
    format!(
        "(task VARCHAR(64) NOT NULL PRIMARY KEY, position BIGINT NOT NULL DEFAULT 0, updated_at DATETIME(6) NOT NULL){engine}",
        engine = d.engine_exact,
    )
}

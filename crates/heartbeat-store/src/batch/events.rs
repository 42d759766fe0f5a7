//! `lab_host_events` and the cursor of each host's event file: the cursor moves in the same transaction as the rows
//! behind it, so that an event is stored once however often it is read.

use std::collections::HashMap;

use chrono::NaiveDateTime;
use labstation_commands::{Anchor, EventCursor};
use sea_orm::{ConnectionTrait, QueryResult, Value};
use serde_json::Value as Json;
use store_support::{DbErr, Tx};

use super::rows::{list, parts};
use crate::digest;
use crate::prepared::{PreparedEvent, PreparedEvents};
use crate::store::HeartbeatStore;

pub(crate) const COLUMNS: [&str; 5] = ["host_id", "kind", "timestamp_utc", "payload", "created_at"];
pub(crate) const CURSOR_COLUMNS: [&str; 6] = [
    "host_name",
    "file_offset",
    "anchor_len",
    "anchor_digest",
    "version",
    "updated_at",
];

/// The only kind of event there is.
pub(crate) const KIND: &str = "session-guard";
/// Among how many rows a repeated event without a stamp is looked for.
const LOOK_BACK: u64 = 50;

/// A cursor as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorRow {
    pub(crate) cursor: EventCursor,
    pub(crate) version: i64,
}

impl CursorRow {
    pub(crate) fn values(self, host_name: &str, now: NaiveDateTime) -> Vec<Value> {
        let anchor = self.cursor.anchor;
        vec![
            host_name.into(),
            i64::try_from(self.cursor.offset).unwrap_or(i64::MAX).into(),
            anchor.map(|anchor| i64::from(anchor.length)).into(),
            anchor.map(|anchor| digest::hex(&anchor.digest)).into(),
            self.version.into(),
            now.into(),
        ]
    }

    fn read(row: &QueryResult) -> Result<(String, Self), DbErr> {
        let length: Option<i64> = row.try_get_by_index(2)?;
        let digest: Option<String> = row.try_get_by_index(3)?;
        // A broken anchor is none: the file is then read from its beginning and compared.
        let anchor = length
            .and_then(|length| u32::try_from(length).ok())
            .zip(digest.as_deref().and_then(digest::bytes));
        let cursor = EventCursor {
            offset: u64::try_from(row.try_get_by_index::<i64>(1)?).unwrap_or(0),
            anchor: anchor.map(|(length, digest)| Anchor { length, digest }),
        };
        let version = row.try_get_by_index(4)?;
        Ok((row.try_get_by_index(0)?, Self { cursor, version }))
    }
}

/// Reads the cursors of hosts, by the compared form of their names.
pub(crate) async fn cursors(
    connection: &impl ConnectionTrait,
    store: &HeartbeatStore,
    hosts: &[&str],
) -> Result<HashMap<String, CursorRow>, DbErr> {
    let mut found = HashMap::new();
    for part in parts(hosts) {
        let mut names: Vec<Value> = part.iter().map(|host| (*host).into()).collect();
        let sql = format!(
            "SELECT host_name, file_offset, anchor_len, anchor_digest, version FROM {} WHERE host_name IN ({})",
            store.tables.cursors,
            list(&mut names)
        );
        for row in connection.query_all_raw(store.db.statement(&sql, names)).await? {
            let (host, cursor) = CursorRow::read(&row)?;
            found.insert(host, cursor);
        }
    }
    Ok(found)
}

/// Stored events, with which events that may be read again are compared. Contents are compared here and not in SQL: how
/// a JSON column compares differs between databases.
#[derive(Debug, Default)]
pub(crate) struct Known(Vec<(NaiveDateTime, Json)>);

impl Known {
    /// Reads what is stored under the stamps of these events.
    pub(crate) async fn read(
        tx: &Tx<'_>,
        store: &HeartbeatStore,
        host_id: i64,
        events: &PreparedEvents,
    ) -> Result<Self, DbErr> {
        let table = &store.tables.events;
        let mut stamps: Vec<NaiveDateTime> = events.rows.iter().map(|event| event.stamp).collect();
        stamps.sort_unstable();
        stamps.dedup();
        let mut known = HashMap::new();
        let mut add = |rows: Vec<QueryResult>| -> Result<(), DbErr> {
            for row in rows {
                // What an older writer stored need not be JSON, and is no event of ours then.
                if let Some(payload) = row.try_get_by_index::<Option<Json>>(2).unwrap_or(None) {
                    known.insert(
                        row.try_get_by_index::<i64>(0)?,
                        (row.try_get_by_index(1)?, payload),
                    );
                }
            }
            Ok(())
        };
        for part in parts(&stamps) {
            let mut values: Vec<Value> = part.iter().map(|stamp| (*stamp).into()).collect();
            let marks = list(&mut values);
            values.splice(0..0, [host_id.into(), KIND.into()]);
            let sql = format!(
                "SELECT id, timestamp_utc, payload FROM {table} WHERE host_id = ? AND kind = ? AND timestamp_utc IN ({marks})"
            );
            add(tx.query_all_raw(store.db.statement(&sql, values)).await?)?;
        }
        if events.rows.iter().any(|event| !event.has_own_stamp) {
            let sql = format!(
                "SELECT id, timestamp_utc, payload FROM {table} WHERE host_id = ? AND kind = ? \
                 ORDER BY timestamp_utc DESC LIMIT {LOOK_BACK}"
            );
            let values = [host_id.into(), KIND.into()];
            add(tx.query_all_raw(store.db.statement(&sql, values)).await?)?;
        }
        Ok(Self(known.into_values().collect()))
    }

    /// Whether the event is stored; each row counts for one event, since a station may log the same twice.
    pub(crate) fn take(&mut self, event: &PreparedEvent) -> bool {
        let Ok(payload) = serde_json::from_str::<Json>(&event.payload) else {
            return false;
        };
        let same = |(stamp, stored): &(NaiveDateTime, Json)| {
            (!event.has_own_stamp || *stamp == event.stamp) && *stored == payload
        };
        let found = self.0.iter().position(same);
        found.map(|index| self.0.swap_remove(index)).is_some()
    }
}

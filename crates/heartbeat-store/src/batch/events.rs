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
pub(crate) const CURSOR_COLUMNS: [&str; 7] = [
    "host_name",
    "file_offset",
    "anchor_len",
    "anchor_digest",
    "version",
    "updated_at",
    "repeats_until",
];

/// The only kind of event there is.
pub(crate) const KIND: &str = "session-guard";
/// Among how many rows a repeated event without a stamp is looked for.
const LOOK_BACK: u64 = 50;

/// A cursor as it is stored; its step is the version of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CursorRow {
    pub(crate) cursor: EventCursor,
}

impl CursorRow {
    /// The row after `stored`. Whoever counted the steps by himself, and further, is followed.
    pub(crate) fn moved(stored: Option<Self>, to: EventCursor) -> Self {
        let next = stored.map_or(1, |row| row.cursor.step.saturating_add(1));
        let step = to.step.max(next);
        Self {
            cursor: EventCursor { step, ..to },
        }
    }

    pub(crate) fn values(self, host_name: &str, now: NaiveDateTime) -> Vec<Value> {
        let EventCursor {
            offset,
            anchor,
            repeats_until,
            step,
        } = self.cursor;
        let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        vec![
            host_name.into(),
            number(offset),
            anchor.map(|anchor| i64::from(anchor.length)).into(),
            anchor.map(|anchor| digest::hex(&anchor.digest)).into(),
            number(step),
            now.into(),
            number(repeats_until),
        ]
    }

    fn read(row: &QueryResult) -> Result<(String, Self), DbErr> {
        let length: Option<i64> = row.try_get_by_index(2)?;
        let digest: Option<String> = row.try_get_by_index(3)?;
        // A broken anchor is none: the file is then read from its beginning and compared.
        let anchor = length
            .and_then(|length| u32::try_from(length).ok())
            .zip(digest.as_deref().and_then(digest::bytes));
        let number = |index| {
            let number = row.try_get_by_index::<i64>(index);
            number.map(|number| u64::try_from(number).unwrap_or(0))
        };
        let offset = number(1)?;
        let cursor = EventCursor {
            offset,
            anchor: anchor.map(|(length, digest)| Anchor { length, digest }),
            // An older version moves the offset and leaves this as it is.
            repeats_until: number(5).map(|until| if offset < until { until } else { 0 })?,
            step: number(4)?,
        };
        Ok((row.try_get_by_index(0)?, Self { cursor }))
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
            "SELECT host_name, file_offset, anchor_len, anchor_digest, version, repeats_until FROM {} WHERE host_name IN ({})",
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

/// Stored events of one host, with which events that may be read again are compared. Contents are compared here and not in
/// SQL: how a JSON column compares differs between databases.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Whether anything of this batch is compared.
    is_wanted: bool,
    rows: Vec<KnownRow>,
}

#[derive(Debug)]
struct KnownRow {
    stamp: NaiveDateTime,
    payload: Json,
    /// An event of the file was found to be this one.
    is_taken: bool,
    /// It is written by this batch.
    is_new: bool,
}

impl Known {
    /// Reads what is stored under the stamps of these events.
    pub(crate) async fn read(
        tx: &Tx<'_>,
        store: &HeartbeatStore,
        host_id: i64,
        compared: &[&PreparedEvents],
    ) -> Result<Self, DbErr> {
        let table = &store.tables.events;
        let events = || compared.iter().flat_map(|events| &events.rows);
        let mut stamps: Vec<NaiveDateTime> = events().map(|event| event.stamp).collect();
        stamps.sort_unstable();
        stamps.dedup();
        let mut known = HashMap::new();
        let mut add = |rows: Vec<QueryResult>| -> Result<(), DbErr> {
            for row in rows {
                // What an older writer stored need not be JSON, and is no event of ours then.
                if let Some(payload) = row.try_get_by_index::<Option<Json>>(2).unwrap_or(None) {
                    let stored = KnownRow {
                        stamp: row.try_get_by_index(1)?,
                        payload,
                        is_taken: false,
                        is_new: false,
                    };
                    known.insert(row.try_get_by_index::<i64>(0)?, stored);
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
        if events().any(|event| !event.has_own_stamp) {
            let sql = format!(
                "SELECT id, timestamp_utc, payload FROM {table} WHERE host_id = ? AND kind = ? \
                 ORDER BY timestamp_utc DESC LIMIT {LOOK_BACK}"
            );
            let values = [host_id.into(), KIND.into()];
            add(tx.query_all_raw(store.db.statement(&sql, values)).await?)?;
        }
        Ok(Self {
            is_wanted: true,
            rows: known.into_values().collect(),
        })
    }

    /// Whether an event is stored. Of those read from the file each row counts for one event, over all reports of the
    /// batch, since a station may log the same twice; and what the batch itself takes from the file is another one.
    pub(crate) fn holds(&mut self, event: &PreparedEvent, is_of_file: bool) -> bool {
        let Ok(payload) = serde_json::from_str::<Json>(&event.payload) else {
            return false;
        };
        let found = self.rows.iter_mut().find(|row| {
            (!event.has_own_stamp || row.stamp == event.stamp)
                && !(is_of_file && (row.is_taken || row.is_new))
                && (row.payload == payload || is_set_aside(&row.payload, &event.payload))
        });
        if let Some(row) = found {
            row.is_taken |= is_of_file;
            return true;
        }
        false
    }

    /// Takes note of an event that the batch writes.
    pub(crate) fn add(&mut self, event: &PreparedEvent, is_of_file: bool) {
        if !self.is_wanted {
            return;
        }
        if let Ok(payload) = serde_json::from_str::<Json>(&event.payload) {
            self.rows.push(KnownRow {
                stamp: event.stamp,
                payload,
                is_taken: false,
                is_new: is_of_file,
            });
        }
    }
}

/// Whether a row is this event, kept as a text because the database refused it once.
fn is_set_aside(stored: &Json, payload: &str) -> bool {
    stored.get("setAside").is_some() && stored["text"].as_str() == Some(payload)
}

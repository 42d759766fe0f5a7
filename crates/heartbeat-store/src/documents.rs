//! Reports by their row id, many at once, for whoever watches hosts that somebody else polls.

use chrono::{DateTime, NaiveDateTime, Utc};
use sea_orm::{ConnectionTrait as _, QueryResult, Value};
use serde_json::Value as Json;
use store_support::DbErr;

use crate::store::{HeartbeatStore, HeartbeatStoreError};

/// How many reports one statement reads.
const CHUNK: usize = 200;

/// A stored report as its station wrote it, and the newest event of its guard.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportDocument {
    /// Row id in `lab_host_heartbeat`.
    pub heartbeat_id: i64,
    /// When the row was stored, by our clock. Whole seconds.
    pub stored_at: DateTime<Utc>,
    /// The document; JSON unless an older writer stored something else.
    pub raw: String,
    /// The newest stored event of the host's session guard.
    pub last_event: Option<Json>,
}

impl HeartbeatStore {
    /// Gives the reports with these row ids, in no order; one statement for 200 of them. Unknown ids are left out.
    ///
    /// # Errors
    /// [`HeartbeatStoreError`].
    pub async fn documents(&self, ids: &[i64]) -> Result<Vec<ReportDocument>, HeartbeatStoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(CHUNK) {
            let (heartbeats, events) = (&self.tables.heartbeats, &self.tables.events);
            let sql = format!(
                "SELECT b.id, b.raw_json, e.payload, b.created_at FROM {heartbeats} b LEFT JOIN {events} e ON e.id = \
                 (SELECT x.id FROM {events} x WHERE x.host_id = b.host_id AND x.kind = 'session-guard' \
                 ORDER BY x.timestamp_utc DESC, x.id DESC LIMIT 1) WHERE b.id IN ({})",
                vec!["?"; ids.len()].join(", ")
            );
            let read = self.db.statement(&sql, ids.iter().map(|id| Value::from(*id)));
            let rows = self.db.bounded(self.db.connection().query_all_raw(read)).await;
            let documents = rows.and_then(|rows| rows.iter().map(document).collect::<Result<Vec<_>, _>>());
            found.extend(documents.map_err(HeartbeatStoreError::from("read reports"))?);
        }
        Ok(found)
    }
}

fn document(row: &QueryResult) -> Result<ReportDocument, DbErr> {
    Ok(ReportDocument {
        heartbeat_id: row.try_get_by_index(0)?,
        raw: row.try_get_by_index(1)?,
        last_event: row.try_get_by_index(2)?,
        stored_at: row.try_get_by_index::<NaiveDateTime>(3)?.and_utc(),
    })
}

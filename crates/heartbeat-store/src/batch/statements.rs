//! The text of the statements, made once per store since it names the store's tables, and how long one may be.

use std::sync::Arc;

use sea_orm::ConnectionTrait as _;
use store_support::{Backend, Database, DbErr};
use tokio::sync::OnceCell;

use super::rows::Rows;
use super::state_row::{self, Extent};
use super::{changes, events};
use crate::tables::Tables;

/// Rows of one statement have so many bytes together, where the server does not want less.
const STATEMENT_BYTES: usize = 8 << 20;
/// What stands beside a document in its statement.
const OVERHEAD: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Statements {
    /// Head and tail around the list of names.
    pub(crate) lock_states: (String, &'static str),
    pub(crate) new_states: Rows,
    states: [Rows; 3],
    pub(crate) new_hosts: Rows,
    pub(crate) seen_hosts: Rows,
    pub(crate) heartbeats: Rows,
    pub(crate) new_heartbeats: String,
    pub(crate) changes: Rows,
    hours: (Backend, String),
    pub(crate) cursors: Rows,
    pub(crate) events: Rows,
}

impl Statements {
    pub(crate) fn of(backend: Backend, tables: &Tables) -> Self {
        let state_columns = state_row::COLUMNS;
        let (lock, force) = match backend {
            // SQLite has one writer at a time, and this is it.
            Backend::Sqlite => (")", ""),
            Backend::MySql => (") FOR UPDATE", " FORCE INDEX (PRIMARY)"),
        };
        let seen = ["id", "name", "address", "mac", "last_seen", "updated_at"];
        let cursor_columns = events::CURSOR_COLUMNS;
        Self {
            lock_states: (
                format!(
                    "SELECT {} FROM {} WHERE host_name IN (",
                    state_columns.join(", "),
                    tables.state
                ),
                lock,
            ),
            new_states: Rows::insert_if_absent(backend, &tables.state, &["host_name", "updated_at"]),
            states: [Extent::Heard, Extent::Stored, Extent::Whole].map(|extent| {
                let (columns, stamps) = (extent.columns(), extent.stamps());
                let set = each(&columns[1..]).chain(stamps.iter().map(|stamp| (*stamp, "updated_at")));
                Rows::upsert(backend, &tables.state, columns, "host_name", set)
            }),
            new_hosts: Rows::insert_if_absent(
                backend,
                &tables.hosts,
                &["name", "address", "mac", "created_at", "updated_at"],
            ),
            // With the id in each row, no new one is taken; and a host that was deleted meanwhile is there again.
            seen_hosts: Rows::upsert(backend, &tables.hosts, &seen, "id", each(&seen[2..])),
            heartbeats: Rows::insert(
                &tables.heartbeats,
                &[
                    "host_id",
                    "timestamp_utc",
                    "ready",
                    "local_mode",
                    "local_session",
                    "last_forced_logoff_ts",
                    "last_forced_logoff_user",
                    "last_power_action_ts",
                    "last_power_action_mode",
                    "raw_json",
                    "created_at",
                ],
            ),
            new_heartbeats: format!(
                "SELECT id, host_id, timestamp_utc, created_at FROM {}{force} WHERE id >= ? ORDER BY id",
                tables.heartbeats
            ),
            changes: Rows::insert(&tables.changes, &changes::COLUMNS),
            hours: (backend, tables.hours.clone()),
            cursors: Rows::upsert(
                backend,
                &tables.cursors,
                &cursor_columns,
                "host_name",
                each(&cursor_columns[1..]),
            ),
            events: Rows::insert(&tables.events, &events::COLUMNS),
        }
    }
}

/// Each column set to what is given for it.
fn each<'a>(columns: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    columns.iter().map(|column| (*column, *column))
}

impl Statements {
    /// Brings so much of a state row up to date.
    pub(crate) fn states(&self, extent: Extent) -> &Rows {
        match extent {
            Extent::Heard => &self.states[0],
            Extent::Stored => &self.states[1],
            Extent::Whole => &self.states[2],
        }
    }

    /// Adds to these sums of hours.
    pub(crate) fn hours(&self, sums: &[&str]) -> Rows {
        let key = ["host_name", "hour"];
        let (backend, table) = &self.hours;
        Rows::add(*backend, table, &[&key, sums].concat(), &key.join(", "), sums)
    }
}

/// How much the database takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of one statement of many rows.
    pub(crate) statement: usize,
    /// Bytes of one document, which may be a statement of its own.
    pub(crate) document: usize,
}

/// The limits, once they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct LimitsCell(Arc<OnceCell<Limits>>);

impl LimitsCell {
    /// For statements of short rows.
    pub(crate) fn default_bytes(&self) -> usize {
        self.0.get().map_or(STATEMENT_BYTES, |limits| limits.statement)
    }

    /// Asks the server the first time.
    pub(crate) async fn get(&self, db: &Database) -> Result<Limits, DbErr> {
        let limits = self.0.get_or_try_init(|| async {
            let packet = match db.backend() {
                // SQLite takes a thousand million bytes.
                Backend::Sqlite => usize::MAX,
                Backend::MySql => {
                    let read = db.statement("SELECT CAST(@@max_allowed_packet AS SIGNED)", []);
                    let row = db.bounded(db.connection().query_one_raw(read)).await?;
                    let bytes = row.map(|row| row.try_get_by_index::<i64>(0)).transpose()?;
                    bytes
                        .and_then(|bytes| usize::try_from(bytes).ok())
                        .unwrap_or(1 << 20)
                }
            };
            Ok(Limits {
                statement: STATEMENT_BYTES.min(packet / 2),
                document: packet.saturating_sub(OVERHEAD),
            })
        });
        limits.await.copied()
    }
}

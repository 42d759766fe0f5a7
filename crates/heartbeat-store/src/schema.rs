//! The tables, described once: for our migrations, which apply the changes one by one and remember them, and for an
//! embedder's database, where [`install`] applies them all.
//!
//! Every change can be applied twice. The first three tables have the shape of the older worker's and keep it; the
//! others are ours. All that is ever done to one that exists is adding columns and indexes.

mod apply;
mod definitions;

use sea_orm::ConnectionTrait;
use store_support::{Backend, Database, DbErr, Dialect};

use crate::store::HeartbeatStoreError;
use crate::tables::{TablePrefix, Tables};

/// One change of the schema.
#[derive(Debug, Clone)]
pub struct SchemaChange {
    key: &'static str,
    table: String,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    /// The definition behind the name.
    Table(String),
    /// Names and definitions.
    Columns(Vec<(&'static str, &'static str)>),
    /// The index's name and its columns.
    Index(String, &'static [&'static str]),
}

impl SchemaChange {
    /// What it is called, whatever the prefix; never changed and never reused.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key
    }

    /// Applies it, unless the database has it already. A table that exists is left as it is, and so is an index that
    /// begins with the same columns under another name (MySQL).
    ///
    /// # Errors
    /// The database's.
    pub async fn apply(&self, connection: &impl ConnectionTrait, backend: Backend) -> Result<(), DbErr> {
        apply::apply(connection, backend, self).await
    }
}

/// Every change, in order.
#[must_use]
pub fn changes(backend: Backend, prefix: &TablePrefix) -> Vec<SchemaChange> {
    let names = Tables::of(prefix);
    let dialect = Dialect::of(backend);
    let table = |key, table: &String, definition: String| SchemaChange {
        key,
        table: table.clone(),
        what: What::Table(definition),
    };
    let index = |key, table: &String, suffix: &str, columns| SchemaChange {
        key,
        table: table.clone(),
        what: What::Index(format!("idx_{table}_{suffix}"), columns),
    };
    vec![
        table("hosts", &names.hosts, definitions::hosts(&dialect)),
        table(
            "heartbeat",
            &names.heartbeats,
            definitions::heartbeat(&dialect, &names.hosts),
        ),
        index(
            "heartbeat_by_time",
            &names.heartbeats,
            "host_ts",
            &["host_id", "timestamp_utc"],
        ),
        table(
            "events",
            &names.events,
            definitions::events(&dialect, &names.hosts),
        ),
        index(
            "events_by_kind",
            &names.events,
            "host_kind_ts",
            &["host_id", "kind", "timestamp_utc"],
        ),
        table("host_state", &names.state, definitions::host_state(&dialect)),
        SchemaChange {
            key: "host_state_columns",
            table: names.state.clone(),
            what: What::Columns(definitions::STATE_ADDED.to_vec()),
        },
        table(
            "event_cursors",
            &names.cursors,
            definitions::event_cursors(&dialect),
        ),
        table(
            "host_changes",
            &names.changes,
            definitions::host_changes(&dialect),
        ),
        index(
            "host_changes_by_field",
            &names.changes,
            "field",
            &["host_name", "field", "at", "id"],
        ),
        table("host_hours", &names.hours, definitions::host_hours(&dialect)),
        index("host_hours_by_hour", &names.hours, "hour", &["hour", "host_name"]),
        table("writers", &names.writers, definitions::writers(&dialect)),
        table("retention", &names.retention, definitions::retention(&dialect)),
        index("events_by_host", &names.events, "host", &["host_id", "id"]),
        SchemaChange {
            key: "event_cursors_columns",
            table: names.cursors.clone(),
            what: What::Columns(definitions::CURSORS_ADDED.to_vec()),
        },
    ]
}

/// Makes the tables under an embedder's prefix, or adds what a newer version needs. Any number of processes may call it
/// at once, and again.
///
/// # Errors
/// [`HeartbeatStoreError`].
///
/// # Cancel safety
/// What was applied stays; calling it again does the rest.
pub async fn install(db: &Database, prefix: &TablePrefix) -> Result<(), HeartbeatStoreError> {
    for change in changes(db.backend(), prefix) {
        // No statement deadline: an index on millions of rows takes its time.
        change
            .apply(db.connection(), db.backend())
            .await
            .map_err(HeartbeatStoreError::from("make the heartbeat tables"))?;
    }
    Ok(())
}

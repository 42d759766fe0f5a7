//! The heartbeat tables, as `heartbeat-store` describes them for embedders and for us.

use heartbeat_store::{TablePrefix, schema};
use sea_orm_migration::SchemaManager;
use sea_orm_migration::sea_orm::DbErr;

use super::{Change, Step};
use crate::schema::backend;

pub(super) const STEPS: &[Step] = &[
    Step {
        name: "m090_ops_host_state_columns",
        change: Change::Heartbeats("host_state_columns"),
    },
    Step {
        name: "m091_ops_event_cursors",
        change: Change::Heartbeats("event_cursors"),
    },
    Step {
        name: "m092_ops_host_changes",
        change: Change::Heartbeats("host_changes"),
    },
    Step {
        name: "m093_ops_host_changes_by_field",
        change: Change::Heartbeats("host_changes_by_field"),
    },
    Step {
        name: "m094_ops_host_hours",
        change: Change::Heartbeats("host_hours"),
    },
    Step {
        name: "m095_ops_host_hours_by_hour",
        change: Change::Heartbeats("host_hours_by_hour"),
    },
    Step {
        name: "m096_ops_heartbeat_writers",
        change: Change::Heartbeats("writers"),
    },
    Step {
        name: "m097_ops_retention",
        change: Change::Heartbeats("retention"),
    },
    Step {
        name: "m098_lab_host_events_by_host",
        change: Change::Heartbeats("events_by_host"),
    },
    Step {
        name: "m099_ops_event_cursors_columns",
        change: Change::Heartbeats("event_cursors_columns"),
    },
];

pub(super) async fn apply(manager: &SchemaManager<'_>, key: &str) -> Result<(), DbErr> {
    let backend = backend(manager)?;
    let changes = schema::changes(backend, &TablePrefix::default());
    let change = changes.iter().find(|change| change.key() == key);
    let change = change
        .ok_or_else(|| DbErr::Migration(format!("no change of the heartbeat tables is called {key}")))?;
    change.apply(manager.get_connection(), backend).await
}

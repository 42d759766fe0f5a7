//! The migrations in their order. A name that was released is never changed and never reused.

mod calls;
mod credentials;
mod heartbeats;
mod journal;
mod maintenance;
mod notices;
mod older;
mod signals;
mod workers;

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::DbErr;
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::schema::{Dialect, create_index, create_table};

pub(crate) fn all() -> Vec<Box<dyn MigrationTrait>> {
    older::STEPS
        .iter()
        .chain(journal::STEPS)
        .chain(workers::STEPS)
        .chain(calls::STEPS)
        .chain(maintenance::STEPS)
        .chain(credentials::STEPS)
        .chain(notices::STEPS)
        .chain(signals::STEPS)
        .chain(heartbeats::STEPS)
        .map(|step| Box::new(*step) as Box<dyn MigrationTrait>)
        .collect()
}

/// One schema change.
#[derive(Clone, Copy)]
struct Step {
    name: &'static str,
    change: Change,
}

#[derive(Clone, Copy)]
enum Change {
    Table {
        table: &'static str,
        definition: fn(&Dialect) -> String,
    },
    Index {
        name: &'static str,
        table: &'static str,
        columns: &'static [&'static str],
    },
    /// A change of the heartbeat tables, which `heartbeat-store` describes, by its key.
    Heartbeats(&'static str),
    /// `lab_reservations`, which refers to another service's table where that exists.
    Reservations,
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match self.change {
            Change::Table { table, definition } => create_table(manager, table, definition).await,
            Change::Index { name, table, columns } => create_index(manager, name, table, columns).await,
            Change::Heartbeats(key) => heartbeats::apply(manager, key).await,
            Change::Reservations => older::create_reservations(manager).await,
        }
    }
}
